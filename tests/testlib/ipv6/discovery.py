"""What the tests of neighbour discovery share: a lease, messages byte by byte, a dissector."""

from __future__ import annotations

import os
import struct
from socket import AF_INET6, inet_pton
from typing import Any
from unittest.mock import patch

from vmnet.compile.advertisements import compile_advertisements
from vmnet.compile.scapy_layers import ipv6_layers
from vmnet.model.lease import Lease6, LeasedAddress, Router
from vmnet.server.ipv6 import neighbour
from vmnet.server.ipv6.advertise import Advertiser
from vmnet.server.ipv6.packet import ICMPV6, Packet, checksum, parse

with patch.dict(os.environ):  # the import sets variables that are no other test's affair
    SCAPY = ipv6_layers()

VM, SERVER, GATEWAY = "02:00:00:00:00:01", "02:76:6d:6e:65:74", "02:00:00:00:00:fe"
VM_MAC, GATEWAY_MAC = bytes.fromhex("020000000001"), bytes.fromhex("0200000000fe")
OTHER_MAC = bytes.fromhex("0200000000fd")
POD, NODE, GUEST = "fd00::5", "fd00::1", "fe80::5"
"""The pod's address, its gateway, and the link-local address that the guest made."""
SERVER_ADDRESS, SYNTHETIC = "fe80::766d:6e65:7400", "fe80::766d:6e65:7401"
ALL_NODES, ALL_ROUTERS, NOBODY = "ff02::1", "ff02::2", "::"
ROUTER = Router(SYNTHETIC, NODE, GATEWAY, is_default=True)
LEASE = Lease6(
    chaddr=VM,
    server_address=SERVER_ADDRESS,
    addresses=(LeasedAddress(POD, 86400, 86400),),
    routers=(ROUTER,),
    prefixes=("fd00::/64",),
    mtu=1450,
    nameservers=("fd00::53", "fd00::54"),
    domain_search=("default.svc.cluster.local", "svc.cluster.local"),
)


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def advertiser(lease: Lease6 = LEASE, random: float = 0.0) -> tuple[Advertiser, Clock]:
    """One that has just begun, and its clock. Of every interval it takes the part `random`."""
    clock = Clock()
    return Advertiser(compile_advertisements(lease), clock, lambda: random), clock


def packed(address: str) -> bytes:
    """The octets of an IPv6 address."""
    return inet_pton(AF_INET6, address)


def node(address: str) -> str:
    """The solicited-node address (RFC 4291 §2.7.1)."""
    return f"ff02::1:ff{address_tail(address)}"


def address_tail(address: str) -> str:
    """The last 24 bits as an address ends with them."""
    tail = packed(address)[13:].hex()
    return f"{tail[:2]}:{tail[2:]}"


def option(kind: int, value: bytes = b"", length: int | None = None) -> bytes:
    """One option; `length` is what it says of itself, in units of 8 octets."""
    return bytes((kind, (len(value) + 2) // 8 if length is None else length)) + value


SOURCE = option(1, VM_MAC)
"""The guest's source link-layer address."""


def frame(message: bytes, **fields: Any) -> bytes:  # noqa: ANN401 - each has its type
    """Ethernet and IPv6 around an ICMPv6 message; `fields` override what a guest sends. The checksum is right."""
    given: dict[str, Any] = {
        "mac": VM_MAC, "source": GUEST, "destination": ALL_ROUTERS, "hop_limit": 255, "protocol": ICMPV6,
        "length": None, "checksum": None, "headers": b"", "ethertype": 0x86DD, "version": 6,
    }  # fmt: skip
    assert given.keys() >= fields.keys()
    given |= fields
    addresses = packed(given["source"]) + packed(given["destination"])
    total = checksum(addresses, ICMPV6, message) if given["checksum"] is None else given["checksum"]
    payload = given["headers"] + message[:2] + struct.pack("!H", total) + message[4:]
    length = len(payload) if given["length"] is None else given["length"]
    head = struct.pack(
        "!HIHBB", given["ethertype"], given["version"] << 28, length, given["protocol"], given["hop_limit"]
    )
    return bytes(b"\x33\x33\0\0\0\2" + given["mac"] + head + addresses + payload)


def rs(*options: bytes, code: int = 0, **fields: Any) -> bytes:  # noqa: ANN401 - each has its type
    """A router solicitation."""
    return frame(bytes((133, code)) + bytes(6) + b"".join(options), **fields)


def ns(target: str, *options: bytes, code: int = 0, **fields: Any) -> bytes:  # noqa: ANN401 - each has its type
    """A neighbour solicitation."""
    fields.setdefault("destination", node(target))
    return frame(bytes((135, code)) + bytes(6) + packed(target) + b"".join(options), **fields)


def na(target: str, *options: bytes, flags: int = 0x60, **fields: Any) -> bytes:  # noqa: ANN401 - each has its type
    """What a neighbour advertises to the VM; solicited and override unless said."""
    given = {"mac": GATEWAY_MAC, "source": target, "destination": POD, **fields}
    return frame(bytes((136, 0, 0, 0, flags, 0, 0, 0)) + packed(target) + b"".join(options), **given)


def taken(data: bytes) -> Packet:
    """The IPv6 packet in a frame that has one."""
    packet = parse(data)
    assert isinstance(packet, Packet), packet
    return packet


def outcome(speaker: Advertiser, data: bytes) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """What the guest and the network are sent for a solicitation of the guest."""
    solicitation = neighbour.parse(taken(data))
    if isinstance(solicitation, neighbour.RouterSolicitation):
        return speaker.solicited(solicitation), ()
    assert isinstance(solicitation, neighbour.NeighbourSolicitation), solicitation
    return speaker.neighbour_solicited(solicitation)


def reason(data: bytes) -> str:
    """Why a frame of the guest is ignored."""
    packet = parse(data)
    solicitation = packet if isinstance(packet, str) else neighbour.parse(packet)
    assert isinstance(solicitation, str), solicitation
    return solicitation


def dissect(data: bytes) -> Any:  # noqa: ANN401 - scapy is untyped
    """A frame by scapy's layers, after what every message of ours must be."""
    packet = SCAPY.Ether(data)
    ipv6 = packet[SCAPY.IPv6]
    assert packet.src in (SERVER, VM)
    assert (ipv6.hlim, ipv6.nh, ipv6.plen) == (255, ICMPV6, len(data) - 54)
    assert checksum(data[22:54], ICMPV6, data[54:]) == 0
    assert SCAPY.Ether(bytes(packet)) == packet
    return packet


def options(data: bytes) -> list[Any]:
    """The options of a message, in order, as scapy's layers."""
    layer = dissect(data)[SCAPY.IPv6].payload.payload
    found = []
    while layer:
        found.append(layer)
        layer = layer.payload
    return found
