"""The two processes that stay or work beside the agent: the DHCP server and the compiler of its replies.

Both are started with posix_spawn and told by descriptor numbers what is theirs; nothing else is inherited.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import vmnet
from vmnet.codec import encode
from vmnet.errors import UnexpectedError

if TYPE_CHECKING:
    from vmnet.journal import BindingDirectory
    from vmnet.model import Lease

_FAILED = "failed"
"""The state of a server that has no replies to send (vmnet.dhcp.service)."""
LOG, SOCKET, PID = "server.log", "server.sock", "server.pid"
_PACKAGE_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(vmnet.__file__)))
_ENTER = "import sys; sys.path.append(sys.argv.pop(1)); from vmnet.dhcp.{0} import main; main()"
READY_SECONDS = 10.0
_STOP_SECONDS = 2.0
_ANSWER_SECONDS = 1.0
_ANSWER_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Compiler:
    """The process that compiles the replies, and the descriptor from which the server reads them."""

    pid: int
    replies: int


def start_compiler(lease: Lease, log: int) -> Compiler:
    """Start compiling the replies in a process beside us."""
    question = os.memfd_create("lease", os.MFD_CLOEXEC)
    os.write(question, encode(lease).encode())
    os.lseek(question, 0, os.SEEK_SET)
    read_end, write_end = os.pipe()
    try:
        pid = _spawn(["-I", "-c", _ENTER.format("compile"), _PACKAGE_ROOT], question, write_end, log)
    finally:
        os.close(question)
        os.close(write_end)
    return Compiler(pid, read_end)


def start_server(directory: BindingDirectory, packets: socket.socket, replies: int, log: int) -> int:
    """Start the server on an open packet socket, in a session of its own; takes `replies` over.

    Returns a descriptor that becomes readable when it is about to serve, or has died.
    """
    control = control_socket(directory)
    read_end, write_end = os.pipe()
    try:
        null = os.open(os.devnull, os.O_RDWR)
        arguments = server_arguments(packets.fileno(), control.fileno(), replies, write_end)
        pid = _spawn(arguments, null, log, log)
        os.close(null)
        _remember(directory, pid)
    finally:
        control.close()
        os.close(write_end)
        os.close(replies)
    return read_end


def server_arguments(packets: int, control: int, replies: int, ready: int) -> list[str]:
    """Return the interpreter's arguments; makes the descriptors inheritable."""
    descriptors = (packets, control, replies, ready)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, True)
    return ["-I", "-S", "-c", _ENTER.format("server"), _PACKAGE_ROOT, *map(str, descriptors)]


def become_server(directory: BindingDirectory, packets: socket.socket, replies: int) -> None:
    """Turn this process into the server, in the foreground: the pid stays, stderr stays.

    Raises:
        OSError: the interpreter cannot be run.
    """
    control = control_socket(directory)
    read_end, write_end = os.pipe()
    os.set_inheritable(read_end, True)
    _remember(directory, os.getpid())
    arguments = server_arguments(packets.fileno(), control.fileno(), replies, write_end)
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 # no shell is the point


def open_log(directory: BindingDirectory) -> int:
    """Open the server's log for appending."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(LOG, flags, mode=0o600, dir_fd=directory.descriptor)


def control_socket(directory: BindingDirectory) -> socket.socket:
    """Return a listening socket in the directory; a path through the descriptor is never too long for AF_UNIX."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(SOCKET, dir_fd=directory.descriptor)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    control.bind(f"/proc/self/fd/{directory.descriptor}/{SOCKET}")
    os.chmod(SOCKET, 0o600, dir_fd=directory.descriptor)
    control.listen(8)
    return control


def await_ready(ready: int, directory: BindingDirectory) -> None:
    """Wait until the server is about to serve.

    Raises:
        UnexpectedError: it died or stayed silent; with its last words.
    """
    readable, _, _ = select.select([ready], [], [], READY_SECONDS)
    if not readable or not os.read(ready, 1):
        raise UnexpectedError(f"the DHCP server did not start: {last_words(directory)}")


def failed(pid: int) -> bool:
    """Whether our child `pid` has already ended badly. Asked once it has, the kernel forgets it."""
    with contextlib.suppress(ChildProcessError):
        ended, status = os.waitpid(pid, os.WNOHANG)
        return ended == pid and status != 0
    return False


def last_words(directory: BindingDirectory) -> str:
    """Return the last line of the server's log."""
    with contextlib.suppress(OSError), directory.open(LOG, os.O_RDONLY) as log:
        size = os.fstat(log).st_size
        lines = os.pread(log, 4096, max(0, size - 4096)).decode(errors="replace").splitlines()
        if lines:
            return lines[-1]
    return "it left no word"


def server_pid(directory: BindingDirectory) -> int | None:
    """Return the pid of the binding's living server, or None."""
    recorded = (directory.read(PID) or b"").split()
    if len(recorded) == 2 and recorded[0].isdigit() and _start_time(int(recorded[0])) == recorded[1]:
        return int(recorded[0])
    return None


def trouble(directory: BindingDirectory, answer: bytes | None) -> str:
    """Say why the server that gave this answer does not serve; empty when it does, or is about to."""
    if answer is None:
        return f"it does not answer; its last word was: {last_words(directory)}"
    said = json.loads(answer)
    return str(said["reason"]) if said["state"] == _FAILED else ""


def stop_server(directory: BindingDirectory) -> None:
    """End the binding's server, if it lives, and wait until it has."""
    pid = server_pid(directory)
    if pid is None:
        return
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            # Between the record and the handle the pid may have gone to somebody else.
            if server_pid(directory) != pid:
                return
            for number in (signal.SIGTERM, signal.SIGKILL):
                signal.pidfd_send_signal(handle, number)
                if select.select([handle], [], [], _STOP_SECONDS)[0]:
                    break
        finally:
            os.close(handle)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def ask_server(directory: BindingDirectory) -> bytes | None:
    """Return what the server says of itself (one JSON object), or None when none lives or answers in time."""
    if server_pid(directory) is None:
        return None
    deadline = time.monotonic() + _ANSWER_SECONDS
    answer = b""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking, contextlib.suppress(OSError):
        asking.settimeout(_ANSWER_SECONDS)
        asking.connect(f"/proc/self/fd/{directory.descriptor}/{SOCKET}")
        while len(answer) < _ANSWER_BYTES and time.monotonic() < deadline:
            part = asking.recv(_ANSWER_BYTES)
            if not part:
                break
            answer += part
    return answer or None


def _spawn(arguments: list[str], stdin: int, stdout: int, stderr: int) -> int:
    moves = [(os.POSIX_SPAWN_DUP2, descriptor, place) for place, descriptor in enumerate((stdin, stdout, stderr))]
    return os.posix_spawn(
        sys.executable, [sys.executable, *arguments], {"LC_ALL": "C.UTF-8"}, file_actions=moves, setsid=True
    )


def _remember(directory: BindingDirectory, pid: int) -> None:
    directory.write(PID, b"%d %s\n" % (pid, _start_time(pid) or b"0"))


def _start_time(pid: int) -> bytes | None:
    """Return when the process began, in clock ticks since boot: with the pid it names a process for good."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    state, began = fields[0], fields[19]
    return None if state in (b"Z", b"X") else began
