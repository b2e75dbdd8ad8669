"""Ctrl-C, also where Python would lose it: what is raised in a finalizer is printed and forgotten."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def until_ctrl_c() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C end the block, and nothing more. Gives what a loop asks whether to go on."""
    came: list[int] = []

    def note(number: int, _frame: object) -> NoReturn:
        came.append(number)
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # else the caller ignores it, as shells do for background jobs
        signal.signal(signal.SIGINT, note)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield lambda: not came
    finally:
        signal.signal(signal.SIGINT, before)
