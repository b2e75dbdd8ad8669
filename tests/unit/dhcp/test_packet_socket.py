"""The filters, run by a few lines of classic BPF, and the order of the calls that make the socket."""

from __future__ import annotations

import errno
import socket
import struct

import pytest

from tests.unit.dhcp.frames import VM_MAC, discover, packed
from vmnet.dhcp.packet_socket import FILTER, arp_filter, open_packet_socket

TARGETS = ("169.254.75.10", "169.254.1.1", "10.0.0.1")
INSTRUCTIONS = (*arp_filter(TARGETS), *FILTER)
VLAN_TAG, VLAN_TAG_PRESENT = 0xFFFFF000 + 44, 0xFFFFF000 + 48


def passes(frame: bytes, tci: int | None = None) -> bool:
    """Whether the filter takes a frame, `tci` being the tag that the kernel took off it (linux/filter.h)."""
    accumulator = index = at = 0
    while True:
        code, jump_true, jump_false, constant = INSTRUCTIONS[at]
        at += 1
        try:
            if code == 0x20 and constant in (VLAN_TAG, VLAN_TAG_PRESENT):
                accumulator = (tci or 0) if constant == VLAN_TAG else int(tci is not None)
            elif code == 0x20:
                accumulator = struct.unpack_from("!I", frame, constant)[0]
            elif code == 0x28:
                accumulator = struct.unpack_from("!H", frame, constant)[0]
            elif code == 0x48:
                accumulator = struct.unpack_from("!H", frame, index + constant)[0]
            elif code == 0x30:
                accumulator = frame[constant]
            elif code == 0xB1:
                index = (frame[constant] & 15) * 4
            elif code == 0x06:
                return bool(constant)
            else:
                true = {0x15: accumulator == constant, 0x45: bool(accumulator & constant)}[code]
                at += jump_true if true else jump_false
        except (IndexError, struct.error):
            return False  # a load past the end ends the program with 0


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
def test_dhcp_comes_through(frame: bytes) -> None:
    assert passes(frame)
    assert passes(frame, tci=0xE000)
    assert not passes(frame, tci=5)


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
    assert not passes(frame)


def arp(target: str, operation: int = 1) -> bytes:
    """An ARP message for `target`, as short as it gets."""
    sender = struct.pack("!HHBBH6s4s", 1, 0x0800, 6, 4, operation, VM_MAC, packed("10.0.0.5"))
    return b"\xff" * 6 + VM_MAC + b"\x08\x06" + sender + bytes(6) + packed(target)


@pytest.mark.parametrize("target", TARGETS)
def test_arp_requests_for_our_addresses_come_through(target: str) -> None:
    assert passes(arp(target))


@pytest.mark.parametrize(
    "frame", [arp("10.0.0.2"), arp("10.0.0.5"), arp(TARGETS[0], operation=2), arp(TARGETS[0])[:41]]
)
def test_other_arp_stays_in_the_kernel(frame: bytes) -> None:
    assert not passes(frame)


def test_more_targets_than_a_jump_can_pass_are_cut() -> None:
    addresses = tuple(f"10.0.{number // 256}.{number % 256}" for number in range(600))
    for instruction in arp_filter(addresses):
        struct.pack("HBBI", *instruction)


class Recorder:
    """A socket that notes what is asked of it, and refuses what it is told to."""

    def __init__(self, refuse: str = "") -> None:
        self.calls: list[tuple[object, ...]] = []
        self.refuse = refuse
        self.closed = False

    def __call__(self, *arguments: int) -> Recorder:
        self.calls.append(("socket", *arguments))
        return self

    def setsockopt(self, level: int, name: int, value: int | bytes) -> None:
        self.calls.append(("setsockopt", level, name, value if isinstance(value, int) else len(value)))

    def bind(self, address: tuple[str, int]) -> None:
        if self.refuse == "bind":
            raise OSError(errno.ENODEV, "No such device")
        self.calls.append(("bind", address))

    def getsockopt(self, level: int, name: int) -> int:
        self.calls.append(("getsockopt", level, name))
        return errno.ENETDOWN

    def close(self) -> None:
        self.closed = True


def test_the_socket_is_deaf_until_its_filter_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    monkeypatch.setattr(socket, "socket", recorder)
    open_packet_socket("tap0", TARGETS)
    assert recorder.calls == [
        ("socket", socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0),
        ("setsockopt", 1, 26, struct.calcsize("HP")),
        ("setsockopt", 1, 44, 1),
        ("setsockopt", 263, 8, 1),
        ("setsockopt", 263, 23, 1),
        ("bind", ("tap0", 3)),
        ("getsockopt", socket.SOL_SOCKET, socket.SO_ERROR),
    ]
    assert not recorder.closed


def test_a_link_that_is_gone_leaves_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(refuse="bind")
    monkeypatch.setattr(socket, "socket", recorder)
    with pytest.raises(OSError, match="No such device"):
        open_packet_socket("tap0", TARGETS)
    assert recorder.closed
