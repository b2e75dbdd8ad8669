"""How wide a text is, before any font is known, and where it is broken into lines. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MONOSPACE = 0.61
"""Advance of a character by the size of its font; DejaVu Sans Mono and Liberation Mono have 0.60."""
SANS, BOLD = 0.61, 0.68
"""Of a sans-serif font in the mean of lower-case text: DejaVu Sans, the widest in use, has 0.58 and 0.66."""
_BREAKS = re.compile(r"(?<=[ ,:./])")
"""Where a line may end: addresses and names break where they have parts."""


def broken(text: str, columns: int) -> list[str]:
    """Break a text into lines of at most that many characters."""
    lines = [""]
    for piece in _pieces(text, columns):
        if len(lines[-1]) + len(piece.rstrip()) > columns:
            lines.append("")
        lines[-1] += piece
    return [line.rstrip() for line in lines]


def _pieces(text: str, columns: int) -> Iterator[str]:
    """Cut a text where a line may end: between words, and within those that are too long for one."""
    for word in re.findall(r"\S+ ?", text):
        for part in _BREAKS.split(word) if len(word.rstrip()) > columns else (word,):
            yield from (part[begin : begin + columns] for begin in range(0, len(part), columns))
