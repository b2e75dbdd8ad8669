"""Standard input, output and error, whatever the caller made of them: closed, full, a pipe that nobody reads."""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from typing import TYPE_CHECKING

from vmnet.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import ReadableBuffer


_PATIENCE_SECONDS = 1.0


def _written(write: Callable[[ReadableBuffer], int | None], descriptor: int, data: ReadableBuffer) -> int:
    """Write; where somebody who shares the stream has made it non-blocking, wait for room, and not for ever.

    Raises:
        OSError: it cannot be written, or there was no room.
    """
    for _attempt in range(2):
        written = write(data)
        if written is not None:
            return written
        select.select([], [descriptor], [], _PATIENCE_SECONDS)
    raise BlockingIOError(errno.EAGAIN, "whoever reads it does not make room")


class _Output(io.FileIO):
    """Standard output. That it cannot be written is the caller's affair, and said so."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return _written(super().write, self.fileno(), data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"cannot write to standard output: {error.strerror}") from error


class _Errors(io.FileIO):
    """Standard error. Where it cannot be written there is nobody to tell."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return _written(super().write, self.fileno(), data)
        except OSError:
            return memoryview(data).nbytes


def guard() -> None:
    """Make all three usable: what is closed reads and writes nothing."""
    _occupy()
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 # until the process ends
    # Whoever runs us as a library has put something else in their place.
    if sys.stdout is None or sys.stdout is sys.__stdout__:
        sys.stdout = _text(_Output(1, "w", closefd=False), sys.stdout)
    if sys.stderr is None or sys.stderr is sys.__stderr__:
        sys.stderr = _text(_Errors(2, "w", closefd=False), sys.stderr)


def _text(raw: io.FileIO, before: object) -> io.TextIOWrapper:
    encoding, errors = getattr(before, "encoding", "utf-8"), getattr(before, "errors", "backslashreplace")
    line_buffering = bool(getattr(before, "line_buffering", False))
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors, line_buffering=line_buffering)


def _occupy() -> None:
    """Keep descriptors 0 to 2 from being given to something of ours when the caller closed them."""
    while True:
        descriptor = os.open(os.devnull, os.O_RDWR)
        if descriptor > 2:
            os.close(descriptor)
            return
        os.set_inheritable(descriptor, True)


def discard_output() -> None:
    """Write to nowhere from now on: what could not be written would be tried again at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
