"""Whether a process is a DHCP server of ours at all: a number that is written down proves nothing by itself.

Loaded by the resident `vmnet run`, so it imports next to nothing.
"""

from __future__ import annotations

import os

_PROGRAM = b"vmnet.server.loop"
"""What is in the command line of every server."""


def is_server(pid: int) -> bool:
    """Whether that process runs our server, in the network namespace where we are, as far as we may see that."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            if _PROGRAM not in file.read(4096):
                return False
    except OSError:
        return False
    try:
        return os.path.samestat(os.stat(f"/proc/{pid}/ns/net"), os.stat("/proc/thread-self/ns/net"))
    except PermissionError:
        return True  # in a container, where the server became another user; but there all are of the pod
    except OSError:
        return False
