"""Tests of vmnet.show, file for file."""
