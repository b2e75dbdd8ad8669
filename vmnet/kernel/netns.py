"""Network namespaces: which one this is, and entering another."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct

from vmnet.errors import KernelError, RefusedError, UsageError
from vmnet.kernel.in_time import in_time

_SO_NETNS_COOKIE = 71
_NS_GET_NSTYPE = 0xB703
_CLONE_NEWNET = 0x40000000
_INITIAL_NETNS_INODE = 0xEFFFFFF9
"""Where the kernel gives the first network namespace a fixed inode (linux/nsfs.h, NET_NS_INIT_INO)."""
_INITIAL_PIDNS_INODE = 0xEFFFFFFC
_FIRST_COOKIE = 1
_NAMED = "/run/netns"
_NSFS_MAGIC = 0x6E736673
"""linux/magic.h."""
_STATFS_BYTES = 256
"""More than struct statfs has (asm-generic/statfs.h); its type is the first word."""


def enter(name_or_path: str) -> None:
    """Move this process into the network namespace of that name (`ip netns`) or path.

    Raises:
        UsageError: there is no such namespace, or the path is something else.
        RefusedError: this process may not enter it.
    """
    path = name_or_path if "/" in name_or_path else f"{_NAMED}/{name_or_path}"
    try:
        descriptor = in_time(lambda: _opened(path))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"network namespace {name_or_path}: {reason}; see `ip netns`") from error
    if descriptor < 0 or _namespace_type(descriptor) != _CLONE_NEWNET:
        if descriptor >= 0:
            os.close(descriptor)
        raise UsageError(f"{path} is no network namespace; name one of `ip netns` or a /proc/PID/ns/net")
    try:
        _setns(descriptor, name_or_path)
    finally:
        os.close(descriptor)


def _opened(path: str) -> int:
    """Open the namespace of that path; -1 where it is anything else, which is not opened at all.

    To open a pipe or a device does something, or waits. By O_PATH the file is only named.
    """
    named = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not _is_namespace(named):
            return -1
        return os.open(f"/proc/self/fd/{named}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    finally:
        os.close(named)


def _is_namespace(descriptor: int) -> bool:
    """Whether it is a file of nsfs: only such stand for namespaces."""
    import ctypes  # os.statvfs does not tell the type

    found = ctypes.create_string_buffer(_STATFS_BYTES)
    if ctypes.CDLL(None, use_errno=True).fstatfs(descriptor, found) != 0:
        return False
    return ctypes.c_long.from_buffer(found).value == _NSFS_MAGIC


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
