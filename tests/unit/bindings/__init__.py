"""Tests of vmnet.bindings, file for file."""
