"""The doors that start guests, without libvirt."""
