"""What the hook says: to libvirt, which shows it only when a start fails, and to a log that stays."""

from __future__ import annotations

import contextlib
import os
import sys
import time

from vmnet.kernel.own_files import own_directory, own_file

_LARGEST = 256 * 1024
"""Bytes; then the log begins anew."""


def tell(state_dir: str, level: str, text: str) -> None:
    """Write one line for people to stderr and, with the time, to STATE_DIR/hook/log. Never fails."""
    from vmnet.show.log import escape  # most domains are none of ours, and nothing is told

    line = escape(text)
    with contextlib.suppress(OSError, ValueError):
        if level != "info":
            sys.stderr.write(f"vmnet: {level}: {line}\n")
            sys.stderr.flush()
    with contextlib.suppress(OSError):
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")  # noqa: TID251 # for people; nothing is reckoned with it
        _append(f"{state_dir}/hook", f"{now} {level}: {line}\n")


def _append(path: str, line: str) -> None:
    """Append to the log in that directory, both being ours alone: else it is somebody's file that grows."""
    directory = own_directory(path)
    try:
        descriptor = own_file("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, directory)
    finally:
        os.close(directory)
    try:
        if os.fstat(descriptor).st_size > _LARGEST:
            os.ftruncate(descriptor, 0)
        os.write(descriptor, line.encode(errors="replace"))
    finally:
        os.close(descriptor)
