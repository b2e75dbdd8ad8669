"""What the guest is told → octets of packets: the one door to scapy, and its process."""
