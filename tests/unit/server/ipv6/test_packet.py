"""Which frames hold an IPv6 packet for our server."""

from __future__ import annotations

import struct

import pytest

from tests.testlib.dhcp.frames import VM_MAC, checksum_of
from tests.testlib.ipv6.messages import ALL_SERVERS, GUEST, SCAPY, frame, packed, solicit
from vmnet.server.auxdata import TP_STATUS_CSUM_VALID, TP_STATUS_CSUMNOTREADY, TP_STATUS_VLAN_VALID
from vmnet.server.ipv6 import packet
from vmnet.server.ipv6.packet import Packet, parse

SOLICIT = frame(solicit())
UNFINISHED = frame(solicit(), checksum=0x1234)


def test_what_is_read() -> None:
    got = parse(SOLICIT)
    assert isinstance(got, Packet)
    assert (got.mac, got.hop_limit, got.protocol) == (VM_MAC, 1, packet.UDP)
    assert (got.source, got.destination) == (packed(GUEST), packed(ALL_SERVERS))
    assert got.payload == SOLICIT[54:]


def test_a_trailer_is_not_part_of_it() -> None:
    got = parse(SOLICIT + bytes(7))
    assert isinstance(got, Packet)
    assert got.payload == SOLICIT[54:]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (SOLICIT[:61], packet.SHORT),
        (frame(solicit(), ethertype=0x0800), packet.NOT_IPV6),
        (frame(solicit(), ethertype=0x8100), packet.NOT_IPV6),
        (frame(solicit(), version=7), packet.NOT_IPV6),
        (frame(solicit(), protocol=6), packet.EXTENSION_HEADER),
        (frame(solicit(), protocol=60), packet.EXTENSION_HEADER),
        (frame(solicit(), length=7), packet.LENGTH),
        (SOLICIT[:-1], packet.LENGTH),
        (frame(solicit(), source="ff02::1"), packet.SOURCE),
        (UNFINISHED, packet.CHECKSUM),
    ],
)
def test_what_is_ignored(data: bytes, reason: str) -> None:
    assert parse(data) == reason


@pytest.mark.parametrize("status", [TP_STATUS_CSUMNOTREADY, TP_STATUS_CSUM_VALID])
def test_a_checksum_that_the_kernel_has_yet_to_finish_or_has_checked(status: int) -> None:
    assert isinstance(parse(UNFINISHED, status), Packet)


@pytest.mark.parametrize(("tci", "passes"), [(0, True), (0xE000, True), (5, False)])
def test_a_tag_with_a_network_in_it_is_not_ours(tci: int, *, passes: bool) -> None:
    got = parse(SOLICIT, TP_STATUS_VLAN_VALID, tci)
    assert isinstance(got, Packet) if passes else got == packet.VLAN
    assert isinstance(parse(SOLICIT, 0, tci), Packet)


def test_checksums_of_scapy_and_of_any_length() -> None:
    for length in range(40):
        written = SCAPY.IPv6(src=GUEST, dst=ALL_SERVERS) / SCAPY.UDP(sport=546, dport=547) / bytes(range(length))
        data = bytes(written)
        assert packet.checksum(data[8:40], packet.UDP, data[40:]) == 0
        zeroed = data[40:46] + b"\0\0" + data[48:]
        assert packet.checksum(data[8:40], packet.UDP, zeroed) == int.from_bytes(data[46:48])
        pseudo = data[8:40] + struct.pack("!II", len(zeroed), packet.UDP)
        assert packet.checksum(data[8:40], packet.UDP, zeroed) == checksum_of(pseudo + zeroed)
