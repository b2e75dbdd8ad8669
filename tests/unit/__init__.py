"""Tests that need no root, no sockets and no processes; they mirror vmnet/."""
