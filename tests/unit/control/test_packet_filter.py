"""The filters, run by a few lines of classic BPF."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from tests.testlib.dhcp.frames import SCAPY, VM_MAC, discover, packed
from vmnet.compile.scapy_layers import ipv6_layers
from vmnet.control.packet_filter import Hearing, Program, encoded, of_gateways, of_others, of_vm, of_witness

INET6 = ipv6_layers()
TARGETS = ("169.254.75.10", "169.254.1.1", "10.0.0.1")
VLAN_TAG, VLAN_TAG_PRESENT = 0xFFFFF000 + 44, 0xFFFFF000 + 48
LOADS = {0x20: "!I", 0x28: "!H", 0x48: "!H", 0x30: "!B"}
HEADER, WHOLE = 14, 0x40000
VMS = of_vm(Hearing(VM_MAC, TARGETS))
OTHERS = of_others(VM_MAC)


def kept(program: Program, frame: bytes | bytearray, tci: int | None = None) -> int:
    """How much the filter keeps of a frame, `tci` being the tag that the kernel took off it (linux/filter.h)."""
    accumulator = index = at = 0
    while True:
        code, jump_true, jump_false, constant = program[at]
        at += 1
        try:
            if code == 0x20 and constant in (VLAN_TAG, VLAN_TAG_PRESENT):
                accumulator = (tci or 0) if constant == VLAN_TAG else int(tci is not None)
            elif code in LOADS:
                offset = constant + (index if code == 0x48 else 0)
                (accumulator,) = struct.unpack_from(LOADS[code], frame, offset)
            elif code == 0xB1:
                index = (frame[constant] & 15) * 4
            elif code == 0x54:
                accumulator &= constant
            elif code == 0x06:
                return constant
            else:
                true = {0x15: accumulator == constant, 0x45: bool(accumulator & constant)}[code]
                at += jump_true if true else jump_false
        except (IndexError, struct.error):
            return 0  # a load past the end ends the program with 0


@pytest.mark.parametrize(
    "frame",
    [
        discover(),
        discover(ip_options=b"\1" * 40),
        discover(fragment=0x4000),
        discover(sport=1),
        discover(checksum=1),
    ],
)
def test_dhcp_comes_through_by_its_source(frame: bytes) -> None:
    assert kept(VMS, frame) == kept(VMS, frame, tci=0xE000) == WHOLE
    assert kept(VMS, frame, tci=5) == kept(OTHERS, frame) == 0
    for at in range(6, 12):
        foreign = bytearray(frame)
        foreign[at] ^= 0x80
        assert (kept(VMS, foreign), kept(OTHERS, foreign)) == (0, HEADER)


@pytest.mark.parametrize(
    "frame",
    [
        discover(dport=68),
        discover(protocol=6),
        discover(ethertype=0x86DD),
        discover(fragment=0x2000),
        discover(fragment=5),
        discover(tag=b"\x81\0\0\0"),
        discover(ip_options=b"\1" * 40)[:50],
        b"",
    ],
)
def test_everything_else_stays_in_the_kernel(frame: bytes) -> None:
    assert kept(VMS, frame) == 0
    assert kept(OTHERS, frame[:6] + bytes(6) + frame[12:]) == 0


def arp(target: str, operation: int = 1, mac: bytes = VM_MAC) -> bytes:
    """An ARP message for `target`, as short as it gets."""
    sender = struct.pack("!HHBBH6s4s", 1, 0x0800, 6, 4, operation, VM_MAC, packed("10.0.0.5"))
    return b"\xff" * 6 + mac + b"\x08\x06" + sender + bytes(6) + packed(target)


@pytest.mark.parametrize("target", TARGETS)
def test_arp_requests_for_our_addresses_come_through(target: str) -> None:
    assert kept(VMS, arp(target)) == WHOLE


@pytest.mark.parametrize(
    "frame",
    [
        arp("10.0.0.2"),
        arp("10.0.0.5"),
        arp(TARGETS[0], operation=2),
        arp(TARGETS[0])[:41],
        arp(TARGETS[0], mac=b"\2" * 6),
    ],
)
def test_other_arp_stays_in_the_kernel(frame: bytes) -> None:
    assert kept(VMS, frame) == 0


def test_more_targets_than_a_jump_can_pass_are_cut() -> None:
    addresses = tuple(f"10.0.{number // 256}.{number % 256}" for number in range(600))
    encoded(of_vm(Hearing(VM_MAC, addresses)))


GATEWAY, SILENT, VM = "fd00:10:246:1::1", "fd00:10:246:1::9", "fe80::1"
SERVER, ROUTER = "fe80::766d:6e65:7400", "fe80::766d:6e65:7401"
SIX = {
    "vm": of_vm(Hearing(VM_MAC, TARGETS, ipv6=True, solicited=(SILENT,))),
    "others": of_others(VM_MAC, ipv6=True),
    "gateways": of_gateways((GATEWAY, "fe80::99")),
}


def ipv6(layer: object, src: str = VM, mac: bytes = VM_MAC) -> bytes:
    """A frame of IPv6 with this in it."""
    return bytes(
        SCAPY.Ether(src=mac.hex(":"), dst="33:33:00:00:00:02") / INET6.IPv6(src=src, dst="ff02::2") / layer
    )


def solicitation(target: str, **changed: Any) -> bytes:  # noqa: ANN401 - as scapy
    return ipv6(INET6.ICMPv6ND_NS(tgt=target), **changed)


DHCPV6 = SCAPY.UDP(sport=546, dport=547) / b"\1abc"
RS = INET6.ICMPv6ND_RS()
NA = INET6.ICMPv6ND_NA
FOREIGN = b"\2" * 6


@pytest.mark.parametrize(
    "frame",
    [ipv6(DHCPV6), ipv6(RS), *map(solicitation, (SERVER, ROUTER, SILENT)), discover(), arp(TARGETS[0])],
    ids=range(7),
)
def test_what_the_vm_says_to_an_ipv6_server_comes_through(frame: bytes) -> None:
    assert (kept(SIX["vm"], frame), kept(SIX["others"], frame)) == (WHOLE, 0)
    assert kept(SIX["vm"], frame[:6] + FOREIGN + frame[12:]) == 0


@pytest.mark.parametrize(
    "frame",
    [
        ipv6(SCAPY.UDP(sport=546, dport=546) / b"abcd"),
        ipv6(INET6.ICMPv6EchoRequest()),
        ipv6(NA(tgt=SERVER)),
        ipv6(INET6.ICMPv6ND_RA()),
        *map(solicitation, (GATEWAY, "fe80::766d:6e65:7501", "fe81::766d:6e65:7401", "fd00:10:246:1::8")),
        ipv6(INET6.IPv6ExtHdrHopByHop() / RS),
        ipv6(INET6.IPv6ExtHdrFragment() / RS),
        ipv6(INET6.IPv6(src=VM, nh=6) / bytes(20)),
        ipv6(RS)[:54],
        discover(dport=68),
    ],
    ids=range(13),
)
def test_all_other_ipv6_stays_in_the_kernel(frame: bytes) -> None:
    assert kept(SIX["vm"], frame) == kept(VMS, frame) == 0
    assert kept(SIX["others"], frame[:6] + FOREIGN + frame[12:]) == 0


@pytest.mark.parametrize("frame", [ipv6(DHCPV6, mac=FOREIGN), ipv6(RS, mac=FOREIGN), discover()], ids=range(3))
def test_other_macs_that_ask_a_server_are_counted(frame: bytes) -> None:
    assert kept(SIX["others"], frame[:6] + FOREIGN + frame[12:]) == HEADER


@pytest.mark.parametrize(
    ("frame", "size"),
    [
        (ipv6(NA(tgt=GATEWAY), src="fe80::5"), WHOLE),
        (solicitation("fd00::5", src=GATEWAY), WHOLE),
        (ipv6(INET6.ICMPv6ND_RA(), src="fe80::99"), WHOLE),
        (ipv6(NA(tgt="fd00:10:246:1::8"), src=GATEWAY), 0),
        (solicitation(GATEWAY, src="fd00::5"), 0),
        (ipv6(INET6.ICMPv6EchoRequest(), src=GATEWAY), 0),
        (ipv6(DHCPV6, src=GATEWAY), 0),
        (discover(), 0),
        (b"", 0),
    ],
    ids=range(9),
)
def test_of_the_pod_network_only_what_tells_a_gateway_s_mac_is_heard(frame: bytes, size: int) -> None:
    assert kept(SIX["gateways"], frame) == size


WITNESS = of_witness(Hearing(VM_MAC, TARGETS, ipv6=True, solicited=(SILENT,)))


@pytest.mark.parametrize(
    ("frame", "size"),
    [
        (arp("10.0.0.2"), 96),
        (arp("10.0.0.5", operation=2), 96),
        (solicitation(GATEWAY), 96),
        (ipv6(NA(tgt=GATEWAY)), 96),
        (arp(TARGETS[0]), 0),
        (solicitation(SERVER), 0),
        (solicitation(SILENT), 0),
        (ipv6(RS), 0),
        (ipv6(DHCPV6), 0),
        (discover(), 0),
    ],
    ids=range(10),
)
def test_of_the_vm_s_arp_and_neighbour_discovery_the_rest_is_witnessed(frame: bytes, size: int) -> None:
    assert kept(WITNESS, frame) == size
    assert kept(WITNESS, frame[:6] + FOREIGN + frame[12:]) == 0
