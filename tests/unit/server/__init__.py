"""Tests of vmnet.server, file for file."""
