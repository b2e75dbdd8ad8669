"""The filters, run by a few lines of classic BPF, and the order of the calls that make the sockets."""

from __future__ import annotations

import errno
import socket
import struct

import pytest

from tests.unit.dhcp.frames import VM_MAC, discover, packed
from vmnet.server.packet_socket import arp_filter, open_packet_sockets, program

TARGETS = ("169.254.75.10", "169.254.1.1", "10.0.0.1")
VLAN_TAG, VLAN_TAG_PRESENT = 0xFFFFF000 + 44, 0xFFFFF000 + 48
VMS, OTHERS, WHOLE = 1000, 14, 0x40000
INSTRUCTIONS = (*arp_filter(TARGETS, VM_MAC), *program(VM_MAC, of_vm=VMS, of_others=OTHERS))


def kept(frame: bytes | bytearray, tci: int | None = None) -> int:
    """How much the filter keeps of a frame, `tci` being the tag that the kernel took off it (linux/filter.h)."""
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
    assert kept(frame) == kept(frame, tci=0xE000) == VMS
    assert kept(frame, tci=5) == 0
    for at in range(6, 12):
        foreign = bytearray(frame)
        foreign[at] ^= 0x80
        assert kept(foreign) == OTHERS


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
    assert kept(frame) == 0
    assert kept(frame[:6] + bytes(6) + frame[12:]) == 0


def arp(target: str, operation: int = 1, mac: bytes = VM_MAC) -> bytes:
    """An ARP message for `target`, as short as it gets."""
    sender = struct.pack("!HHBBH6s4s", 1, 0x0800, 6, 4, operation, VM_MAC, packed("10.0.0.5"))
    return b"\xff" * 6 + mac + b"\x08\x06" + sender + bytes(6) + packed(target)


@pytest.mark.parametrize("target", TARGETS)
def test_arp_requests_for_our_addresses_come_through(target: str) -> None:
    assert kept(arp(target)) == WHOLE


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
    assert kept(frame) == 0


def test_more_targets_than_a_jump_can_pass_are_cut() -> None:
    addresses = tuple(f"10.0.{number // 256}.{number % 256}" for number in range(600))
    for instruction in arp_filter(addresses, VM_MAC):
        struct.pack("HBBI", *instruction)


class Recorder:
    """A socket that notes what is asked of it, and refuses what it is told to."""

    def __init__(self, refuse: int = 0) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.refuse = refuse

    def __call__(self, *arguments: int) -> Recorder:
        self.calls.append(("socket", *arguments))
        return self

    def setsockopt(self, level: int, name: int, value: int | bytes) -> None:
        self.calls.append(("setsockopt", level, name, value if isinstance(value, int) else len(value)))

    def bind(self, address: tuple[str, int]) -> None:
        self.calls.append(("bind", address))
        if [call[0] for call in self.calls].count("bind") == self.refuse:
            raise OSError(errno.ENODEV, "No such device")

    def getsockopt(self, level: int, name: int) -> int:
        self.calls.append(("getsockopt", level, name))
        return errno.ENETDOWN

    def close(self) -> None:
        self.calls.append(("close",))


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    made = Recorder()
    monkeypatch.setattr(socket, "socket", made)
    return made


def opened(level: int, name: int, value: int) -> list[tuple[object, ...]]:
    """How a socket is made: deaf until its filter stands, and the filter stays."""
    return [
        ("socket", socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0),
        ("setsockopt", 1, 26, struct.calcsize("HP")),
        ("setsockopt", 1, 44, 1),
        ("setsockopt", level, name, value),
        ("setsockopt", 263, 23, 1),
        ("bind", ("tap0", 3)),
        ("getsockopt", socket.SOL_SOCKET, socket.SO_ERROR),
    ]


def test_a_socket_is_deaf_until_its_filter_stands(recorder: Recorder) -> None:
    with open_packet_sockets("tap0", VM_MAC, TARGETS):
        assert recorder.calls == opened(263, 8, 1) + opened(1, socket.SO_RCVBUF, 16384)
    assert recorder.calls[-2:] == [("close",), ("close",)]


@pytest.mark.parametrize("refused", [1, 2])
def test_a_link_that_is_gone_leaves_no_socket(recorder: Recorder, refused: int) -> None:
    recorder.refuse = refused
    with pytest.raises(OSError, match="No such device"):
        open_packet_sockets("tap0", VM_MAC, TARGETS)
    assert recorder.calls.count(("close",)) == refused
