"""File systems for state directories: small ones of a test's own, and places that are read-only for a while."""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MS_RDONLY, MS_REMOUNT, MS_BIND, MNT_DETACH = 1, 32, 4096, 2
"""linux/mount.h."""
_LIBC = ctypes.CDLL(None, use_errno=True)


@contextmanager
def small(path: Path, options: str) -> Iterator[None]:
    """Have a file system of one's own there, as long as the block lasts."""
    path.mkdir()
    _mount("none", path, "tmpfs", 0, options)
    try:
        yield
    finally:
        _LIBC.umount2(bytes(path), MNT_DETACH)


def remount(path: Path, options: str, flags: int = 0) -> None:
    """Give such a file system other options."""
    _mount("none", path, "tmpfs", MS_REMOUNT | flags, options)


@contextmanager
def read_only(source: Path, path: Path | None = None) -> Iterator[None]:
    """Show a directory read-only at another path, else at its own to whatever opens it from now on.

    What is open stays as it is, as the log of a server.
    """
    place = path or source
    place.mkdir(exist_ok=True)
    for flags in (MS_BIND, MS_BIND | MS_REMOUNT | MS_RDONLY):
        _mount(str(source), place, None, flags, None)
    try:
        yield
    finally:
        _LIBC.umount2(bytes(place), MNT_DETACH)


def _mount(source: str, path: Path, kind: str | None, flags: int, options: str | None) -> None:
    words = (source.encode(), bytes(path), kind and kind.encode(), flags, options and options.encode())
    if _LIBC.mount(*words) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
