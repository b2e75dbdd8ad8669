"""A capture file (draft-ietf-opsawg-pcap), as Wireshark and tcpdump open it. Pure."""

from __future__ import annotations

import struct

from vmnet.server.ring import SNAPLEN

_NANOSECONDS, _MAJOR, _MINOR, _ETHERNET = 0xA1B23C4D, 2, 4, 1
_FILE_HEADER = struct.Struct("<IHHiIII")
_RECORD_HEADER = struct.Struct("<IIII")
_SECOND = 1_000_000_000


def header() -> bytes:
    """What the file begins with."""
    return _FILE_HEADER.pack(_NANOSECONDS, _MAJOR, _MINOR, 0, 0, SNAPLEN, _ETHERNET)


def record(nanoseconds: int, length: int, kept: bytes) -> bytes:
    """A frame of that length, of which so much was kept, at that time since 1970."""
    seconds, rest = divmod(nanoseconds, _SECOND)
    return _RECORD_HEADER.pack(seconds & 0xFFFFFFFF, rest, len(kept), max(length, len(kept))) + kept
