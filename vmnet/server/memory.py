"""How much memory this process holds, told from inside the sandbox, where no file can be opened any more."""

from __future__ import annotations

import os
import resource

NONE = -1
"""In place of a descriptor: there is no /proc."""
_STATM = "/proc/self/statm"


def open_statm() -> int:
    """Open what tells it, before the sandbox is entered."""
    try:
        return os.open(_STATM, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return NONE


def resident_bytes(statm: int) -> int | None:
    """The memory that is ours at this moment: the second number, in pages (proc(5)); None where unknown."""
    try:
        return int(os.pread(statm, 128, 0).split()[1]) * resource.getpagesize()
    except OSError:
        return None
