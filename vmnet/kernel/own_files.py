"""Files and directories of our own, opened so that whatever lies in their place cannot hang us or lead us away.

Loaded by the resident `vmnet run` and by libvirt's hook, so it imports next to nothing.
"""

from __future__ import annotations

import errno
import os
import stat

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NAMED = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
"""With these a file is not opened, only named (open(2))."""
_NEW = os.O_CREAT | os.O_EXCL
_OPENED = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_ATTEMPTS = 100
"""How often a file may be there when it is to be made, and gone when it is to be opened, by much bad luck."""


class NotOursError(PermissionError):
    """What lies there is not a plain file of ours alone; it was not opened."""


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

    Anything else is only looked at: to open a device may do something, as arm a watchdog, and to open a pipe wait.

    Raises:
        NotOursError: it is not ours alone, or no plain file.
        OSError: it cannot be opened.
    """
    for _attempt in range(_ATTEMPTS if flags & os.O_CREAT else 0):
        try:
            return os.open(name, flags | _NEW | _OPENED, 0o600, dir_fd=directory)
        except FileExistsError:
            if flags & os.O_EXCL:
                raise
        try:
            return _there(name, flags, directory)
        except FileNotFoundError:
            continue  # another of us has just removed it
    return _there(name, flags, directory)


def _there(name: str, flags: int, directory: int) -> int:
    there = named(name, directory)
    try:
        if not is_own_file(os.fstat(there)):
            raise NotOursError(f"{name} is not a file of ours alone")
        return reopened(there, flags & ~_NEW)
    finally:
        os.close(there)


def named(name: str, directory: int) -> int:
    """Name what stands in an open directory, without opening it: a socket at /proc/self/fd/N can be connected to.

    A link is named itself: it would lead whoever owns the directory to what is not his, as another pod's server.

    Raises:
        OSError: there is nothing of that name.
    """
    return os.open(name, _NAMED, dir_fd=directory)


def reopened(there: int, flags: int) -> int:
    """Open what O_PATH has only named, once it has been looked at; it has a name no more, perhaps.

    Raises:
        OSError: it cannot be opened.
    """
    try:
        return os.open(f"/proc/self/fd/{there}", flags | _OPENED)
    except (FileNotFoundError, NotADirectoryError) as error:  # the file is there: never to be taken for none
        raise OSError(errno.ENOSYS, "files are opened by way of /proc, and it has none of us; mount it") from error


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
