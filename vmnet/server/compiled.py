"""How the compiled replies of both families travel to the server: one after the other, each with its length.

This room is read by the server: it imports `struct` and nothing else.
"""

from __future__ import annotations

import struct

_MAGIC = b"vmnet-compiled-2\n"
_FAILURE = b"vmnet-failure-1\n"
_NOTHING = (b"",) * 5
_HEAD = struct.Struct("!6sIIIII")


class Compiled:
    """The VM's MAC, and of each protocol what its room's `loads` reads; empty where the guest has none of it."""

    __slots__ = ("advertisements", "dhcp", "dhcpv6", "ends", "own", "vm_mac")

    def __init__(self, vm_mac: bytes, *parts: bytes) -> None:
        """Take the MAC, and in the order of the parts what there is of them."""
        self.vm_mac = vm_mac
        self.dhcp, self.advertisements, self.dhcpv6, self.own, self.ends = (*parts, *_NOTHING)[: len(_NOTHING)]
        """The last are the addresses that are the guest's (vmnet.server.witness), and when they run out
        (vmnet.server.lifetimes)."""


def dumps(compiled: Compiled) -> bytes:
    """The bytes that `loads` reads."""
    parts = (compiled.dhcp, compiled.advertisements, compiled.dhcpv6, compiled.own, compiled.ends)
    return b"".join([_MAGIC, _HEAD.pack(compiled.vm_mac, *map(len, parts)), *parts])


def dumps_failure(reason: str) -> bytes:
    """What the compiler writes instead, so that the reason reaches the server's status."""
    return _FAILURE + reason.encode("utf-8", "replace")


def is_failure(data: bytes) -> bool:
    """Whether the compiler says that it has failed; with anything else that `loads` refuses, it has died."""
    return data.startswith(_FAILURE)


def loads(data: bytes) -> Compiled:
    """Read what `dumps` wrote. Raises ValueError on anything else; after `dumps_failure`, with its reason."""
    if data.startswith(_FAILURE):
        raise ValueError(data.removeprefix(_FAILURE).decode("utf-8", "replace") or "compile failed")
    if not data.startswith(_MAGIC):
        raise ValueError("no compiled replies came" if not data else "not compiled replies of this version")
    at = len(_MAGIC) + _HEAD.size
    try:
        vm_mac, *lengths = _HEAD.unpack_from(data, len(_MAGIC))
    except struct.error as error:
        raise ValueError(f"compiled replies are cut off: {error}") from None
    if at + sum(lengths) != len(data):
        raise ValueError(f"compiled replies have {len(data) - at} octets instead of {sum(lengths)}")
    parts = []
    for length in lengths:
        parts.append(data[at : at + length])
        at += length
    return Compiled(vm_mac, *parts)
