"""DHCP frames, and the cases of tests/data/dhcp."""
