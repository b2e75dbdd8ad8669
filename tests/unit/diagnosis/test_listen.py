"""What is heard: the filter's choice, run as the kernel runs it, and who is said to have sent it."""

from __future__ import annotations

import socket

import pytest

from tests.testlib.dhcp.frames import bootp, frame, message
from tests.unit.control.test_packet_filter import kept
from vmnet.diagnosis.evidence import Heard
from vmnet.diagnosis.listen import PROGRAM, understand

MAC = bytes.fromhex("0200000000aa")


def ipv6(protocol: int, payload: bytes, source: str = "fe80::aa") -> bytes:
    """A frame of the stranger to all nodes (RFC 8200 §3)."""
    addresses = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, "ff02::1")
    header = b"\x60\0\0\0" + len(payload).to_bytes(2) + bytes((protocol, 255)) + addresses
    return bytes.fromhex("333300000001") + MAC + b"\x86\xdd" + header + payload


def ipv4(**fields: object) -> bytes:
    given = {"source_mac": MAC, "source": "10.0.0.66", "sport": 67, "dport": 68, **fields}
    return frame(bootp(message(2), op=2), **given)


OFFER, RA, ADVERTISE = ipv4(), ipv6(58, b"\x86".ljust(16, b"\0")), ipv6(17, b"\x02\x23\x02\x22".ljust(12, b"\0"))


@pytest.mark.parametrize("said", [OFFER, ipv4(ip_options=bytes(4)), RA, ADVERTISE])
def test_what_servers_and_routers_say_is_kept(said: bytes) -> None:
    assert kept(PROGRAM, said)


@pytest.mark.parametrize(
    "left",
    [
        ipv4(sport=68, dport=67),
        ipv4(fragment=8),
        ipv4(protocol=6),
        ipv4(ethertype=0x0806),
        ipv6(58, b"\x87".ljust(24, b"\0")),
        ipv6(17, b"\x02\x22\x02\x23".ljust(12, b"\0")),
        ipv6(6, bytes(20)),
        OFFER[:20],
        b"",
    ],
)
def test_all_else_stays_in_the_kernel(left: bytes) -> None:
    assert not kept(PROGRAM, left)


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        (OFFER, Heard("DHCP", "02:00:00:00:00:aa", "10.0.0.66")),
        (RA, Heard("router advertisement", "02:00:00:00:00:aa", "fe80::aa")),
        (ADVERTISE, Heard("DHCPv6", "02:00:00:00:00:aa", "fe80::aa")),
    ],
)
def test_who_has_said_it(said: bytes, heard: Heard) -> None:
    assert understand(said) == heard
