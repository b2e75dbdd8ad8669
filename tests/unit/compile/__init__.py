"""Tests of vmnet.compile, file for file."""
