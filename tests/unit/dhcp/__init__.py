"""Tests of vmnet.dhcp, file for file."""
