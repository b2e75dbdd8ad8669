"""The options of DHCPv6 that are lists: as many of their first values as there is room for.

Standard library only, and little of it: the server process reads this room.
"""

from __future__ import annotations

from vmnet.server.ipv6.replies import DNS, NTP, SEARCH, SNTP

_HEAD = 4
_ADDRESS = 16
_NTP_SERVER = 4 + _ADDRESS
"""A suboption of RFC 5908 §4.1."""


def fitted(code: int, option: bytes, room: int) -> tuple[bytes, int, int]:
    """As much of the option as so many octets hold, of how many of its values that is, and how many there are."""
    whole = len(option) <= room
    ends = _ends(code, option)
    if whole or not ends:
        return (option, 1, 1) if whole else (b"", 0, 1)
    fitting = [end for end in ends if end <= room]
    if not fitting:
        return b"", 0, len(ends)
    value = option[_HEAD : fitting[-1]]
    return option[:2] + len(value).to_bytes(2) + value, len(fitting), len(ends)


def _ends(code: int, option: bytes) -> list[int]:
    """Where each value of a list ends in the option; none for an option that is no list."""
    if code == SEARCH:
        return _names(option)
    size = {DNS: _ADDRESS, SNTP: _ADDRESS, NTP: _NTP_SERVER}.get(code, 0)
    return list(range(_HEAD + size, len(option) + 1, size)) if size else []


def _names(option: bytes) -> list[int]:
    """The ends of names of RFC 1035 §3.1, which are not compressed."""
    ends, at = [], _HEAD
    while at < len(option):
        if not option[at]:
            ends.append(at + 1)
        at += 1 + option[at]
    return ends
