"""Tests on a real kernel, as root: each builds pods of its own; real DHCP clients lease from them."""
