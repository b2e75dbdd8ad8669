"""Tests of vmnet.diagnosis, file for file."""
