"""The server's log: one JSON object a line on stderr, never more lines than a guest's flood may cost."""

from __future__ import annotations

import posix
import select
import time

from vmnet.server.json_text import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from vmnet.server.json_text import Json

LARGEST_LOG = 4 << 20
"""Bytes. The server cannot write beyond, where its log is a file."""
_BURST = 32
_LINES_PER_SECOND = 1
_STDERR = 2


class Log:
    """Writes at most 32 lines at once and one a second on average; the next line counts what was left out."""

    __slots__ = ("_clock", "_credit", "_last", "_left_out", "_write")

    def __init__(self, write: Callable[[bytes], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._clock = clock
        self._credit = float(_BURST)
        self._last = clock()
        self._left_out = 0

    def __call__(self, level: str, event: str, message: str, **fields: Json) -> None:
        """Log `event`, a fixed word to search for, with one sentence for people and fields for machines."""
        now = self._clock()
        self._credit = min(_BURST, self._credit + (now - self._last) * _LINES_PER_SECOND)
        self._last = now
        if self._credit < 1:
            self._left_out += 1
            return
        self._credit -= 1
        line: dict[str, Json] = {"level": level, "event": event, "message": message, **fields}
        if self._left_out:
            line["left_out"] = self._left_out
            self._left_out = 0
        self._write(dumps(line).encode() + b"\n")


def write_to_stderr(line: bytes) -> None:
    """Write a line unless nobody reads: a full pipe must not stop the server, a closed one not end it."""
    try:
        poller = select.poll()
        poller.register(_STDERR, select.POLLOUT)
        if poller.poll(0):
            posix.write(_STDERR, line)
    except OSError:
        return
