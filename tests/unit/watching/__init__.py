"""Tests of vmnet.watching."""
