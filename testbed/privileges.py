"""What the command under test may do: all that root may, or what a container may that drops ALL and adds three.

`VMNET_TEST_PRIVILEGES=container` chooses the latter for every vmnet that a test starts: CAP_NET_ADMIN,
CAP_NET_RAW and CAP_BPF are all it has and can ever get, and /proc/sys is read-only, as runtimes mount it.
"""

from __future__ import annotations

import ctypes
import os
import struct

from testbed.jail import CLONE_NEWNS, LIBC, MS_BIND, MS_PRIVATE, MS_RDONLY, MS_REC, checked, mount

CONFINED = {"": False, "container": True}[os.environ.get("VMNET_TEST_PRIVILEGES", "")]
"""Whether the command under test runs as in a container, unless a test has a reason against it."""
_KEPT = {"net_admin": 12, "net_raw": 13, "bpf": 39}
"""linux/capability.h."""
_SYSCTLS = "/proc/sys"
_MOUNTS = f'mount --bind {_SYSCTLS} {_SYSCTLS}; mount -o remount,bind,ro {_SYSCTLS}; exec "$@"'
_MS_REMOUNT = 32
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
_HEADER = struct.pack("Ii", 0x20080522, 0)


def confined(*argv: str) -> list[str]:
    """The argument list that runs `argv` as in a container, with the same process id."""
    bounding = ",".join(["-all", *(f"+{name}" for name in _KEPT)])
    privileges = ["setpriv", "--bounding-set", bounding, "--inh-caps", "-all", "--no-new-privs", "--"]
    return ["unshare", "--mount", "sh", "-ec", _MOUNTS, "sh", *privileges, *argv]


def confine() -> None:
    """Put the calling process, which must have no other thread, where `confined` puts a program."""
    checked(LIBC.unshare(CLONE_NEWNS), "unshare")
    mount("", "/", flags=MS_REC | MS_PRIVATE)
    mount(_SYSCTLS, _SYSCTLS, flags=MS_BIND)
    mount("", _SYSCTLS, flags=MS_BIND | _MS_REMOUNT | MS_RDONLY)
    capability = 0
    while LIBC.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) == 0:
        capability += 1
        while capability in _KEPT.values():
            capability += 1
    checked(LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
    kept = sum(1 << number for number in _KEPT.values())
    low, high = kept & 0xFFFFFFFF, kept >> 32
    sets = ctypes.create_string_buffer(struct.pack("IIIIII", low, low, 0, high, high, 0))
    checked(LIBC.capset(_HEADER, sets), "capset")
