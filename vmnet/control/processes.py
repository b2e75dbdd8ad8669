"""The two processes that stay or work beside the agent: the DHCP server and the compiler of its replies.

Both are started with posix_spawn and told by descriptor numbers what is theirs; nothing else is inherited.

A server is found by its socket, and believed, as vmnet.control.call has it: also when whoever started it died
before the pid was written down. No process is signalled that is not provably a server of ours.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import vmnet
from vmnet.control.call import (
    ENDING,
    NO_HANDLE,
    PID,
    SOCKET,
    UNSEEN,
    Called,
    call,
    called,
    has_ended,
    is_a_server_of_ours,
    is_recorded,
    name,
    path,
    reached,
    recorded,
    start_time,
)
from vmnet.control.process import is_server
from vmnet.errors import KernelError, RefusedError, UnexpectedError
from vmnet.kernel.own_files import own_file
from vmnet.kernel.tap import is_attached
from vmnet.model.bounded_json import parse
from vmnet.model.codec import encode
from vmnet.server import lease_state
from vmnet.server.log import LARGEST_LOG

if TYPE_CHECKING:
    from vmnet.control.packet_socket import PacketSockets
    from vmnet.control.report import ServerReport
    from vmnet.model.lease import Leases
    from vmnet.model.settings import Settings
    from vmnet.saved.journal import BindingDirectory

LOG = "server.log"
_PACKAGE_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(vmnet.__file__)))
_ENTER = "import sys; sys.path.append(sys.argv.pop(1)); from {0} import main; main()"
READY_SECONDS = 10.0
_STOP_SECONDS = 2.0
_WAITERS = 8
_REMEMBERED_BYTES = 65536
"""How far back the log is searched: 400 lines and more."""
LARGEST_LINE = 4096
"""Of the log, in octets: the server writes no longer ones."""


@dataclass(frozen=True, slots=True)
class Compiler:
    """The process that compiles the replies, and the descriptor from which the server reads them."""

    pid: int
    replies: int


def start_compiler(leases: Leases, log: int) -> Compiler:
    """Start compiling the replies in a process beside us."""
    question = os.memfd_create("leases", os.MFD_CLOEXEC)
    os.write(question, encode(leases).encode())
    os.lseek(question, 0, os.SEEK_SET)
    read_end, write_end = os.pipe()
    try:
        pid = _spawn(["-I", "-c", _ENTER.format("vmnet.compile.process"), _PACKAGE_ROOT], question, write_end, log)
    finally:
        os.close(question)
        os.close(write_end)
    return Compiler(pid, read_end)


def start_server(
    directory: BindingDirectory, packets: PacketSockets, replies: int, log: int, settings: Settings
) -> int:
    """Start the server on open packet sockets, in a session of its own; takes `replies` over.

    Returns a descriptor that becomes readable when it is about to serve, or has died.
    """
    controls = control_sockets(directory)
    read_end, write_end = os.pipe()
    try:
        null = os.open(os.devnull, os.O_RDWR)
        arguments = server_arguments(directory, packets, (controls, replies, write_end), settings)
        pid = _spawn(arguments, null, log, log)
        os.close(null)
        _remember(directory, pid)
    finally:
        for control in controls:
            control.close()
        os.close(write_end)
        os.close(replies)
    return read_end


def server_arguments(
    directory: BindingDirectory,
    packets: PacketSockets,
    others: tuple[tuple[socket.socket, ...], int, int],
    settings: Settings,
) -> list[str]:
    """Return the interpreter's arguments: as vmnet.server.loop names them; makes the descriptors inheritable.

    `others` are control sockets, replies and READY.
    """
    controls = [control.fileno() for control in others[0]]
    for descriptor in (*packets.descriptors(), *controls, *others[1:]):
        os.set_inheritable(descriptor, True)
    descriptors = (",".join(map(str, controls)), *map(str, others[1:]))
    # Nobody holds the tap: whoever opens it is another guest than the one that the log tells of.
    before = leases_before(directory) if is_attached(settings.tap) else lease_state.SILENT
    words = (*packets.arguments(), *descriptors, before, _sandbox(settings))
    return ["-I", "-S", "-c", _ENTER.format("vmnet.server.loop"), _PACKAGE_ROOT, *words]


def _sandbox(settings: Settings) -> str:
    """Return what vmnet.server.sandbox is told."""
    if not settings.sandbox or settings.server_user is None:
        return "on" if settings.sandbox else "off"
    return f"{settings.server_user}:{settings.server_group}"


def become_server(directory: BindingDirectory, packets: PacketSockets, replies: int, settings: Settings) -> None:
    """Turn this process into the server, in the foreground: the pid stays, stderr stays.

    Raises:
        OSError: the interpreter cannot be run.
    """
    controls = control_sockets(directory)
    read_end, write_end = os.pipe()
    os.set_inheritable(read_end, True)
    _remember(directory, os.getpid())
    arguments = server_arguments(directory, packets, (controls, replies, write_end), settings)
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 # no shell is the point


def open_log(directory: BindingDirectory) -> int:
    """Open the server's log for appending, or nothing where the disk is full: the guest wants its lease anyway.

    One that a server has written half full begins anew, so that the next has room.
    """
    with contextlib.suppress(OSError, RefusedError):
        log = directory.open_to_append(LOG)
        if os.fstat(log).st_size > LARGEST_LOG // 2:
            os.ftruncate(log, 0)
        return log
    return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)


def control_sockets(directory: BindingDirectory) -> tuple[socket.socket, ...]:
    """Return the sockets at which the next server will be found; a server that there is, is ended.

    The file comes first: it is ours alone. By the name the server is found with another state directory, too.
    Where somebody else's process has taken that, there is nothing but the file; where the disk is full, only the
    name. Both listen already, so that nobody is waited for who only holds the name. The server itself calls
    listen(2) again, which puts its pid on them.

    Raises:
        OSError: there would be neither.
    """
    stop_server(directory)
    try:
        filed = _bound_to_file(directory)
    except OSError:
        named = _bound_to_name(directory)
        if named is None:
            raise
        return (named,)
    named = _bound_to_name(directory)
    return (filed, named) if named else (filed,)


def _bound_to_file(directory: BindingDirectory) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(SOCKET, dir_fd=directory.descriptor)
    return _listening(path(directory))  # through the descriptor, so never too long for AF_UNIX


def _bound_to_name(directory: BindingDirectory) -> socket.socket | None:
    """Return a socket of the server's name; None where another process has it."""
    try:
        return _listening(name(directory))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return None


def _listening(address: str) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(listening.fileno(), 0o600)  # bind gives its file this mode: later the name may lead elsewhere
        listening.bind(address)
        listening.listen(_WAITERS)
    except OSError:
        listening.close()
        raise
    return listening


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


def leases_before(directory: BindingDirectory) -> str:
    """Return how the guest stood when the last server ended, of IPv4 and of IPv6, as its log has it.

    Without that a guest that has its lease would look as if it had never asked, until it renews.
    """
    states = {"ipv4": lease_state.SILENT, "ipv6": lease_state.SILENT}
    for line in log_lines(directory, _REMEMBERED_BYTES):
        with contextlib.suppress(ValueError):
            said = parse(line.encode(), LARGEST_LINE)
            family, state = (said.get("family"), said.get("lease")) if isinstance(said, dict) else ("", "")
            # A guest may have taken the server over that wrote this: a value is of any type.
            if isinstance(family, str) and family in states and state in lease_state.SPOKEN:
                states[family] = state
    return "/".join(states.values())


def log_lines(directory: BindingDirectory, octets: int) -> list[str]:
    """Return the last lines of the server's log; none where it cannot be read, or is not a file of ours."""
    with contextlib.suppress(OSError, RefusedError), directory.open(LOG, os.O_RDONLY) as log:
        at = max(0, os.fstat(log).st_size - octets)
        return os.pread(log, octets, at).decode(errors="replace").splitlines()
    return []


def watch_log(directory: BindingDirectory) -> int:
    """Return a descriptor that becomes readable when the server says something.

    Raises:
        NotOursError: it is not a plain file of ours.
        OSError: there is no log, or no watch is left.
    """
    from vmnet.kernel.inotify import watch_file  # it loads ctypes, which `up` does without

    log = own_file(LOG, os.O_RDONLY, directory.descriptor)
    try:
        return watch_file(f"/proc/self/fd/{log}")  # the file that was looked at, whatever has its name by now
    finally:
        os.close(log)


def last_words(directory: BindingDirectory) -> str:
    """Return the last line of the server's log."""
    return next(reversed(log_lines(directory, 4096)), "its log is empty")


def server_pid(directory: BindingDirectory) -> int | None:
    """Return the pid of the binding's living server, or None; UNSEEN where it is another container's."""
    with called(directory) as found:
        if found:
            return found.pid
    written = recorded(directory)  # it may be too busy to be connected to
    return written[0] if written and is_recorded(directory, written[0]) else None


def record(directory: BindingDirectory) -> None:
    """Write down the server's pid in this state directory, where another one was lost or is not the only one."""
    pid = server_pid(directory)
    if pid and is_server(pid) and not is_recorded(directory, pid):
        _remember(directory, pid)


def trouble(directory: BindingDirectory, said: ServerReport | None) -> str:
    """Say why the server that says this does not serve; empty when it does, or is about to."""
    if said is None:
        return f"it does not answer; last line of its log: {last_words(directory)}"
    return (said.reason or "it says that it has failed") if said.failed else ""


def stop_server(directory: BindingDirectory) -> None:
    """End the binding's server, if it lives or is about to, and wait until it has.

    Raises:
        KernelError: we may not signal it, and it does not do as it is asked.
    """
    for by_name in (False, True):
        found = call(directory, by_name=by_name, wish=ENDING)
        if found:
            with found:
                _end(found, directory)
    written = recorded(directory)  # one whose sockets are gone, or that is too busy to be connected to
    if written and is_recorded(directory, written[0]):
        _end_recorded(written[0], directory)


def end_if_idle(directory: BindingDirectory) -> None:
    """Ask whoever holds the server's name to end, without believing it: a server does whose tap is gone.

    Such a one is of another container of the pod, or of a state directory that was lost.
    """
    found = reached(name(directory), ENDING, by_name=True)
    if found:
        with found:
            _await_hanging_up(found, _STOP_SECONDS)


def _end(found: Called, directory: BindingDirectory) -> None:
    """End a server that was told to by the call. Wait until it has, and signal it where it has not.

    A process that is no server began to listen for one that starts just now: an agent, perhaps ourselves.
    """
    handle = NO_HANDLE
    if found.pid != UNSEEN and is_a_server_of_ours(found, directory):
        handle = os.dup(found.handle) if found.handle != NO_HANDLE else _opened(found.pid, directory)
    if handle == NO_HANDLE and (written := recorded(directory)) and is_recorded(directory, written[0]):
        return  # that one is signalled
    if handle == NO_HANDLE:
        # One whose starter has died before it listened itself is about to start, and hears us then.
        _await_hanging_up(found, _STOP_SECONDS if found.handle == NO_HANDLE else READY_SECONDS)
        return
    try:
        if found.by_name:  # called so it goes on serving: anybody in the pod could do that
            _signal(handle, found.pid, signal.SIGTERM, signal.SIGKILL)
        elif not has_ended(handle, _STOP_SECONDS):
            _signal(handle, found.pid, signal.SIGKILL)
    finally:
        os.close(handle)
    _forget(found.pid)


def _end_recorded(pid: int, directory: BindingDirectory) -> None:
    handle = _opened(pid, directory)
    if handle != NO_HANDLE:
        try:
            _signal(handle, pid, signal.SIGTERM, signal.SIGKILL)
        finally:
            os.close(handle)
        _forget(pid)


def _await_hanging_up(found: Called, seconds: float) -> None:
    """Wait for the end of a server that we cannot see, at most so long: its end of the connection goes with it."""
    deadline = time.monotonic() + seconds
    with contextlib.suppress(OSError):
        while (left := deadline - time.monotonic()) > 0:
            found.asking.settimeout(left)
            if not found.asking.recv(4096):
                return


def _opened(pid: int, directory: BindingDirectory) -> int:
    """Return a pidfd of the recorded process; NO_HANDLE where it has ended."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return NO_HANDLE
    # Before we had the handle the pid may have gone to somebody else.
    if is_recorded(directory, pid):
        return handle
    os.close(handle)
    return NO_HANDLE


def _signal(handle: int, pid: int, *numbers: int) -> None:
    """End the process by these signals, one after the other.

    Raises:
        KernelError: we may not.
    """
    try:
        for number in numbers:
            signal.pidfd_send_signal(handle, number)
            if has_ended(handle, _STOP_SECONDS):
                return
    except ProcessLookupError:
        return
    except PermissionError as error:  # it became somebody else, whom root may signal with CAP_KILL only
        if not has_ended(handle, _STOP_SECONDS):
            raise KernelError(errno.EPERM, f"end the DHCP server, process {pid}", "CAP_KILL") from error


def _forget(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _spawn(arguments: list[str], stdin: int, stdout: int, stderr: int) -> int:
    moves = [(os.POSIX_SPAWN_DUP2, descriptor, place) for place, descriptor in enumerate((stdin, stdout, stderr))]
    return os.posix_spawn(
        sys.executable, [sys.executable, *arguments], {"LC_ALL": "C.UTF-8"}, file_actions=moves, setsid=True
    )


def _remember(directory: BindingDirectory, pid: int) -> None:
    """Write the pid down for people and for `vmnet run`; where that fails, the server is found by its name."""
    with contextlib.suppress(OSError):
        directory.write(PID, b"%d %s\n" % (pid, start_time(pid) or b"0"))
