"""Tests with a real guest in QEMU."""
