"""Calling a binding's server: asking how it and the guest are, for the frames that it keeps, or that it ends.

A server is found by the name its control socket is bound to, and believed if it is root's or our own.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vmnet.journal import BindingDirectory
    from vmnet.server_report import Frame, ServerReport

SOCKET = "server.sock"
UNSEEN = 0
"""The pid of a process in a process tree that is not ours, as of another container in the pod (unix(7))."""
_ENDING, _CAPTURE = b"\0vmnet/end/", b"\0vmnet/capture/"
"""What a server does whom a socket of such a name calls: it ends, or shows its frames (vmnet.server.loop)."""
_ANSWER_SECONDS = 1.0
_ANSWER_BYTES, _CAPTURED_BYTES = 16384, 1 << 20
_PEER = struct.Struct("iII")
"""`struct ucred`: pid, uid, gid."""


def name(directory: BindingDirectory) -> str:
    """The name of the socket of the binding's server, which belongs to the network namespace (unix(7))."""
    return f"\0vmnet/server/{os.path.basename(directory.path)}"


def path(directory: BindingDirectory) -> str:
    """Where it is too, for other network namespaces and where its name was taken: never too long for AF_UNIX."""
    return f"/proc/self/fd/{directory.descriptor}/{SOCKET}"


@contextlib.contextmanager
def _connected(address: str) -> Iterator[tuple[socket.socket, int, int | None]]:
    """Connect to whoever listens there; give its pid and uid, for which the kernel vouches. No uid: nobody."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(_ANSWER_SECONDS)
        pid, uid = UNSEEN, None
        with contextlib.suppress(OSError):
            asking.connect(address)
            pid, uid, _gid = _PEER.unpack(asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        yield asking, pid, uid


@contextlib.contextmanager
def called(directory: BindingDirectory) -> Iterator[tuple[socket.socket, int] | None]:
    """Connect to the binding's server; None where there is none."""
    for address in (name(directory), path(directory)):
        with _connected(address) as (asking, pid, uid):
            if uid in (0, os.geteuid()):
                yield asking, pid
                return
    yield None


def ask_to_end(directory: BindingDirectory) -> None:
    """Call the server by a name that tells it to end: root's and its starter's call it obeys."""
    with _calling(_ENDING) as asking, contextlib.suppress(OSError):
        for address in (name(directory), path(directory)):
            with contextlib.suppress(ConnectionRefusedError, FileNotFoundError):
                asking.connect(address)
                asking.recv(1)  # nothing is said: it returns when the server has ended
                return


def ask_server(directory: BindingDirectory) -> ServerReport | None:
    """Return what the server says of itself and the guest, or None when none lives or answers in time.

    None, too, for what no server of ours says: a guest may have taken it over.
    """
    with called(directory) as found:
        answer = _heard(found[0], _ANSWER_BYTES) if found else b""
    return _understood(answer)


def ask_servers(directories: Sequence[BindingDirectory]) -> list[ServerReport | None]:
    """Return what each of these servers says of itself, wherever it is; None as `ask_server` has it.

    All are asked at once, so that those that do not answer take the time of one. Only the file is looked for: the
    names in our own network namespace are those of a pod of ours.
    """
    answers = [b""] * len(directories)
    asked: dict[int, tuple[int, socket.socket]] = {}
    poller = select.poll()
    with contextlib.ExitStack() as open_ones:
        for number, directory in enumerate(directories):
            asking = _reached(directory)
            if asking:
                open_ones.enter_context(asking)
                asked[asking.fileno()] = number, asking
                poller.register(asking, select.POLLIN)
        deadline = time.monotonic() + _ANSWER_SECONDS
        while asked and (left := deadline - time.monotonic()) > 0:
            for descriptor, _ in poller.poll(left * 1000):
                number, asking = asked[descriptor]
                part = _part(asking)
                answers[number] += part
                if not part or len(answers[number]) > _ANSWER_BYTES:
                    poller.unregister(descriptor)
                    del asked[descriptor]
    return list(map(_understood, answers))


def _understood(answer: bytes) -> ServerReport | None:
    if not answer:
        return None
    from vmnet.server_report import read_report  # a first `up`, which nobody answers, does without

    return read_report(answer)


def _reached(directory: BindingDirectory) -> socket.socket | None:
    """Connect to the server that listens at the file, without waiting for it; None where it is not root's or ours.

    The file is no link: it would lead whoever owns the directory to sockets that he cannot see himself.
    """
    try:
        door = os.open(SOCKET, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory.descriptor)
    except OSError:
        return None
    try:
        return _owned(f"/proc/self/fd/{door}")
    finally:
        os.close(door)


def _owned(address: str) -> socket.socket | None:
    try:
        asking = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError:
        return None  # too many are open
    try:
        asking.connect(address)
        _, uid, _ = _PEER.unpack(asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    except OSError:
        uid = None
    if uid in (0, os.geteuid()):
        return asking
    asking.close()
    return None


def _part(asking: socket.socket) -> bytes:
    try:
        return asking.recv(_ANSWER_BYTES)
    except OSError:
        return b""


def ask_frames(directory: BindingDirectory) -> list[Frame] | None:
    """Return the frames that the server keeps, the oldest first; None when none answers."""
    from vmnet.server_report import read_frames

    with _calling(_CAPTURE) as asking:
        for address in (name(directory), path(directory)):
            with contextlib.suppress(OSError):
                asking.connect(address)
                _, uid, _ = _PEER.unpack(asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
                if uid in (0, os.geteuid()):
                    return read_frames(_heard(asking, _CAPTURED_BYTES).split(b"\n"))
    return None


@contextlib.contextmanager
def _calling(wish: bytes) -> Iterator[socket.socket]:
    """Give a socket whose name says to the server what is wanted of it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(_ANSWER_SECONDS)
        asking.bind(wish + os.urandom(8))
        yield asking


def _heard(asking: socket.socket, most: int) -> bytes:
    """Return what is said until it hangs up, is silent for too long, or has said too much."""
    deadline = time.monotonic() + _ANSWER_SECONDS
    answer = b""
    with contextlib.suppress(OSError):
        while len(answer) < most and time.monotonic() < deadline:
            part = asking.recv(65536)
            if not part:
                break
            answer += part
    return answer


def is_foreign(directory: BindingDirectory) -> bool:
    """Whether somebody else's process holds the server's name."""
    with _connected(name(directory)) as (_asking, _pid, uid):
        return uid is not None and uid not in (0, os.geteuid())
