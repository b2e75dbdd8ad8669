"""The order of the calls that make the sockets."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any

import pytest

from tests.testlib.dhcp.frames import VM_MAC
from vmnet.control.packet_filter import Hearing
from vmnet.control.packet_socket import NONE, Gateways, PacketSockets, open_packet_sockets, open_presence

HEARING = Hearing(VM_MAC, ("169.254.75.10",))
GATEWAYS = Gateways(("fd00::1",), "eth0-nic", "k6t-eth0")


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

    def fileno(self) -> int:
        return 7

    def close(self) -> None:
        self.calls.append(("close",))


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    made = Recorder()
    monkeypatch.setattr(socket, "socket", made)
    return made


AUXDATA, QUEUE = (263, 8, 1), (1, socket.SO_RCVBUF, 16384)
MADE = ("socket", socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)


def opened(*options: tuple[int, int, int], link: str = "tap0") -> list[tuple[object, ...]]:
    """How a socket is made: deaf until its filter stands, and the filter stays."""
    return [
        MADE,
        ("setsockopt", 1, 26, struct.calcsize("HP")),
        ("setsockopt", 1, 44, 1),
        *(("setsockopt", *option) for option in options),
        ("setsockopt", 263, 23, 1),
        ("bind", (link, 3)),
        ("getsockopt", socket.SOL_SOCKET, socket.SO_ERROR),
    ]


def test_a_socket_is_deaf_until_its_filter_stands(recorder: Recorder) -> None:
    with open_packet_sockets("tap0", HEARING):
        assert recorder.calls == opened(AUXDATA) + opened(QUEUE) + opened(QUEUE)
    assert recorder.calls[-3:] == [("close",)] * 3


def test_where_gateways_are_followed_one_more_hears_and_one_may_ask(recorder: Recorder) -> None:
    with open_packet_sockets("tap0", HEARING, GATEWAYS) as packets:
        nic = opened(AUXDATA, QUEUE, link="eth0-nic")
        deaf = opened()[:3]  # for good: the server may bind it to any link
        assert recorder.calls == [*opened(AUXDATA), *opened(QUEUE), *opened(QUEUE), *nic, *deaf]
        assert packets.arguments() == ("7", "7", "7", "7", "7", "k6t-eth0", str(NONE), "")
    assert recorder.calls.count(("close",)) == 5


def test_what_the_server_is_told_of_sockets_that_there_are_not(recorder: Recorder) -> None:
    with open_packet_sockets("tap0", HEARING) as packets:
        assert packets.descriptors() == (7, 7, 7)
        assert packets.arguments() == ("7", "7", "7", str(NONE), str(NONE), "", str(NONE), "")


@pytest.mark.parametrize("refused", [1, 2, 3, 4])
def test_a_link_that_is_gone_leaves_no_socket(recorder: Recorder, refused: int) -> None:
    recorder.refuse = refused
    with pytest.raises(OSError, match="No such device"):
        open_packet_sockets("tap0", HEARING, GATEWAYS)
    assert recorder.calls.count(("close",)) == refused


def test_what_is_told_of_the_nic_s_going_hears_nothing(recorder: Recorder) -> None:
    sock: Any = open_presence("eth0-nic")
    assert recorder.calls == [*opened()[:3], ("bind", ("eth0-nic", 0x88B5)), opened()[-1]]
    packets = PacketSockets(sock, sock, sock, presence=sock, nic="eth0-nic")
    assert packets.arguments()[-2:] == ("7", "eth0-nic")
    assert len(packets.descriptors()) == 4
