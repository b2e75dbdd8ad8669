"""Spans of time, MACs and counts as people read them. Pure."""

from __future__ import annotations

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def span(seconds: float) -> str:
    """How long, in the two largest units that say something."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, name, below, rest in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "min"),
        (_MINUTE, "min", 1, "s"),
    ):
        if whole >= unit:
            smaller = whole % unit // below
            return f"{whole // unit} {name} {smaller} {rest}" if smaller else f"{whole // unit} {name}"
    return f"{whole} s"


def count(number: int, noun: str) -> str:
    """So many of them."""
    return f"{number} {noun}" if number == 1 else f"{number or 'no'} {noun}s"
