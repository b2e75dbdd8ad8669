"""Telling the service manager how we are: the sd_notify protocol, a datagram to the socket it named.

Imports no more than the resident processes may.
"""

from __future__ import annotations

import _socket
import os

VARIABLE = "NOTIFY_SOCKET"


def notify(*assignments: str) -> bool:
    """Send assignments such as READY=1. Returns whether a service manager took them.

    Nobody asking, or a socket that is gone, is no error: a VM does not depend on who watches it.
    """
    path = os.environ.get(VARIABLE, "")
    if path[:1] not in ("/", "@"):
        return False
    address = b"\0" + os.fsencode(path[1:]) if path[0] == "@" else os.fsencode(path)
    try:
        socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        try:
            # A manager whose queue is full must not stop the guest's server from being restarted.
            socket.setblocking(False)
            socket.connect(address)
            socket.send("\n".join(assignments).encode())
        finally:
            socket.close()
    except OSError:
        return False
    return True
