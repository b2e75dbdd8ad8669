"""How long what must come is waited for: the one guard against hanging, for all tests.

It is no promise of how quick something is. A test that would like to know that measures it (tests/figures.py).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 300.0
"""Seconds. Nothing takes as long, also where one core is shared with others: what is not there then hangs."""


def attempts(what: str, patience: float = PATIENCE) -> Iterator[None]:
    """Go round until the caller breaks off; that it never does is an error, which names what was waited for."""
    from testbed.netns import TestbedError

    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        yield
    raise TestbedError(f"waited {patience:.0f} s for {what}")


def wait_until_so(is_so: Callable[[], bool], what: str) -> None:
    """Ask again and again until something is so that nothing announces."""
    for _ in attempts(what):
        if is_so():
            return
