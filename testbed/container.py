"""Walls like a container's around one program: `python -m testbed.container DIRECTORY PROGRAM [ARGUMENT…]`.

The program is process 1 of its own PID namespace and stays in the caller's network namespace. It sees an overlay
of DIRECTORY/etc on /etc and of DIRECTORY/var on /var, an empty /run, and the rest of the machine as it is. SIGTERM
and SIGINT reach it; when it ends, all that it left running ends with it.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from testbed.jail import (
    CLONE_NEWNS,
    CLONE_NEWPID,
    LIBC,
    MS_PRIVATE,
    MS_REC,
    PR_SET_PDEATHSIG,
    checked,
    mount,
    overlay,
)

FORWARDED = (signal.SIGTERM, signal.SIGINT)


def _become(directory: Path, command: list[str]) -> None:
    checked(LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
    mount("", "/", flags=MS_REC | MS_PRIVATE)
    for name in ("etc", "var"):
        overlay(str(directory), name)
    mount("tmpfs", "/run", "tmpfs")
    mount("proc", "/proc", "proc")
    os.execvp(command[0], command)  # noqa: S606 -- no shell is the point


def main(argv: list[str]) -> int:
    """Make the walls, put the program in, and end as it does."""
    directory, *command = argv
    for name in ("etc", "etc.work", "var", "var.work"):
        Path(directory, name).mkdir(exist_ok=True, parents=True)
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    checked(LIBC.unshare(CLONE_NEWNS | CLONE_NEWPID), "unshare")
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
        try:
            _become(Path(directory), command)
        except OSError as error:
            print(f"container: {error}", file=sys.stderr, flush=True)  # noqa: T201
            os._exit(125)
    for number in FORWARDED:
        signal.signal(number, lambda got, _frame: os.kill(child, got))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) & 0xFF


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
