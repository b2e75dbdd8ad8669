"""Files and directories of our own, opened so that whatever lies in their place cannot hang us or lead us away.

Loaded by the resident `vmnet run` and by libvirt's hook, so it imports next to nothing.
"""

from __future__ import annotations

import os
import stat

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
"""With these an open neither waits for a pipe's other end, nor follows a link, nor takes a terminal."""


def is_own_file(found: os.stat_result) -> bool:
    """Whether it is a plain file that only we can write, under no second name.

    It has no name any more where another of us has just replaced or removed it, and is whole all the same.
    """
    plain = stat.S_ISREG(found.st_mode) and found.st_nlink <= 1
    return plain and found.st_uid == os.geteuid() and not found.st_mode & 0o022


def is_own_directory(found: os.stat_result) -> bool:
    """Whether it is a directory that is ours alone."""
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def own_directory(name: str, parent: int | None = None) -> int:
    """Open a directory that is ours alone, below an open one.

    Raises:
        OSError: there is none, or it is not ours alone.
    """
    descriptor = os.open(name, DIRECTORY, dir_fd=parent)
    if is_own_directory(os.fstat(descriptor)):
        return descriptor
    os.close(descriptor)
    raise PermissionError(f"{name} is open to others")


def own_file(name: str, flags: int, directory: int) -> int:
    """Open a plain file of ours in an open directory; with O_CREAT it is made where there is none.

    Raises:
        OSError: it cannot be opened, or is not ours alone.
    """
    descriptor = os.open(name, flags | FILE, 0o600, dir_fd=directory)
    if is_own_file(os.fstat(descriptor)):
        return descriptor
    os.close(descriptor)
    raise PermissionError(f"{name} is not a file of ours alone")


def read_own(name: str, directory: int, at_most: int) -> bytes:
    """Return the beginning of a plain file of ours; of a small one, all.

    Raises:
        OSError: it cannot be read, or is not ours alone.
    """
    descriptor = own_file(name, os.O_RDONLY, directory)
    try:
        return os.read(descriptor, at_most)
    finally:
        os.close(descriptor)
