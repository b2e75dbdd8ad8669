"""Tests of vmnet.doors.libvirt, file for file."""
