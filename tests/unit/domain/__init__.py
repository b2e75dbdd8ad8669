"""Tests of vmnet.domain, file for file."""
