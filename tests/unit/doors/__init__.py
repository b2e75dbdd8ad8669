"""Tests of vmnet.doors, file for file."""
