"""Tests of vmnet/doctor."""
