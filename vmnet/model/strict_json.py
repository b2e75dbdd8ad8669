"""JSON from anybody, read strictly: bounded in depth and in numbers, no key twice, nothing that JSON has not.

Python reads more than RFC 8259 has (NaN, Infinity), takes the last of two equal keys, and since 3.13 nests as deep
as memory goes.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

DEEPEST = 64
"""Levels; a journal has six, the configuration's own schema eight."""
_LONGEST_NUMBER = 20
"""Characters: 64 bits, with a sign."""
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
"""One without an end goes to the end of the text: to try again behind it would take the square of the time."""
_NO_BRACKET = re.compile(r"[^\[\]{}]+")


def loads(text: str | bytes, deepest: int = DEEPEST) -> Any:  # noqa: ANN401 # JSON is of any type
    """Return what JSON text holds; of bytes, UTF-8.

    Raises:
        ValueError: it is not JSON, or such as nobody would write who means well; in one line.
    """
    decoded = text if isinstance(text, str) else text.decode()
    _refuse_deep(decoded, deepest)
    return json.loads(
        decoded,
        object_pairs_hook=_object,
        parse_int=_integer,
        parse_float=_float,
        parse_constant=_refuse_constant,
    )


def _refuse_deep(text: str, deepest: int) -> None:
    if text.count("[") + text.count("{") <= deepest:
        return
    depth = 0
    for bracket in _NO_BRACKET.sub("", _STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > deepest:
            raise ValueError(f"nested deeper than {deepest} levels")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {_first_twice(names)} appears twice")
    return found


def _first_twice(names: list[str]) -> str:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return ascii(name[:64])
        seen.add(name)
    raise AssertionError("each stands once")


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {digits[:64]} is too large")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
