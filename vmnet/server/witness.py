"""Which addresses the guest uses, by its own ARP and neighbour discovery: frames → addresses. Nothing raises.

Standard library only, and little of it: the server process reads this room.
"""

from __future__ import annotations

import _socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_ARP, _IPV6 = b"\x08\x06", b"\x86\xdd"
_ARP_SIZE, _SOLICITATION_SIZE = 42, 78
_MAPPED = bytes.fromhex("00000000000000000000ffff")
"""How IPv4 addresses stand among IPv6 ones (RFC 4291 §2.5.5.2)."""
_NOWHERE = _MAPPED + bytes(4)
_UNSPECIFIED = bytes(16)
_LINK_LOCAL, _LINK_LOCAL_MASK = 0xFE80, 0xFFC0
_ADVERTISEMENT = 136
NEVER = float("-inf")
"""Before all that a clock shows."""
_PREFIX = struct.Struct("!16sB")


class Prefixes:
    """Addresses that are the guest's."""

    __slots__ = ("_members",)

    def __init__(self, data: bytes = b"") -> None:
        """Take what `packed` has put together, one after the other."""
        whole = len(data) - len(data) % _PREFIX.size
        self._members = [
            (int.from_bytes(address) >> 128 - length, 128 - length)
            for address, length in _PREFIX.iter_unpack(data[:whole])
            if length <= 128
        ]

    def __contains__(self, address: bytes) -> bool:
        number = int.from_bytes(address)
        return any(number >> shift == member for member, shift in self._members)


def packed(address: bytes, length: int) -> bytes:
    """A prefix as `Prefixes` reads it; of IPv4 by its four octets."""
    mapped = _MAPPED[: 16 - len(address)]
    return _PREFIX.pack(mapped + address, 8 * len(mapped) + length)


def used_address(frame: bytes) -> bytes:
    """The address that the guest uses by this frame as its own, of IPv4 mapped into IPv6; empty for none.

    A probe (RFC 5227, RFC 4862 §5.4) only asks whether it may be used. Link-local IPv6 addresses are everybody's.
    """
    if frame[12:14] == _ARP and len(frame) >= _ARP_SIZE:
        address = _MAPPED + frame[28:32]
        return address if address != _NOWHERE else b""
    if frame[12:14] == _IPV6 and len(frame) >= _SOLICITATION_SIZE:
        address = frame[62:78] if frame[54] == _ADVERTISEMENT else frame[22:38]
        link_local = int.from_bytes(address[:2]) & _LINK_LOCAL_MASK == _LINK_LOCAL
        return b"" if address == _UNSPECIFIED or link_local else address
    return b""


def is_ipv4(address: bytes) -> bool:
    """Whether it is an IPv4 address, mapped into IPv6."""
    return address[:12] == _MAPPED


def text(address: bytes) -> str:
    """An address as people write it."""
    if is_ipv4(address):
        return ".".join(map(str, address[12:]))
    return _socket.inet_ntop(_socket.AF_INET6, address)


class Use:
    """What of one family the guest was seen to use, and when."""

    __slots__ = ("_clock", "foreign", "foreign_at", "own", "own_at")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.own = self.foreign = b""
        self.own_at = self.foreign_at = NEVER
        """By the clock."""

    def seen(self, address: bytes, prefixes: Prefixes) -> None:
        """Note an address in use."""
        if address in prefixes:
            self.own, self.own_at = address, self._clock()
        else:
            self.foreign, self.foreign_at = address, self._clock()
