"""How much memory this process holds, told from inside the sandbox, where no file can be opened any more."""

from __future__ import annotations

import posix
import resource

NONE = -1
"""In place of a descriptor: there is no /proc."""
_STATM = "/proc/self/statm"


def open_statm() -> int:
    """Open what tells it, before the sandbox is entered."""
    try:
        return posix.open(_STATM, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return NONE


def resident_bytes(statm: int) -> int | None:
    """The memory that is ours at this moment: the second number, in pages (proc(5)); None where unknown."""
    try:
        return int(posix.pread(statm, 128, 0).split()[1]) * resource.getpagesize()
    except OSError:
        return None
