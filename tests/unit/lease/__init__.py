"""Tests of vmnet.lease, file for file."""
