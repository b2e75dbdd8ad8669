"""JSON that somebody else wrote: bounded in size and depth, and without NaN and Infinity."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

DEEPEST = 16
"""Arrays and objects in one another. Python 3.13's reader may have no limit of its own."""
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)


def parse(text: bytes, largest: int) -> Any:  # noqa: ANN401 # JSON is of any type
    """Return what the text holds.

    Raises:
        ValueError: it is no JSON, too long, nested too deeply, or holds NaN or Infinity.
    """
    if len(text) > largest:
        raise ValueError(f"longer than {largest} octets")
    if _depth(text) > DEEPEST:
        raise ValueError(f"nested more than {DEEPEST} deep")
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError:  # not reached at this depth, whatever the interpreter
        raise ValueError("nested too deeply") from None


def _depth(text: bytes) -> int:
    depth = deepest = 0
    for token in _TOKENS.findall(text):
        if token in (b"[", b"{"):
            depth += 1
            deepest = max(deepest, depth)
        elif token in (b"]", b"}"):
            depth -= 1
    return deepest


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")
