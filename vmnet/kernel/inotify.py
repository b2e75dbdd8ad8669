"""Being told that a file has changed (inotify(7))."""

from __future__ import annotations

import ctypes
import os

_IN_MODIFY = 0x2
_IN_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC


def watch_file(path: str) -> int:
    """Return a descriptor that becomes readable whenever something is written to the file.

    Raises:
        OSError: there is no such file, or no watch is left.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor: int = libc.inotify_init1(_IN_NONBLOCK_CLOEXEC)
    if descriptor < 0 or libc.inotify_add_watch(descriptor, os.fsencode(path), _IN_MODIFY) < 0:
        code = ctypes.get_errno()
        if descriptor >= 0:
            os.close(descriptor)
        raise OSError(code, os.strerror(code), path)
    return descriptor
