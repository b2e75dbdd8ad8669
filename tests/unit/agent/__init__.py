"""Tests of vmnet.agent, file for file."""
