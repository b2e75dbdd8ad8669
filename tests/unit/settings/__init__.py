"""Tests of vmnet.settings, file for file."""
