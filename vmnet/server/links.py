"""Hearing from the kernel that QEMU has closed the tap: whoever opens it next is another guest."""

from __future__ import annotations

import _socket
import posix
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_RTMGRP_LINK, _RTM_NEWLINK = 1, 16
_IFLA_IFNAME, _IFLA_CARRIER_DOWN_COUNT = 3, 48
"""linux/rtnetlink.h, linux/if_link.h."""
_IFF_UP, _IFF_LOWER_UP = 0x1, 0x10000
"""linux/if.h. A tap that is up and whose lower layer is not is held open by nobody (drivers/net/tun.c)."""
_MESSAGE = struct.Struct("=IHHII")
_INTERFACE = struct.Struct("=BxHiII")
_ATTRIBUTE = struct.Struct("=HH")
_COUNT = struct.Struct("=I")
_LARGEST = 65536


def open_links() -> _socket.socket | None:
    """Open a socket that hears of each change of a link in this network namespace; None where that is refused."""
    try:
        sock = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_NONBLOCK, _socket.NETLINK_ROUTE)
        sock.bind((0, _RTMGRP_LINK))
    except OSError:
        return None
    return sock


class TapHolder:
    """Whether the tap was closed. It may be opened again within the second that the kernel takes to tell."""

    def __init__(self, tap: str) -> None:
        self._tap = tap.encode()
        self._closed: int | None = None
        """How often it had been when the kernel last told."""

    def was_closed(self, descriptor: int) -> bool:
        """Read what the kernel tells; whether the tap was closed meanwhile."""
        try:
            return self.closed(posix.read(descriptor, _LARGEST))
        except OSError:
            return False  # ENOBUFS: there was more than the socket holds, and nobody can tell what

    def closed(self, messages: bytes) -> bool:
        """The same of messages that were read."""
        closed = False
        for name, flags, count in _links(messages):
            if name == self._tap:
                before, self._closed = self._closed, count
                reopened = count is not None and before is not None and count != before
                closed = closed or reopened or flags & (_IFF_UP | _IFF_LOWER_UP) == _IFF_UP
        return closed


def _links(messages: bytes) -> Iterator[tuple[bytes, int, int | None]]:
    """The name, the flags and the carrier's falls of each link that is told of."""
    while len(messages) >= _MESSAGE.size:
        length, kind, *_ = _MESSAGE.unpack_from(messages)
        message, messages = messages[:length], messages[(length + 3 & ~3) or len(messages) :]
        if kind != _RTM_NEWLINK or len(message) < _MESSAGE.size + _INTERFACE.size:
            continue
        flags = _INTERFACE.unpack_from(message, _MESSAGE.size)[3]
        told = dict(_attributes(message[_MESSAGE.size + _INTERFACE.size :]))
        count = told.get(_IFLA_CARRIER_DOWN_COUNT, b"")
        falls = _COUNT.unpack(count)[0] if len(count) == _COUNT.size else None
        yield told.get(_IFLA_IFNAME, b"").rstrip(b"\0"), flags, falls


def _attributes(octets: bytes) -> Iterator[tuple[int, bytes]]:
    while len(octets) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(octets)
        if length < _ATTRIBUTE.size:
            return
        yield kind, octets[_ATTRIBUTE.size : length]
        octets = octets[length + 3 & ~3 :]
