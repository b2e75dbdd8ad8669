"""Neighbour discovery: an IPv6 packet → what is solicited, or a named reason to ignore it. RFC 4861, strictly.

Total: nothing raises. Standard library only, and little of it: the server process reads this room.
"""

from __future__ import annotations

from vmnet.server.ipv6.packet import ICMPV6, UNSPECIFIED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vmnet.server.ipv6.packet import Packet

NOT_SOLICITATION = "nd_not_solicitation"
HOP_LIMIT = "nd_hop_limit"
CODE = "nd_code"
LENGTH = "nd_length"
OPTION_LENGTH = "nd_option_length"
TOO_MANY_OPTIONS = "nd_too_many_options"
LINK_LAYER_WITHOUT_SOURCE = "nd_link_layer_without_source"
TARGET = "nd_target"
DAD_DESTINATION = "nd_dad_destination"

_ROUTER_SOLICITATION, _ROUTER_ADVERTISEMENT = 133, 134
_NEIGHBOUR_SOLICITATION, _NEIGHBOUR_ADVERTISEMENT = 135, 136
"""ICMPv6 types (RFC 4861 §4)."""
_FIXED = {
    _ROUTER_SOLICITATION: 8,
    _ROUTER_ADVERTISEMENT: 16,
    _NEIGHBOUR_SOLICITATION: 24,
    _NEIGHBOUR_ADVERTISEMENT: 24,
}
"""Octets before the options."""
_SOURCE_LINK_LAYER, _TARGET_LINK_LAYER = 1, 2
"""Options (RFC 4861 §4.6.1)."""
_SOLICITED, _OVERRIDE = 0x40, 0x20
_LEAST_HOP_LIMIT = 255
"""A router would have lowered it: nobody off the link has sent this (RFC 4861 §3.1)."""
_MULTICAST = 0xFF
_SOLICITED_NODE = bytes.fromhex("ff0200000000000000000001ff")
"""RFC 4291 §2.7.1."""
_MOST_OPTIONS = 32
"""Who solicits sends one or two, an advertisement brings a prefix or route each; a frame has room for 180."""


class RouterSolicitation:
    """The guest asks who its routers are. `source` is zero where it has no address yet."""

    __slots__ = ("mac", "source")

    def __init__(self, packet: Packet) -> None:
        self.mac = packet.mac
        self.source = packet.source


class NeighbourSolicitation:
    """The guest asks for the MAC of `target`; with a source of zero, whether anybody is called so (RFC 4862)."""

    __slots__ = ("mac", "source", "target")

    def __init__(self, packet: Packet) -> None:
        self.mac = packet.mac
        self.source = packet.source
        self.target = packet.payload[8:24]


def parse(packet: Packet) -> RouterSolicitation | NeighbourSolicitation | str:
    """Read what `packet.parse` took, its checksum known to be right. RFC 4861 §6.1.1 and §7.1.1."""
    kind = packet.payload[0] if packet.protocol == ICMPV6 else 0
    if kind not in (_ROUTER_SOLICITATION, _NEIGHBOUR_SOLICITATION):
        return NOT_SOLICITATION
    options: dict[int, bytes] = {}
    fault = _read(packet, options)
    if fault:
        return fault
    unspecified = packet.source == UNSPECIFIED
    if unspecified and _SOURCE_LINK_LAYER in options:
        return LINK_LAYER_WITHOUT_SOURCE
    return RouterSolicitation(packet) if kind == _ROUTER_SOLICITATION else _neighbour(packet, unspecified)


def _neighbour(packet: Packet, unspecified: bool) -> NeighbourSolicitation | str:
    if packet.payload[8] == _MULTICAST:
        return TARGET
    if unspecified and not packet.destination.startswith(_SOLICITED_NODE):
        return DAD_DESTINATION
    return NeighbourSolicitation(packet)


def heard(packet: Packet, gateways: tuple[bytes, ...]) -> tuple[int, bytes] | None:
    """Which gateway has told the pod network its MAC by this packet, if any: its place and the MAC.

    It does so by an advertisement of itself (RFC 4861 §7.2.5), or as the source of anything that names the MAC of
    its source (§7.2.3, §6.2.6, §6.3.4).
    """
    payload = packet.payload
    kind = payload[0] if packet.protocol == ICMPV6 else 0
    if kind not in _FIXED:
        return None
    is_advertised = kind == _NEIGHBOUR_ADVERTISEMENT
    gateway = payload[8:24] if is_advertised else packet.source
    options: dict[int, bytes] = {}
    if not gateway or gateway not in gateways or _read(packet, options):
        return None
    mac = options.get(_TARGET_LINK_LAYER if is_advertised else _SOURCE_LINK_LAYER, b"")
    if is_advertised and not _counts(payload[4], packet.destination):
        return None
    if len(mac) != 6 or mac[0] & 1 or not any(mac):
        return None
    return gateways.index(gateway), mac


def _counts(flags: int, destination: bytes) -> bool:
    """Whether an advertisement is valid (§7.1.2: to all, it answers nobody) and more than a second opinion."""
    if flags & _SOLICITED:
        return destination[0] != _MULTICAST
    return bool(flags & _OVERRIDE)


def _read(packet: Packet, options: dict[int, bytes]) -> str:
    """What all of neighbour discovery must be; collects the first option of each type."""
    payload = packet.payload
    at = _FIXED[payload[0]]
    if packet.hop_limit != _LEAST_HOP_LIMIT:
        return HOP_LIMIT
    if payload[1]:
        return CODE
    end = len(payload)
    if end < at:
        return LENGTH
    left = _MOST_OPTIONS
    while at < end:
        size = payload[at + 1] * 8 if at + 1 < end else 0
        if not size or at + size > end:
            return OPTION_LENGTH
        if not left:
            return TOO_MANY_OPTIONS
        left -= 1
        options.setdefault(payload[at], payload[at + 2 : at + size])
        at += size
    return ""
