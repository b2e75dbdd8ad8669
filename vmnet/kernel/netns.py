"""Network namespaces: which one this is, and entering another."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct

from vmnet.errors import KernelError, RefusedError, UsageError

_SO_NETNS_COOKIE = 71
_NS_GET_NSTYPE = 0xB703
_CLONE_NEWNET = 0x40000000
_INITIAL_NETNS_INODE = 0xEFFFFFF9
"""Where the kernel gives the first network namespace a fixed inode (linux/nsfs.h, NET_NS_INIT_INO)."""
_INITIAL_PIDNS_INODE = 0xEFFFFFFC
_FIRST_COOKIE = 1
_NAMED = "/run/netns"


def enter(name_or_path: str) -> None:
    """Move this process into the network namespace of that name (`ip netns`) or path.

    Raises:
        UsageError: there is no such namespace, or the path is something else.
        RefusedError: this process may not enter it.
    """
    path = name_or_path if "/" in name_or_path else f"{_NAMED}/{name_or_path}"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"network namespace {name_or_path}: {reason}; see `ip netns`") from error
    try:
        if _namespace_type(descriptor) != _CLONE_NEWNET:
            raise UsageError(f"{path} is no network namespace; name one of `ip netns` or a /proc/PID/ns/net")
        _setns(descriptor, name_or_path)
    finally:
        os.close(descriptor)


def _namespace_type(descriptor: int) -> int:
    try:
        return fcntl.ioctl(descriptor, _NS_GET_NSTYPE)
    except OSError:
        return 0


def _setns(descriptor: int, name: str) -> None:
    import ctypes  # os.setns comes with Python 3.12; ctypes costs 8 ms and only --netns pays them

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        needs = (
            "; that needs CAP_SYS_ADMIN: root on the node, or `--cap-add SYS_ADMIN`" if code == errno.EPERM else ""
        )
        raise RefusedError(f"cannot enter network namespace {name}: {os.strerror(code)}{needs}")


def cookie() -> int:
    """Return the number of this network namespace: never used again while the machine runs (net/core/sock.c).

    Raises:
        KernelError: the kernel is older than 5.14.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            value: int = struct.unpack("=Q", probe.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8))[0]
        except OSError as error:
            raise KernelError(error.errno or 0, "read SO_NETNS_COOKIE", "Linux 5.14 or newer") from error
    return value


def boot_id() -> str:
    """Return the id of this boot of the machine."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def is_host() -> bool:
    """Whether this is the host's own network namespace, where taking eth0 away would cut the host off.

    Newer kernels give it a fixed inode. On older ones it is the one that was counted first, or, seen from the
    host's own process tree, that of process 1.
    """
    here = os.stat("/proc/self/ns/net").st_ino
    if here == _INITIAL_NETNS_INODE or cookie() == _FIRST_COOKIE:
        return True
    if os.stat("/proc/self/ns/pid").st_ino != _INITIAL_PIDNS_INODE:
        return False
    try:
        return os.stat("/proc/1/ns/net").st_ino == here
    except OSError:
        return False
