"""What addresses a guest is seen to use, and which of them are its."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest

from vmnet.compile.scapy_layers import ipv6_layers, layers
from vmnet.server.witness import Prefixes, is_ipv4, packed, text, used_address

MAC = "02:00:00:00:00:01"
SCAPY, SIX = layers(), ipv6_layers()


def arp(**fields: Any) -> bytes:  # noqa: ANN401 - as scapy
    return bytes(SCAPY.Ether(src=MAC) / SCAPY.ARP(hwsrc=MAC, **fields))


def ipv6(layer: Any, src: str) -> bytes:  # noqa: ANN401 - as scapy
    return bytes(SCAPY.Ether(src=MAC) / SIX.IPv6(src=src, dst="ff02::1") / layer)


@pytest.mark.parametrize(
    ("frame", "address"),
    [
        (arp(op=1, psrc="10.0.0.5", pdst="10.0.0.1"), "10.0.0.5"),
        (arp(op=2, psrc="10.0.0.6", pdst="10.0.0.1"), "10.0.0.6"),
        (arp(op=1, psrc="10.0.0.5", pdst="10.0.0.5"), "10.0.0.5"),
        (ipv6(SIX.ICMPv6ND_NS(tgt="fd00::1"), "fd00::5"), "fd00::5"),
        (ipv6(SIX.ICMPv6ND_NA(tgt="fd00::5"), "fe80::1"), "fd00::5"),
    ],
)
def test_what_it_says_of_itself_is_what_it_uses(frame: bytes, address: str) -> None:
    used = used_address(frame)
    assert (text(used), is_ipv4(used)) == (address, "." in address)


@pytest.mark.parametrize(
    "frame",
    [
        arp(op=1, psrc="0.0.0.0", pdst="10.0.0.5"),  # noqa: S104 - a probe
        ipv6(SIX.ICMPv6ND_NS(tgt="fd00::5"), "::"),
        ipv6(SIX.ICMPv6ND_NS(tgt="fd00::1"), "fe80::5"),
        ipv6(SIX.ICMPv6ND_NA(tgt="febf::5"), "fe80::5"),
        arp(op=1, psrc="10.0.0.5", pdst="10.0.0.1")[:41],
        b"",
    ],
    ids=range(6),
)
def test_a_probe_and_what_every_guest_has_is_no_use(frame: bytes) -> None:
    assert used_address(frame) == b""


def test_no_frame_raises() -> None:
    rng = random.Random(7)  # noqa: S311 - not for secrets
    for _ in range(20_000):
        beginning = rng.choice((b"", bytes(12) + b"\x08\x06", bytes(12) + b"\x86\xdd"))
        used_address(beginning + os.urandom(rng.randrange(90)))


def test_a_prefix_has_its_addresses_and_no_others() -> None:
    ipv4 = packed(bytes((10, 0, 0, 5)), 32) + packed(bytes((10, 9, 0, 0)), 16)
    own = Prefixes(ipv4 + packed(b"\xfd" + bytes(15), 64))
    inside = [(10, 0, 0, 5), (10, 9, 200, 1)]
    outside = [(10, 0, 0, 6), (10, 8, 0, 1)]
    mapped = bytes(10) + b"\xff\xff"
    assert all(mapped + bytes(address) in own for address in inside)
    assert not any(mapped + bytes(address) in own for address in outside)
    assert b"\xfd" + bytes(14) + b"\7" in own
    assert b"\xfd" + bytes(6) + b"\1" + bytes(8) not in own


@pytest.mark.parametrize("data", [b"", b"short", packed(bytes(4), 32)[:-1], bytes(16) + b"\xff"])
def test_what_is_no_prefix_is_left_out(data: bytes) -> None:
    assert bytes(16) not in Prefixes(data)
