"""Tests of vmnet.server.ipv6, file for file."""
