"""Tests of vmnet.ipv6, file for file."""
