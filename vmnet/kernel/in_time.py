"""What may never answer, asked with a deadline: a path on a file server that is gone."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_LOOK_SECONDS = 10.0
"""How long a path may take."""


def in_time(look: Callable[[], T], seconds: float = _LOOK_SECONDS) -> T:
    """Return what `look` returns, which runs in a thread: one that hangs in the kernel is left behind.

    Raises:
        TimeoutError: it has not returned by then.
        Exception: whatever it raises.
    """
    import threading  # only what reads a path of somebody else's pays for it

    found: list[T] = []
    failed: list[Exception] = []

    def run() -> None:
        try:
            found.append(look())
        except Exception as error:  # noqa: BLE001 # it is raised where it is waited for
            failed.append(error)

    looking = threading.Thread(target=run, daemon=True)
    looking.start()
    looking.join(seconds)
    if failed:
        raise failed[0]
    if not found:
        raise TimeoutError(errno.ETIMEDOUT, f"no answer within {seconds:g} s")
    return found[0]
