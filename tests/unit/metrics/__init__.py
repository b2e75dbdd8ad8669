"""Tests of vmnet.metrics, file for file."""
