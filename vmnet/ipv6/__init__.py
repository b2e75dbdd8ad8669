"""Speaks IPv6 to the guest: router advertisements, neighbour discovery and DHCPv6, which belong together."""
