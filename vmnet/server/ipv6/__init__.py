"""IPv6: router advertisements, neighbour discovery and DHCPv6. Part of the resident process."""
