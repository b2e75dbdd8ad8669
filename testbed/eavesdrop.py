"""Every DHCP or DHCPv6 message on a NIC, as it passes: to await one, and to see what a client asks for."""

from __future__ import annotations

import errno
import select
import socket
import struct
import time
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Generic, TypeVar

from testbed.netns import TestbedError, entered
from testbed.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from testbed.netns import Netns

ETH_P_ALL = 3
FRAME = 2048
UDP = 17
PORTS = (67, 68)
COOKIE = b"\x63\x82\x53\x63"
KINDS = ("", "DISCOVER", "OFFER", "REQUEST", "DECLINE", "ACK", "NAK", "RELEASE", "INFORM")
"""RFC 2132 §9.6."""
PORTS6 = (546, 547)
KINDS6 = ("", "SOLICIT", "ADVERTISE", "REQUEST", "CONFIRM", "RENEW", "REBIND", "REPLY", "RELEASE", "DECLINE")
"""RFC 9915 §7.3."""


@dataclass(frozen=True, slots=True)
class Message:
    """A DHCP message: RFC 2131's words, and the Ethernet and IPv4 addresses it came and went by."""

    kind: str
    source_mac: str
    source: str
    destination: str
    flags: int
    ciaddr: str
    yiaddr: str
    options: dict[int, bytes]

    def __str__(self) -> str:
        addresses = f"{self.source} > {self.destination} ciaddr {self.ciaddr} yiaddr {self.yiaddr}"
        return f"{self.kind} {addresses} options {' '.join(map(str, self.options))}"


@dataclass(frozen=True, slots=True)
class Message6:
    """A DHCPv6 message."""

    kind: str
    source: str
    destination: str


Heard = TypeVar("Heard")


class Eavesdropper(Generic[Heard]):
    """Listens from the first moment on; the kernel keeps what was not read yet."""

    def __init__(self, wire: socket.socket, understand: Callable[[bytes], Heard | None]) -> None:
        self._wire = wire
        self._understand = understand
        self.heard: list[Heard] = []

    def wait_for(self, wanted: Callable[[Heard], bool], timeout: float = PATIENCE) -> Heard:
        """Give the first message from now on that is wanted; none in time is an error."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0 and select.select([self._wire], [], [], left)[0]:
            message = self._hear()
            if message and wanted(message):
                return message
        heard = "\n".join(map(str, self.heard))
        raise TestbedError(f"no such DHCP message within {timeout} s; heard was:\n{heard}")

    def catch_up(self) -> list[Heard]:
        """All that was heard so far."""
        while select.select([self._wire], [], [], 0)[0]:
            self._hear()
        return self.heard

    def _hear(self) -> Heard | None:
        try:
            message = self._understand(self._wire.recv(FRAME))
        except OSError as error:
            if error.errno != errno.ENETDOWN:  # the guest took its NIC down; what it sent before is still there
                raise
            return None
        if message:
            self.heard.append(message)
        return message


@contextmanager
def eavesdropping(namespace: Netns, ifname: str) -> Iterator[Eavesdropper[Message]]:
    """Listen at a NIC, a guest's or a tap, until the block ends."""
    with _wire(namespace, ifname) as wire:
        yield Eavesdropper(wire, understand)


@contextmanager
def eavesdropping6(namespace: Netns, ifname: str) -> Iterator[Eavesdropper[Message6]]:
    """Listen for DHCPv6 there."""
    with _wire(namespace, ifname) as wire:
        yield Eavesdropper(wire, understand6)


@contextmanager
def _wire(namespace: Netns, ifname: str) -> Iterator[socket.socket]:
    with entered(namespace):
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    with wire:
        wire.bind((ifname, ETH_P_ALL))
        yield wire


def understand(frame: bytes) -> Message | None:
    """Read an Ethernet frame; None where it carries no DHCP."""
    if frame[12:14] != b"\x08\x00" or frame[23] != UDP:
        return None
    udp = frame[14 + (frame[14] & 15) * 4 :]
    bootp = udp[8:]
    if struct.unpack_from("!H", udp, 2)[0] not in PORTS or bootp[236:240] != COOKIE:
        return None
    options = dhcp_options(bootp)
    ciaddr, yiaddr = (str(IPv4Address(bootp[at : at + 4])) for at in (12, 16))
    return Message(
        kind=KINDS[options[53][0]],
        source_mac=frame[6:12].hex(":"),
        source=str(IPv4Address(frame[26:30])),
        destination=str(IPv4Address(frame[30:34])),
        flags=int.from_bytes(bootp[10:12]),
        ciaddr=ciaddr,
        yiaddr=yiaddr,
        options=options,
    )


def understand6(frame: bytes) -> Message6 | None:
    """Read an Ethernet frame; None where it carries no DHCPv6."""
    if frame[12:14] != b"\x86\xdd" or frame[20] != UDP or struct.unpack_from("!H", frame, 56)[0] not in PORTS6:
        return None
    source, destination = (str(IPv6Address(frame[at : at + 16])) for at in (22, 38))
    return Message6(KINDS6[frame[62]], source, destination)


def dhcp_options(message: bytes) -> dict[int, bytes]:
    """Read the options of a DHCP message (RFC 2132 §2), those in pieces joined (RFC 3396)."""
    options: dict[int, bytes] = {}
    rest = message[240:]
    while rest and rest[0] != 255:
        if rest[0] == 0:
            rest = rest[1:]
            continue
        code, length = rest[0], rest[1]
        options[code] = options.get(code, b"") + rest[2 : 2 + length]
        rest = rest[2 + length :]
    return options
