"""The compiled advertisements: what scapy wrote once of neighbour discovery, in the form that is patched and sent.

They travel from the compile process to the server process, so they have a small explicit form in bytes. This
room is read by the server: it imports `struct` and nothing else.
"""

from __future__ import annotations

import struct

from vmnet.server.ipv6.packet import ICMPV6, checksum

OURS = 0xFF
"""In `Advertisements.neighbours`, instead of a router: the MAC is our server's."""
UNKNOWN = bytes(6)
"""A MAC that is still to be found out."""
LINK_LAYER_SIZE = 8
"""Octets of the option that ends a frame: type, length, MAC (RFC 4861 §4.6.1)."""

_ROUTER, _SOLICITATION, _NEIGHBOUR = 134, 135, 136
_ICMPV6_AT = 54
_MAGIC = b"vmnet-advertisements-1\n"
_FACTS = struct.Struct("!6sBBB")
_HEAD = struct.Struct("!16s16s6sBHHH")
_ANSWER = struct.Struct("!16sBH")
_SYNTHETIC, _PERMANENT = 1, 2
_NO_ADDRESS = bytes(16)
# Ethernet's type | version, class and flow, payload length, next header, hop limit
_LINK_IP = struct.Struct("!12xHIHBB")


class RouterFrames:
    """What a router of the guest says, and how its MAC is asked for.

    `bare` is its advertisement without, `whole` with the source link-layer address, the last 6 octets. Both go to
    all nodes. `probe` asks the pod network for `gateway` as the VM would; empty where nobody is to be asked.
    """

    __slots__ = ("address", "bare", "gateway", "is_synthetic", "mac", "permanent", "probe", "whole")

    def __init__(self, address: bytes, gateway: bytes, mac: bytes, frames: tuple[bytes, bytes, bytes]) -> None:
        self.address = address
        self.gateway = gateway
        """The pod's; empty for the router that is none."""
        self.mac = mac
        """The gateway's when the pod was bound; UNKNOWN where it is to be found out."""
        self.bare, self.whole, self.probe = frames
        self.is_synthetic = False
        """Whether nobody but our server answers for `address`."""
        self.permanent = False
        """Whether `mac` is for good, whatever is heard."""


class Advertisements:
    """All of neighbour discovery that the single guest can be told. Without `served` no router is advertised.

    `neighbours` has by target who it is, an index of `routers` or OURS, and the advertisement that answers a
    solicitation: solicited, override, its target link-layer address the last 6 octets.
    """

    __slots__ = ("neighbours", "routers", "served", "vm_mac")

    def __init__(
        self,
        vm_mac: bytes,
        routers: tuple[RouterFrames, ...],
        neighbours: dict[bytes, tuple[int, bytes]],
        *,
        served: bool,
    ) -> None:
        self.vm_mac = vm_mac
        self.routers = routers
        self.neighbours = neighbours
        self.served = served

    @property
    def gateways(self) -> tuple[bytes, ...]:
        """The pod's gateways, in the order of the routers: what `neighbour.heard` listens for."""
        return tuple(router.gateway for router in self.routers)


def dumps(advertisements: Advertisements) -> bytes:
    """The bytes that `loads` reads."""
    routers, neighbours = advertisements.routers, advertisements.neighbours
    parts = [_MAGIC, _FACTS.pack(advertisements.vm_mac, advertisements.served, len(routers), len(neighbours))]
    for router in routers:
        frames = (router.bare, router.whole, router.probe)
        flags = _SYNTHETIC * router.is_synthetic | _PERMANENT * router.permanent
        head = (router.address, router.gateway or _NO_ADDRESS, router.mac, flags)
        parts += [_HEAD.pack(*head, *map(len, frames)), *frames]
    for target, (who, frame) in neighbours.items():
        parts += [_ANSWER.pack(target, who, len(frame)), frame]
    return b"".join(parts)


def loads(data: bytes) -> Advertisements:
    """Read what `dumps` wrote. Raises ValueError on anything else."""
    if not data.startswith(_MAGIC):
        raise ValueError("not compiled advertisements of this version")
    try:
        return _loads(data)
    except struct.error as error:
        raise ValueError(f"compiled advertisements are cut off: {error}") from None


def _loads(data: bytes) -> Advertisements:
    vm_mac, served, router_count, neighbour_count = _FACTS.unpack_from(data, len(_MAGIC))
    at = len(_MAGIC) + _FACTS.size
    routers = []
    for _ in range(router_count):
        router, at = _load_router(data, at)
        routers.append(router)
    neighbours: dict[bytes, tuple[int, bytes]] = {}
    for _ in range(neighbour_count):
        target, who, length = _ANSWER.unpack_from(data, at)
        at += _ANSWER.size
        frame = data[at : at + length]
        at += length
        if not _is_message(frame, _NEIGHBOUR) or target in neighbours or not (who < router_count or who == OURS):
            raise ValueError("a compiled neighbour advertisement is malformed")
        neighbours[target] = who, frame
    if at != len(data):
        raise ValueError(f"compiled advertisements have {len(data) - at} octets too many")
    if served > 1 or not routers:
        raise ValueError(f"compiled advertisements are of {router_count} routers, served {served}")
    return Advertisements(vm_mac, tuple(routers), neighbours, served=bool(served))


def _load_router(data: bytes, at: int) -> tuple[RouterFrames, int]:
    address, gateway, mac, flags, *lengths = _HEAD.unpack_from(data, at)
    at += _HEAD.size
    frames = []
    for length in lengths:
        frames.append(data[at : at + length])
        at += length
    bare, whole, probe = frames
    right = _is_message(bare, _ROUTER) and _is_message(whole, _ROUTER) and flags <= _SYNTHETIC | _PERMANENT
    if not right or (probe and not _is_message(probe, _SOLICITATION)):
        raise ValueError("a compiled router advertisement is malformed")
    router = RouterFrames(address, gateway if gateway != _NO_ADDRESS else b"", mac, (bare, whole, probe))
    router.is_synthetic, router.permanent = bool(flags & _SYNTHETIC), bool(flags & _PERMANENT)
    return router, at


def _is_message(frame: bytes, icmp_type: int) -> bool:
    """Whether a frame is Ethernet, IPv6 with hop limit 255 and ICMPv6 of that type, lengths and checksum right."""
    if len(frame) < _ICMPV6_AT + LINK_LAYER_SIZE:
        return False
    ethertype, version, length, protocol, hop_limit = _LINK_IP.unpack_from(frame)
    payload = frame[_ICMPV6_AT:]
    kind = (ethertype, version >> 28, protocol, hop_limit, payload[0])
    right = kind == (0x86DD, 6, ICMPV6, 255, icmp_type) and length == len(payload)
    return right and not checksum(frame[22:_ICMPV6_AT], ICMPV6, payload)
