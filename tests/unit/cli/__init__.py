"""Tests of vmnet.cli, file for file."""
