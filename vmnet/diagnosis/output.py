"""Where a file that was asked for goes: to a path, or to stdout where the path is `-`."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from typing import TYPE_CHECKING

from vmnet.errors import OutputError, UsageError, VmnetError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

STDOUT = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
"""What means it. Opened by its path it would be another file's beginning, or refused as there already."""


@contextlib.contextmanager
def opened(path: str, *, new: bool) -> Iterator[BinaryIO]:
    """Give where to write. With `new` a file that is there already is left alone.

    Raises:
        UsageError: it cannot be opened; before the block begins.
        OutputError: it cannot be written, as where the disk is full.
    """
    if path in STDOUT and os.isatty(1):
        raise UsageError("stdout is a terminal and the output is binary; pipe it, or redirect it to a file")
    sys.stdout.flush()
    descriptor = os.dup(1) if path in STDOUT else _opened(path, new=new)
    try:
        with open(descriptor, "wb") as file:
            yield file
    except (BrokenPipeError, VmnetError):
        raise
    except OSError as error:
        raise OutputError(f"cannot write {named(path)}: {error.strerror}") from error


def named(path: str) -> str:
    """Return the path as people read it."""
    return "stdout" if path in STDOUT else path


def _opened(path: str, *, new: bool) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
    try:
        if new and _is_stream(path):  # it is there, and is written to all the same
            return _stream(path, flags)
        return os.open(path, flags | (os.O_EXCL if new else os.O_TRUNC), 0o600)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        read_only = "; `-` writes to stdout" if getattr(error, "errno", 0) == errno.EROFS else ""
        raise UsageError(f"cannot write {path}: {reason}{read_only}") from error


def _stream(path: str, flags: int) -> int:
    """Open a pipe or a device. Whoever made it may have put a link to somebody's file in its place since."""
    descriptor = os.open(path, flags, 0o600)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    return descriptor


def _is_stream(path: str) -> bool:
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode)
