"""What goes to the guest by another way than DHCP, and the doors that start guests."""
