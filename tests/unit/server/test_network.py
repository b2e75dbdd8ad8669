"""What is heard of the pod network and how it is asked, on sockets that are none."""

from __future__ import annotations

import _socket
import errno
import struct
from typing import Any

from vmnet.server.network import Network


class Hearing:
    """The socket on the NIC: so many frames of a flood, then nothing."""

    def __init__(self, *frames: bytes) -> None:
        self.frames = list(frames)
        self.closed = False

    def fileno(self) -> int:
        return 8

    def recvmsg_into(self, buffers: list[memoryview], space: int, flags: int) -> tuple[int, list[Any], int, None]:
        assert (space, flags) == (_socket.CMSG_SPACE(20), _socket.MSG_DONTWAIT)
        if not self.frames:
            raise BlockingIOError
        frame = self.frames.pop(0)
        size = min(len(frame), len(buffers[0]))
        buffers[0][:size] = frame[:size]
        auxdata = struct.pack("IIIHHHH", 8, len(frame), size, 0, 14, 5, 0)
        return size, [(263, 8, auxdata)], _socket.MSG_TRUNC if size < len(frame) else 0, None

    def close(self) -> None:
        self.closed = True


class Asking:
    """The socket into the bridge: bound to it by name, while there is one."""

    def __init__(self, *, there: bool = True) -> None:
        self.there = there
        self.bound: list[tuple[str, int]] = []
        self.alive = False
        self.sent: list[bytes] = []
        self.closed = False

    def send(self, data: bytes, flags: int) -> None:
        assert flags == _socket.MSG_DONTWAIT
        if not self.alive:
            raise OSError(errno.ENXIO, "No such device or address")
        self.sent.append(data)

    def bind(self, address: tuple[str, int]) -> None:
        if not self.there:
            raise OSError(errno.ENODEV, "No such device")
        self.alive = True
        self.bound.append(address)

    def close(self) -> None:
        self.closed = True


def network(hearing: Hearing, asking: Asking) -> Network:
    sockets: tuple[Any, Any] = hearing, asking
    return Network(*sockets, "k6t-eth0")


def test_frames_are_heard_with_their_auxdata_and_long_ones_are_not() -> None:
    hearing = Hearing(b"one", bytes(3000), b"three")
    assert network(hearing, Asking()).heard() == [(b"one", 8, 5), (b"three", 8, 5)]


def test_a_flood_keeps_nobody_here() -> None:
    hearing = Hearing(*[b"flood"] * 100)
    assert len(network(hearing, Asking()).heard()) == 16
    assert len(hearing.frames) == 84


def test_the_bridge_is_found_when_it_is_needed_and_again_when_it_is_another() -> None:
    asking = Asking()
    to = network(Hearing(), asking)
    to.ask(b"who is the gateway")
    to.ask(b"and now")
    assert asking.bound == [("k6t-eth0", 0)]
    asking.alive = False  # the link it was bound to is gone, and another bears its name
    to.ask(b"still")
    assert asking.sent == [b"who is the gateway", b"and now", b"still"]


def test_without_a_bridge_nothing_is_asked_and_nothing_breaks() -> None:
    asking = Asking(there=False)
    network(Hearing(), asking).ask(b"who is the gateway")
    assert asking.sent == []


def test_closing_closes_both() -> None:
    hearing, asking = Hearing(), Asking()
    network(hearing, asking).close()
    assert (hearing.closed, asking.closed) == (True, True)
