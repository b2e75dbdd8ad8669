"""Tests of vmnet.saved, file for file."""
