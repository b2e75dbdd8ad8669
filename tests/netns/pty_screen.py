"""What a program shows on a terminal of a certain width."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import termios
from contextlib import suppress

_ROWS = 60


def shown(argv: list[str], columns: int) -> str:
    """Run it to its end with stdout on a terminal, and give what arrived there."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", _ROWS, columns, 0, 0))
    with os.fdopen(ours, "rb", buffering=0) as arrived:
        with subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as running:
            os.close(theirs)
            parts = []
            with suppress(OSError):  # EIO: the other end is closed (pty(7))
                while part := arrived.read(4096):
                    parts.append(part)
            running.wait()
    return b"".join(parts).decode().replace("\r\n", "\n")
