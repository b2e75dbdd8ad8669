"""The termination message: what Kubernetes shows of a container that failed, beside its exit code.

Imports no more than the resident processes may.
"""

from __future__ import annotations

import os

VARIABLE = "VMNET_TERMINATION_LOG"
_KUBERNETES = "/dev/termination-log"
_LARGEST = 4096
"""Bytes that kubelet reads of it."""


def leave(message: str) -> None:
    """Write an error line to the file of VMNET_TERMINATION_LOG, or to the one Kubernetes made. Best effort.

    An empty variable means: nowhere.
    """
    path = os.environ.get(VARIABLE)
    flags = os.O_WRONLY | os.O_TRUNC | os.O_NONBLOCK | os.O_CLOEXEC
    if path is None:
        # It is there from the start of a container; where it is not, nobody would read it.
        path = _KUBERNETES if "KUBERNETES_SERVICE_HOST" in os.environ else ""
    else:
        flags |= os.O_CREAT
    if not path:
        return
    try:
        descriptor = os.open(path, flags, 0o644)
    except (OSError, ValueError):
        return
    try:
        os.write(descriptor, _cut(message))
    except OSError:
        return
    finally:
        os.close(descriptor)


def _cut(message: str) -> bytes:
    """A line of whole characters, within the size that is read."""
    return message.encode(errors="replace")[: _LARGEST - 1].decode(errors="ignore").encode() + b"\n"
