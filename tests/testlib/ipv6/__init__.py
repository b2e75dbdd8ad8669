"""Router discovery and DHCPv6 messages, and the cases of tests/data/dhcpv6."""
