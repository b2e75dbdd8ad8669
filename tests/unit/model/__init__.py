"""Tests of vmnet.model, file for file."""
