"""Locks on files, waited for with a deadline: whoever holds one may never let go."""

from __future__ import annotations

import fcntl
import os
import select
import time

from vmnet.errors import WaitTimeoutError
from vmnet.show.log import say

PATIENCE_SECONDS = 60.0
"""An `up` takes a tenth of a second, on a machine that does everything at once some seconds."""
_SAY_SECONDS = 3.0
_LOOK_AGAIN_SECONDS = 0.02


def hold(descriptor: int, path: str, seconds: float | None = None) -> None:
    """Lock the open file until it is closed; `path` is for people. The kernel frees it when its holder dies.

    It is waited for as long as PATIENCE_SECONDS unless told otherwise.

    Raises:
        WaitTimeoutError: another process held it all the time; it is named.
    """
    began, told = time.monotonic(), False
    patience = PATIENCE_SECONDS if seconds is None else seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            return
        waited = time.monotonic() - began
        if waited >= patience:
            raise WaitTimeoutError(
                f"{path} is still locked by {holder(descriptor)}; try again when that has ended"
            )
        if waited >= _SAY_SECONDS and not told:
            told = True
            say("info", "waiting", f"waiting for {holder(descriptor)} to release {path}")
        select.select([], [], [], _LOOK_AGAIN_SECONDS)  # flock(2) tells nobody when it is free


def holder(descriptor: int) -> str:
    """Say which process holds the lock on that file, as far as the kernel shows it here."""
    found = os.fstat(descriptor)
    file = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    try:
        with open("/proc/locks", encoding="ascii") as locks:
            words = next((line.split() for line in locks if f" {file} " in line and "->" not in line), [])
    except OSError:
        words = []
    pid = words[4] if len(words) > 4 else ""
    if not pid.isdecimal() or pid == "0":  # 0 and -1: it is in another process tree
        return "a process that cannot be seen from here (in another container?)"
    return f"process {pid} ({_name(pid)})"


def _name(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as comm:
            return ascii(comm.read().strip())[1:-1]
    except OSError:
        return "?"
