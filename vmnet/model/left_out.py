"""What a reply had no room for, in words: of a lease as it would be, and of the report of a server. Pure."""

from __future__ import annotations

DHCPV4 = {6: "name servers", 42: "NTP servers", 119: "search domains", 121: "routes", 249: "routes"}
DHCPV6 = {23: "name servers", 24: "search domains", 31: "NTP servers", 56: "NTP servers"}
"""The options of which a part can be told, by their codes."""
LeftOut = dict[int, tuple[int, int]]
"""By the code of an option that is not told whole, how many of its values are told, and of how many."""
_MOST = 64
"""Options that are spoken of: no lease has more."""
_LARGEST_CODE, _LARGEST_COUNT = 0xFFFF, 0xFFFF


def sentences(left: LeftOut, lists: dict[int, str]) -> list[str]:
    """Say how much is told of each list that is not told whole, and which other options are not told."""
    said = []
    for code, (told, of) in left.items():
        if code in lists:
            first = "the first " if told and lists[code] != "routes" else ""
            said.append(f"{lists[code]} (option {code}): {first}{told or 'none'} of {of} told")
    others = [str(code) for code in left if code not in lists]
    return [*said, *([f"not told: option {', '.join(others)}"] if others else [])]


def checked(said: object) -> LeftOut:
    """Return what a server has reported.

    Raises:
        ValueError: it is not of the form that one writes.
    """
    if not isinstance(said, dict) or len(said) > _MOST:
        raise ValueError("no object, or one of too many members")
    return dict(_option(code, values) for code, values in said.items())


def _option(code: object, values: object) -> tuple[int, tuple[int, int]]:
    if not (isinstance(code, str) and code.isascii() and code.isdecimal() and len(code) < 6):
        raise ValueError("no code of an option")
    if not (isinstance(values, list) and [type(value) for value in values] == [int, int]):
        raise ValueError("no two numbers")
    told, of = values
    if int(code) > _LARGEST_CODE or not 0 <= told < of <= _LARGEST_COUNT:
        raise ValueError("no numbers of values")
    return int(code), (told, of)
