"""The walls around libvirtd: `libvirtd_room.py DIRECTORY PROGRAM` becomes PROGRAM, run as libvirtd.

It keeps its process id and its network namespace, and gets a mount namespace of its own in which the directories
that libvirtd writes to are those below DIRECTORY.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MOUNTS = {
    "etc": "/etc/libvirt",
    "run": "/run",
    "state": "/var/lib/libvirt",
    "log": "/var/log/libvirt",
    "cache": "/var/cache/libvirt",
}
"""Directory below ours, and where libvirtd sees it; the named network namespaces stay in sight in its /run."""
KVM = Path("/dev/kvm")
CLONE_NEWNS = 0x00020000
MS_RDONLY, MS_BIND, MS_REC, MS_SLAVE = 1, 4096, 16384, 1 << 19
"""linux/sched.h, linux/mount.h."""


def _become(directory: Path, program: str) -> None:
    """Put the private directories in place, for this process alone, and become libvirtd."""
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.unshare(CLONE_NEWNS), "unshare")
    # Slaves, so that nothing gets out, while namespaces that are named or deleted later are so in here too.
    _checked(libc.mount(b"none", b"/", None, ctypes.c_ulong(MS_REC | MS_SLAVE), None), "make / a slave")
    for source, place in (("/run/netns", str(directory / "run" / "netns")), *_mounts(directory)):
        flags = ctypes.c_ulong(MS_BIND | MS_REC)
        _checked(libc.mount(source.encode(), place.encode(), None, flags, None), f"mount {place}")
    _bind_kvm(libc, directory / "kvm")
    # As in a container: the links of this network namespace, nothing to write to.
    _checked(libc.mount(b"sysfs", b"/sys", b"sysfs", ctypes.c_ulong(MS_RDONLY), None), "mount /sys")
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(directory),
        "NOTIFY_SOCKET": str(directory / "ready"),
    }
    arguments = [program, "--pid-file", str(directory / "libvirtd.pid"), "--config", "/etc/libvirt/libvirtd.conf"]
    os.execvpe(program, arguments, environment)  # noqa: S606 -- no shell is the point


def _bind_kvm(libc: ctypes.CDLL, node: Path) -> None:
    """Let QEMU's user open /dev/kvm, as distributions do.

    Where only root can, libvirt finds what it learnt about QEMU invalid and learns it again, 4 s at each start.
    """
    if KVM.exists():
        node.unlink(missing_ok=True)
        os.mknod(node, KVM.stat().st_mode, KVM.stat().st_rdev)
        node.chmod(0o666)
        target = os.fsencode(KVM)
        _checked(libc.mount(os.fsencode(node), target, None, ctypes.c_ulong(MS_BIND), None), "mount /dev/kvm")


def _mounts(directory: Path) -> Iterator[tuple[str, str]]:
    return ((str(directory / name), place) for name, place in MOUNTS.items())


def _checked(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


if __name__ == "__main__":
    _become(Path(sys.argv[1]), sys.argv[2])
