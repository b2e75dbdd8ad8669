"""Who has a tap open: read from the descriptors of the processes that we may look at (proc_pid_fdinfo(5))."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from vmnet.model.links import Holder

if TYPE_CHECKING:
    from collections.abc import Iterator

_TUN = "/dev/net/tun"
_IFNAME = "iff:"
"""Of fdinfo; empty once the link is gone (drivers/net/tun.c, tun_chr_show_fdinfo)."""
_MOST_INFO = 1024
"""Bytes of an fdinfo; a tun's has five short lines."""


def tap_holders() -> tuple[Holder, ...]:
    """Return the processes of this network namespace that have /dev/net/tun open, each with its tap.

    Not seen: a process of another PID namespace, and one of another network namespace that was given a descriptor.
    """
    netns = _namespace("self")
    pids = sorted(map(int, filter(str.isdecimal, os.listdir("/proc"))))
    here = [pid for pid in pids if netns and _namespace(str(pid)) == netns]
    return tuple(holder for pid in here for holder in _of_process(pid))


def _namespace(pid: str) -> str:
    """Return what names its network namespace; empty where it has ended, or we may not look."""
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return ""


def _of_process(pid: int) -> Iterator[Holder]:
    taps: dict[str, None] = {}
    with contextlib.suppress(OSError):
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):  # it was closed meanwhile
                # A container's own device node may lie elsewhere, but ends so.
                if os.readlink(f"/proc/{pid}/fd/{descriptor}").endswith(_TUN.removeprefix("/dev")):
                    taps[_ifname(_read(f"/proc/{pid}/fdinfo/{descriptor}"))] = None
        name = _read(f"/proc/{pid}/comm").strip()
        command = "".join(character if character.isprintable() else "?" for character in name)
        yield from (Holder(pid, command, ifname) for ifname in taps)


def _ifname(info: str) -> str:
    lines = (line for line in info.splitlines() if line.startswith(_IFNAME))
    return next(lines, "").removeprefix(_IFNAME).strip()


def _read(path: str) -> str:
    with open(path, "rb") as file:
        return file.read(_MOST_INFO).decode(errors="replace")
