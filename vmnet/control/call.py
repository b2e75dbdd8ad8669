"""Calling a binding's server: asking how it and the guest are, for the frames that it keeps, or that it ends.

A server is found by its socket's file in the binding's directory, which is ours alone, and believed. Else by a
name in the network namespace (unix(7)), which anybody in the pod may take, also root without any right: whoever
listens there is believed only where its process is provably a server of ours
(docs/decisions/0026-who-is-believed.md).
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmnet.control.process import is_server
from vmnet.kernel.own_files import named

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vmnet.control.report import Frame, ServerReport
    from vmnet.saved.journal import BindingDirectory

SOCKET, PID = "server.sock", "server.pid"
UNSEEN = 0
"""The pid of a process in a process tree that is not ours, as of another container in the pod (unix(7))."""
NO_HANDLE = -1
ENDING, _CAPTURE, _REPORT = b"\0vmnet/end/", b"\0vmnet/capture/", b""
"""What a server does whom a socket of such a name calls: it ends, or shows its frames (vmnet.server.loop)."""
_ANSWER_SECONDS = 1.0
_ANSWER_BYTES, _CAPTURED_BYTES = 16384, 1 << 20
_PEER = struct.Struct("iII")
"""`struct ucred`: pid, uid, gid."""
_SO_PEERPIDFD = 77
"""asm-generic/socket.h, Linux 6.5: unlike the number in SO_PEERCRED it never becomes another process's."""


@dataclass(frozen=True, slots=True)
class Called:
    """Whoever listens at an address and was called. As a context manager it hangs up."""

    asking: socket.socket
    pid: int
    """UNSEEN, too, where whoever began to listen has ended since."""
    handle: int
    """A pidfd; NO_HANDLE where the kernel gives none."""
    by_name: bool

    def __enter__(self) -> Called:
        return self

    def __exit__(self, *_: object) -> None:
        self.asking.close()
        if self.handle != NO_HANDLE:
            os.close(self.handle)


def name(directory: BindingDirectory) -> str:
    """The name of the socket of the binding's server, which belongs to the network namespace (unix(7))."""
    return f"\0vmnet/server/{os.path.basename(directory.path)}"


def path(directory: BindingDirectory) -> str:
    """Where its file is to be: never too long for AF_UNIX. Who calls goes through `_door`."""
    return f"/proc/self/fd/{directory.descriptor}/{SOCKET}"


def call(directory: BindingDirectory, *, by_name: bool, wish: bytes = _REPORT) -> Called | None:
    """Call the binding's server by its name or by its file; None where there is none to be believed."""
    if not by_name:
        with _door(directory) as address:
            return reached(address, wish, by_name=False) if address else None
    called = reached(name(directory), wish, by_name=True)
    if called and not is_a_server_of_ours(called, directory):
        with called:
            return None
    return called


@contextlib.contextmanager
def _door(directory: BindingDirectory) -> Iterator[str]:
    """The address of the socket's file itself; empty where there is none."""
    try:
        door = named(SOCKET, directory.descriptor)
    except OSError:
        yield ""
        return
    try:
        yield f"/proc/self/fd/{door}"
    finally:
        os.close(door)


def reached(address: str, wish: bytes, *, by_name: bool) -> Called | None:
    """Connect to whoever listens there, if it is root's or our own."""
    asking = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        asking.settimeout(_ANSWER_SECONDS)
        if wish:
            asking.bind(wish + os.urandom(8))
        asking.connect(address)
        pid, uid, _gid = _PEER.unpack(asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    except OSError:
        asking.close()
        return None
    if uid not in (0, os.geteuid()):
        asking.close()
        return None
    try:
        handle = _peer_handle(asking)
    except ProcessLookupError:
        return Called(asking, UNSEEN, NO_HANDLE, by_name)
    return Called(asking, UNSEEN if handle != NO_HANDLE and has_ended(handle) else pid, handle, by_name)


def _peer_handle(asking: socket.socket) -> int:
    """Return a pidfd of whoever began to listen; NO_HANDLE where the kernel has no such.

    Raises:
        ProcessLookupError: that one has ended. Some kernels give a pidfd all the same.
    """
    try:
        return asking.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    except OSError as error:
        if error.errno == errno.ENOPROTOOPT:
            return NO_HANDLE
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH)) from error


def has_ended(handle: int, seconds: float = 0.0) -> bool:
    """Whether that process has ended, or does within so many seconds."""
    return bool(select.select([handle], [], [], seconds)[0])


def is_a_server_of_ours(called: Called, directory: BindingDirectory) -> bool:
    """Whether it is the process that is written down, or a server which shares our files.

    The latter could only be made by who can write to our state directory anyway. Root in another container of the
    pod can neither have our root directory, nor the pid and start time of another process.
    """
    if called.pid == UNSEEN:
        return False
    if is_recorded(directory, called.pid):
        return True
    try:
        alike = is_server(called.pid) and os.path.samestat(os.stat(f"/proc/{called.pid}/root"), os.stat("/"))
    except OSError:
        return False
    # While the handle's process lives, what was read is of that one.
    return alike and called.handle != NO_HANDLE and not has_ended(called.handle)


def recorded(directory: BindingDirectory) -> tuple[int, bytes] | None:
    """Return the pid and the start time of the server that is written down."""
    words = (directory.read(PID) or b"").split()
    if len(words) != 2 or not (words[0].isdigit() and len(words[0]) < 10):
        return None
    return int(words[0]), words[1]


def is_recorded(directory: BindingDirectory, pid: int) -> bool:
    """Whether that living process is the one that is written down, and a server.

    In a pod's volume any process of the node can be written down.
    """
    return recorded(directory) == (pid, start_time(pid)) and is_server(pid)


def start_time(pid: int) -> bytes | None:
    """Return when the process began, in clock ticks since boot: with the pid it names a process for good."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    state, began = fields[0], fields[19]
    return None if state in (b"Z", b"X") else began


@contextlib.contextmanager
def called(directory: BindingDirectory, wish: bytes = _REPORT) -> Iterator[Called | None]:
    """Call the binding's server; None where there is none."""
    found = call(directory, by_name=False, wish=wish) or call(directory, by_name=True, wish=wish)
    if found is None:
        yield None
        return
    with found:
        yield found


def ask_server(directory: BindingDirectory) -> ServerReport | None:
    """Return what the server says of itself and the guest, or None when none lives or answers in time.

    None, too, for what no server of ours says: a guest may have taken it over.
    """
    with called(directory) as found:
        answer = _heard(found.asking, _ANSWER_BYTES) if found else b""
    return understood(answer)


def answers_of(directories: Sequence[BindingDirectory]) -> list[bytes]:
    """Return what each of these servers says, wherever it is, for `understood`; nothing where none answers.

    All are asked at once, so that those that do not answer take the time of one. Only the file is looked for: the
    names in our own network namespace are those of a pod of ours.
    """
    answers = [b""] * len(directories)
    asked: dict[int, tuple[int, socket.socket]] = {}
    poller = select.poll()
    with contextlib.ExitStack() as open_ones:
        for number, directory in enumerate(directories):
            asking = _without_waiting(directory)
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
    return answers


def understood(answer: bytes) -> ServerReport | None:
    """Return the report that an answer is; None as `ask_server` has it."""
    if not answer:
        return None
    from vmnet.control.report import read_report  # a first `up`, which nobody answers, does without

    return read_report(answer)


def _without_waiting(directory: BindingDirectory) -> socket.socket | None:
    """Connect to the server at the file, without waiting for it; None where it is not root's or ours."""
    with _door(directory) as address:
        return _owned(address) if address else None


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
    from vmnet.control.report import read_frames

    with called(directory, _CAPTURE) as found:
        return read_frames(_heard(found.asking, _CAPTURED_BYTES).split(b"\n")) if found else None


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
