"""A frame → the IPv6 packet in it that is for our server, or a named reason to ignore it. Strict and total.

The guest is hostile and may flood: the cheap tests come first, each octet is looked at once, and nothing raises.
Standard library only, and little of it: the server process reads this room.
"""

from __future__ import annotations

import struct

from vmnet.server.auxdata import TP_STATUS_CSUM_SETTLED, TP_STATUS_VLAN_VALID, VLAN_VID_MASK

SHORT = "ipv6_short"
VLAN = "ipv6_vlan"
NOT_IPV6 = "not_ipv6"
LENGTH = "ipv6_length"
EXTENSION_HEADER = "ipv6_extension_header"
SOURCE = "ipv6_source"
CHECKSUM = "ipv6_checksum"

ICMPV6, UDP = 58, 17
"""IANA's protocol numbers."""
UNSPECIFIED = bytes(16)
_ETHERNET, _HEADER = 14, 40
_SHORTEST_PAYLOAD = 8
_ETH_P_IPV6, _VERSION = 0x86DD, 6
_MULTICAST = 0xFF
# source MAC, type | version, class and flow, payload length, next header, hop limit
_LINK_IP = struct.Struct("!6x6sH IHBB")


class Packet:
    """An IPv6 packet without extension headers: `payload` is its ICMPv6 or UDP, with a checksum that is right."""

    __slots__ = ("destination", "hop_limit", "mac", "payload", "protocol", "source")

    def __init__(self, mac: bytes, hop_limit: int, addresses: bytes, protocol: int, payload: bytes) -> None:
        self.mac = mac
        """The frame's source."""
        self.hop_limit = hop_limit
        self.source = addresses[:16]
        self.destination = addresses[16:]
        self.protocol = protocol
        self.payload = payload


def parse(frame: bytes, tp_status: int = 0, vlan_tci: int = 0) -> Packet | str:
    """Read one Ethernet frame as the packet socket gave it, with `tp_status` and `tp_vlan_tci` of its auxdata.

    An extension header means that it is not for us: no client of router discovery or DHCPv6 sends one, and
    fragments of neighbour discovery are to be ignored (RFC 6980 §5).
    """
    if len(frame) < _ETHERNET + _HEADER + _SHORTEST_PAYLOAD:
        return SHORT
    mac, ethertype, version, length, protocol, hop_limit = _LINK_IP.unpack_from(frame)
    if tp_status & TP_STATUS_VLAN_VALID and vlan_tci & VLAN_VID_MASK:
        return VLAN
    if ethertype != _ETH_P_IPV6 or version >> 28 != _VERSION:
        return NOT_IPV6
    if protocol not in (ICMPV6, UDP):
        return EXTENSION_HEADER
    addresses, payload = frame[22:54], frame[54 : 54 + length]
    wrong = _wrong(addresses, protocol, payload, length, tp_status)
    return wrong or Packet(mac, hop_limit, addresses, protocol, payload)


def _wrong(addresses: bytes, protocol: int, payload: bytes, length: int, tp_status: int) -> str:
    if length < _SHORTEST_PAYLOAD or len(payload) != length:
        return LENGTH
    if addresses[0] == _MULTICAST:
        return SOURCE
    settled = tp_status & TP_STATUS_CSUM_SETTLED
    return CHECKSUM if not settled and checksum(addresses, protocol, payload) else ""


def checksum(addresses: bytes, protocol: int, payload: bytes) -> int:
    """The Internet checksum over pseudo header and payload (RFC 8200 §8.1): 0 where the one in it is right.

    With the field zero in `payload` it is what belongs there; UDP writes 0xFFFF for 0.
    """
    total = int.from_bytes(addresses) + protocol + len(payload)
    total += int.from_bytes(payload + b"\0" * (len(payload) & 1))
    return 0xFFFF - (total % 0xFFFF or 0xFFFF)
