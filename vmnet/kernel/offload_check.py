"""The program for unfinished frames (`plumbing.offload_program`): loaded by bpf(2), attached to a link by tc.

Of several programs at a link's ingress ours is asked first, and it leaves what it does not drop to the others.
"""

from __future__ import annotations

import _ctypes  # `ctypes` around it would cost 8 ms
import contextlib
import errno
import fcntl
import os
import socket
import struct
from array import array
from typing import TYPE_CHECKING

from vmnet.kernel.netlink import NLM_F_CREATE, NLM_F_EXCL, attribute, attributes
from vmnet.model.links import OffloadCheck

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.kernel.netlink import NetlinkSocket

_SYSCALLS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "loongarch64": 280, "ppc64le": 361, "s390x": 351}
"""The number of bpf(2), by machine."""
_PROG_LOAD, _SCHED_CLS = 5, 3
"""linux/bpf.h, BPF_PROG_LOAD, BPF_PROG_TYPE_SCHED_CLS."""
_ATTRIBUTES = struct.Struct("=IIQQIIQII16s")
_LICENCE = b"Apache-2.0\0"
_NEWQDISC, _DELQDISC, _GETQDISC = 36, 37, 38
_NEWTFILTER, _DELTFILTER, _GETTFILTER = 44, 45, 46
"""linux/rtnetlink.h."""
_HEADER_BYTES = 16
_SIOCGIFTXQLEN, _SIOCSIFTXQLEN = 0x8942, 0x8943
_IFREQ = struct.Struct("16si20x")
"""linux/sockios.h, linux/if.h."""
_TCMSG = struct.Struct("=BxxxiIII")
"""Family, ifindex, handle, parent, info (linux/rtnetlink.h)."""
_CLSACT_HANDLE, _CLSACT, _INGRESS, _EGRESS = 0xFFFF0000, 0xFFFFFFF1, 0xFFFFFFF2, 0xFFFFFFF3
"""linux/pkt_sched.h, TC_H_CLSACT, TC_H_MIN_INGRESS, TC_H_MIN_EGRESS."""
_HANDLE = 0x766D
_FIRST_OF_ALL = 1 << 16 | socket.htons(3)
"""Priority 1, and ETH_P_ALL."""
_KIND, _OPTIONS = 1, 2
_FD, _NAME, _FLAGS, _DIRECT = 6, 7, 8, 1
"""linux/pkt_cls.h, TCA_BPF_*: the program's answer is what becomes of the frame."""
_NESTED = 0x8000
_NAME_PREFIX = b"vmnet-"


class _Function(_ctypes.CFuncPtr):
    """A function of the C library that returns an int and sets errno."""

    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO


def attach(netlink: NetlinkSocket, checks: tuple[OffloadCheck, ...], program: bytes) -> bool:
    """Hang the program on these links; False where it cannot be.

    That takes CAP_BPF besides CAP_NET_ADMIN, and a kernel with cls_bpf.
    """
    try:
        loaded = _load(program)
    except OSError:
        return False
    try:
        for check in checks:
            _make_place(netlink, check.ifname)
            _hang(netlink, socket.if_nametoindex(check.ifname), check.name, loaded)
    except OSError:
        return False
    finally:
        os.close(loaded)
    return True


def detach(netlink: NetlinkSocket, ifname: str, *, keep_place: bool) -> None:
    """Take the program off a link, and the place that it hung on, unless that is kept or others hang there.

    Raises:
        OSError: the kernel refused: what is gone already is ENOENT, EINVAL or ENODEV.
    """
    ifindex = socket.if_nametoindex(ifname)
    kind = attribute(_KIND, b"bpf\0")
    message = _TCMSG.pack(0, ifindex, _HANDLE, _INGRESS, _FIRST_OF_ALL) + kind
    with contextlib.suppress(FileNotFoundError):
        netlink.request_bytes(message, _DELTFILTER, 0)
    if keep_place:
        return
    if not any(True for parent in (_INGRESS, _EGRESS) for _ in _filters(netlink, ifindex, parent)):
        message = _TCMSG.pack(0, ifindex, _CLSACT_HANDLE, _CLSACT, 0) + attribute(_KIND, b"clsact\0")
        netlink.request_bytes(message, _DELQDISC, 0)


def read_checks(netlink: NetlinkSocket, names: dict[int, str]) -> tuple[OffloadCheck, ...]:
    """Return where a program of ours hangs, and, without a name, where a place is made and nothing hangs.

    Nothing on a kernel without traffic control.

    Raises:
        KernelError: the kernel refused for another reason.
    """
    try:
        qdiscs = netlink.dump_bytes(_TCMSG.pack(0, 0, 0, 0, 0), _GETQDISC)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return ()
        raise
    links = {}
    for qdisc in qdiscs:
        _family, ifindex, handle, _parent, _info = _TCMSG.unpack_from(qdisc, _HEADER_BYTES)
        if handle == _CLSACT_HANDLE and ifindex in names:
            links[ifindex] = names[ifindex]
    return tuple(
        OffloadCheck(ifname, name) for ifindex, ifname in links.items() for name in _checks(netlink, ifindex)
    )


def _checks(netlink: NetlinkSocket, ifindex: int) -> Iterator[str]:
    """Give the name of each program of ours there; an empty one where nothing hangs, of ours or of others."""
    filters = tuple(_filters(netlink, ifindex, _INGRESS))
    yield from (name for handle, name in filters if handle == _HANDLE and name.startswith(_NAME_PREFIX.decode()))
    if not filters and not any(True for _ in _filters(netlink, ifindex, _EGRESS)):
        yield ""


def _load(program: bytes) -> int:
    number = _SYSCALLS.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    code, licence = array("B", program), array("B", _LICENCE)
    attributes = _ATTRIBUTES.pack(
        *(_SCHED_CLS, len(code) // 8, code.buffer_info()[0], licence.buffer_info()[0]),
        *(0, 0, 0, 0, 0, b"vmnet_offloads"),
    )
    library = _ctypes.dlopen(None, 0)  # type: ignore[arg-type] # dlopen(3): NULL is the program itself
    syscall = _Function(_ctypes.dlsym(library, "syscall"))
    descriptor: int = syscall(number, _PROG_LOAD, attributes, len(attributes))
    if descriptor < 0:
        code_of_error = _ctypes.get_errno()
        raise OSError(code_of_error, os.strerror(code_of_error))
    return descriptor


def _make_place(netlink: NetlinkSocket, ifname: str) -> None:
    """Add the qdisc. A queue of length 0 is taken for a mistake then (net/sched/sch_api.c, qdisc_create)."""
    ifindex = socket.if_nametoindex(ifname)
    message = _TCMSG.pack(0, ifindex, _CLSACT_HANDLE, _CLSACT, 0) + attribute(_KIND, b"clsact\0")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = fcntl.ioctl(any_socket, _SIOCGIFTXQLEN, _IFREQ.pack(ifname.encode(), 0))
        with contextlib.suppress(FileExistsError):
            netlink.request_bytes(message, _NEWQDISC, NLM_F_CREATE | NLM_F_EXCL)
        if _IFREQ.unpack(asked)[1] == 0:
            fcntl.ioctl(any_socket, _SIOCSIFTXQLEN, asked)


def _hang(netlink: NetlinkSocket, ifindex: int, name: str, loaded: int) -> None:
    options = (
        attribute(_FD, struct.pack("=I", loaded)),
        attribute(_NAME, name.encode() + b"\0"),
        attribute(_FLAGS, struct.pack("=I", _DIRECT)),
    )
    netlink.request_bytes(
        _TCMSG.pack(0, ifindex, _HANDLE, _INGRESS, _FIRST_OF_ALL)
        + attribute(_KIND, b"bpf\0")
        + attribute(_OPTIONS | _NESTED, b"".join(options)),
        _NEWTFILTER,
        NLM_F_CREATE,
    )


def _filters(netlink: NetlinkSocket, ifindex: int, parent: int) -> Iterator[tuple[int, str]]:
    """Give handle and name of each filter there; one that has no handle is the head of others."""
    for message in netlink.dump_bytes(_TCMSG.pack(0, ifindex, 0, parent, 0), _GETTFILTER):
        handle = _TCMSG.unpack_from(message, _HEADER_BYTES)[2]
        found = dict(attributes(message[_HEADER_BYTES + _TCMSG.size :]))
        name = dict(attributes(found.get(_OPTIONS, b""))).get(_NAME, b"")
        if handle:
            yield handle, name.rstrip(b"\0").decode(errors="replace")
