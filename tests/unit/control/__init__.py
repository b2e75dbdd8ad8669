"""Tests of vmnet.control, file for file."""
