"""JSON of a process that may have been taken over: small and flat, and otherwise as strict as what is saved."""

from __future__ import annotations

from typing import Any

from vmnet.model.strict_json import loads

DEEPEST = 16
"""Arrays and objects in one another."""


def parse(text: bytes, largest: int) -> Any:  # noqa: ANN401 # JSON is of any type
    """Return what the text holds.

    Raises:
        ValueError: it is longer than `largest` octets, nested too deeply, or such as `strict_json` refuses.
    """
    if len(text) > largest:
        raise ValueError(f"longer than {largest} octets")
    return loads(text, DEEPEST)
