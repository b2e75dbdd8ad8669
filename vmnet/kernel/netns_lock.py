"""One agent at a time in a network namespace, whatever state directory each was given.

The lock is an empty nftables table that belongs to our netlink socket (NFT_TABLE_F_OWNER): only who has
CAP_NET_ADMIN can make one, the kernel refuses a second, and takes it away when we die. A name that is bound beside
it only wakes those who wait: anybody in the pod can take that, and nobody believes it
(docs/decisions/0027-lock-of-the-namespace.md).
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import struct
import time
from typing import TYPE_CHECKING

from vmnet.errors import RefusedError, WaitTimeoutError
from vmnet.show.log import say

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS, _TELL_SECONDS = 60.0, 3.0
"""How long another agent is waited for, and when it is said that we do."""
_NAME = "\0vmnet/agent"
_TABLE = b"vmnet_lock\0"
_WAITERS = 1024
_AT_MOST, _MOMENT = 0.25, 0.01
"""Seconds between two looks: at most, where we are woken; and where nobody wakes us."""
_PEER = struct.Struct("iII")
_NETLINK_NETFILTER = 12
_HEAD, _SUBSYSTEM = struct.Struct("=IHHII"), 10 << 8
"""linux/netlink.h, `struct nlmsghdr`; linux/netfilter/nfnetlink.h, NFNL_SUBSYS_NFTABLES."""
_BEGIN, _END, _NEW, _GET, _DELETE = 16, 17, _SUBSYSTEM, _SUBSYSTEM | 1, _SUBSYSTEM | 2
_REQUEST, _ACK, _EXCLUSIVE = 1, 4, 0x600
"""NLM_F_REQUEST, NLM_F_ACK; NLM_F_CREATE and NLM_F_EXCL."""
_NFTA_NAME, _NFTA_FLAGS, _NFTA_OWNER, _FLAG_OWNER = 1, 2, 7, 2
"""linux/netfilter/nf_tables.h."""
_NFPROTO_INET = 1
_NOBODY = 0
"""What the kernel numbers no netlink port of a process."""
_ANSWER_BYTES = 8192
_TAKEN, _HELD, _NONE = "taken", "held", "none"


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """Hold this namespace; freed when we die.

    Raises:
        WaitTimeoutError: another agent has held it for a minute.
        RefusedError: somebody made a table of that name that belongs to no process, and so is never let go of.
    """
    with contextlib.ExitStack() as held:
        name = held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        netlink = _netlink(held)
        if netlink is None or not _taken(netlink, name):
            _bind_alone(name)
        else:
            held.callback(_let_go, netlink)
        yield


def _netlink(held: contextlib.ExitStack) -> socket.socket | None:
    try:
        netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    except OSError:
        return None
    netlink.settimeout(SECONDS)
    return held.enter_context(netlink)


def _taken(netlink: socket.socket, name: socket.socket) -> bool:
    """Take the table, and wait until it can be had; False where there is no nftables, or no right to it.

    Agents queue for the name, which they take first. Where it is taken and the table is not, no agent has it.
    """
    began, told = time.monotonic(), False
    while True:
        if _is_bound(name) or not (_exists(netlink) or _exists_in_a_moment(netlink)):
            became = _take(netlink)
            if became != _HELD:
                return became == _TAKEN
        if _owner(netlink) == _NOBODY:
            raise RefusedError(
                "the nftables table inet vmnet_lock keeps every vmnet out of this network namespace. It belongs "
                "to no process, so vmnet did not make it: find out who in the pod did, and have it removed there"
            )
        passed = time.monotonic() - began
        if passed >= SECONDS:
            raise WaitTimeoutError(
                f"another vmnet has been working in this network namespace for {SECONDS:.0f} s{_by(netlink)}; try "
                "again when it has finished"
            )
        if passed >= _TELL_SECONDS and not told:
            told = True
            say("info", "waiting", f"waiting for another vmnet in this network namespace{_by(netlink)}")
        _wait_a_moment()


def _is_bound(name: socket.socket) -> bool:
    """Whether the name is ours, now if not before."""
    if name.getsockname():
        return True
    try:
        name.bind(_NAME)
        name.listen(_WAITERS)
    except OSError:
        return False
    return True


def _exists_in_a_moment(netlink: socket.socket) -> bool:
    select.select([], [], [], _MOMENT)  # whoever has the name now is about to make it
    return _exists(netlink)


def _take(netlink: socket.socket) -> str:
    attributes = _attribute(_NFTA_NAME, _TABLE) + _attribute(_NFTA_FLAGS, struct.pack("!I", _FLAG_OWNER))
    try:
        answer = _asked(netlink, _batch(_NEW, _ACK | _EXCLUSIVE, attributes))
    except OSError:
        return _NONE
    code, about = struct.unpack_from("=i", answer, 16)[0], struct.unpack_from("=IH", answer, 20)[1]
    if code == 0:
        return _TAKEN
    # Without CAP_NET_ADMIN the whole batch is refused, and not the table.
    return _HELD if about == _NEW and -code in (errno.EPERM, errno.EEXIST) else _NONE


def _exists(netlink: socket.socket) -> bool:
    """Whether anybody has the table: to look is cheap, and to try in vain is not."""
    return _owner(netlink) is not None


def _by(netlink: socket.socket) -> str:
    """Say who holds it. In another container that number belongs to another process."""
    owner = _owner(netlink)
    return f" (PID {owner}, as its own container counts)" if owner else ""


def _owner(netlink: socket.socket) -> int | None:
    """Return the table's owner, known by its netlink port, as a rule the number of its process.

    _NOBODY where the table has none, None where there is no table.
    """
    answer = _seen(netlink)
    if struct.unpack_from("=H", answer, 4)[0] != _NEW:
        return None
    at, end = _HEAD.size + 4, min(len(answer), struct.unpack_from("=I", answer)[0])
    while at + 4 <= end:
        length, kind = struct.unpack_from("=HH", answer, at)
        if kind == _NFTA_OWNER and length == 8:
            return int(struct.unpack_from("!I", answer, at + 4)[0])
        at += max(4, length + -length % 4)
    return _NOBODY


def _seen(netlink: socket.socket) -> bytes:
    """The kernel's message about the table, or about why there is none."""
    try:
        return _asked(netlink, _message(_GET, 0, _attribute(_NFTA_NAME, _TABLE)))
    except OSError:
        return bytes(_HEAD.size)


def _let_go(netlink: socket.socket) -> None:
    """Take the table away: the kernel would do so when the socket is closed, and take longer."""
    with contextlib.suppress(OSError):
        _asked(netlink, _batch(_DELETE, _ACK, _attribute(_NFTA_NAME, _TABLE)))


def _asked(netlink: socket.socket, request: bytes) -> bytes:
    netlink.send(request)
    return netlink.recv(_ANSWER_BYTES).ljust(_HEAD.size * 2 + 4, b"\0")


def _batch(kind: int, flags: int, attributes: bytes) -> bytes:
    nothing = struct.pack("=BBH", 0, 0, socket.htons(_SUBSYSTEM >> 8))
    limits = [_HEAD.pack(_HEAD.size + len(nothing), edge, _REQUEST, 0, 0) + nothing for edge in (_BEGIN, _END)]
    return _message(kind, flags, attributes).join(limits)


def _message(kind: int, flags: int, attributes: bytes) -> bytes:
    body = struct.pack("=BBH", _NFPROTO_INET, 0, 0) + attributes
    return _HEAD.pack(_HEAD.size + len(body), kind, _REQUEST | flags, 1, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + bytes(-length % 4)


def _wait_a_moment() -> None:
    """Wait until whoever has the name ends, and no longer than a moment."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as waiting:
        waiting.setblocking(False)  # else whoever fills his own queue of callers makes us wait for ever
        try:
            waiting.connect(_NAME)
        except OSError:
            select.select([], [], [], _MOMENT)
            return
        select.select([waiting], [], [], _AT_MOST)


def _bind_alone(name: socket.socket) -> None:
    """Without nftables: wait until the name is free, of root's and our own processes, and a minute at most.

    Somebody without rights can so switch this off; the state directory's lock stands all the same.
    """
    deadline = time.monotonic() + SECONDS
    while not _is_bound(name) and _is_root_s() and time.monotonic() < deadline:
        _wait_a_moment()


def _is_root_s() -> bool:
    """Whether somebody listens at the name who may be an agent: one listens at once."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.setblocking(False)
        try:
            asking.connect(_NAME)
            _, uid, _ = _PEER.unpack(asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        except OSError:
            return False
    return uid in (0, os.geteuid())
