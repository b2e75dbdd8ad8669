"""Tests of vmnet.diagnosis.drawing, file for file."""
