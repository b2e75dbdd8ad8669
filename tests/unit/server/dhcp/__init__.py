"""Tests of vmnet.server.dhcp, file for file."""
