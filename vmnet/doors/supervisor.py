"""The resident process of `vmnet run`: one command, one DHCP server, their signals, their ends.

It is started in place of `vmnet run` as `python -I -S -c … ROOT PATH KEEP DIRECTORY [COMMAND …]` once the binding
is up, with every signal blocked so that none is lost in between. DIRECTORY is a descriptor of the binding's
directory, of that PATH, which is locked. It may be process 1. Like the server it stays beside every VM, so it does
without whatever costs memory: dataclasses, typing, enum, json, subprocess, and `signal` and `socket`, which import
some of these. What takes more than that, `vmnet up` and `vmnet down`, runs as a child.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # `signal` wraps it; typeshed does not
import os
import select
import sys
import time

from vmnet.control.process import is_server
from vmnet.kernel.own_files import own_directory, read_own
from vmnet.server.json_text import dumps
from vmnet.show.sd_notify import VARIABLE as NOTIFY_SOCKET
from vmnet.show.sd_notify import notify
from vmnet.show.termination import VARIABLE as LAST_WORD
from vmnet.show.termination import leave

NOT_FOUND, NOT_EXECUTABLE, BY_SIGNAL = 127, 126, 128
"""Exit codes as shells give them."""
_VERB = "import sys; sys.path.append(sys.argv.pop(1)); from vmnet.cli.main import main; sys.exit(main())"
_ENDING = (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP, _signal.SIGQUIT)
"""What ends us where there is no command to forward it to."""
_OURS = (_signal.SIGKILL, _signal.SIGSTOP, _signal.SIGCHLD, _signal.SIGPIPE, _signal.SIGXFSZ)
"""Not to be caught, about our own children, or about our own writes."""
_FAULTS = (_signal.SIGSEGV, _signal.SIGBUS, _signal.SIGFPE, _signal.SIGILL, _signal.SIGTRAP, _signal.SIGSYS)
"""They tell of a fault in this very process: caught, they would come again at once."""
_TERMINAL = (_signal.SIGTTIN, _signal.SIGTTOU)
"""They would stop us for touching the terminal that we lent to the command."""
_QUICK_DEATH_SECONDS = 10.0
_QUICK_DEATHS = 3
_LONGEST_WAIT_SECONDS = 30.0
_GIVE_BACK_SECONDS = 8.0
"""How long a `vmnet down` that cannot be run is tried again; kubelet leaves few of its 30."""
_LEFT_UP = 5
"""The exit code of `errors.RollbackIncompleteError`."""
_LOOK_SECONDS = 30.0
"""Between two looks whether the server was stopped, which the kernel tells its parent alone."""


class Supervisor:
    """The loop over the wakeup pipe and the server's pidfd."""

    def __init__(self, binding: Binding, command: list[str], wakeup: int) -> None:
        self._binding = binding
        self._command = command
        self._wakeup = wakeup
        self._poller = select.poll()
        self._poller.register(wakeup, select.POLLIN)
        self._server = -1
        self._stopped_server = False
        self._since = 0.0
        self._deaths = 0
        self._due: float | None = None
        self._pid = self._verb = 0
        self._terminal = False
        self._code: int | None = None
        self._told_to_end = False

    def run(self) -> int:
        """Start the command, keep the server alive until the command ends, give the pod back.

        Returns the exit code: the command's, or that of the `vmnet down` that failed after a command that did not.
        """
        self._find_server()
        if self._command:
            self._start()
        if self._code is None:
            notify("READY=1", f"STATUS={self._binding.ifname} is handed over; running")
        while self._code is None:
            self._turn()
        notify("STOPPING=1", f"STATUS=giving {self._binding.ifname} back")
        failed = self._give_back()
        return self._code or failed

    def _turn(self) -> None:
        for descriptor, _ in self._poller.poll(self._patience()):
            if descriptor == self._wakeup:
                self._take_signals()
            else:
                self._server_ended()
        if self._due is not None and self._due <= time.monotonic():
            self._due = None
            self._revive()
        self._end_stopped_server()

    def _patience(self) -> float | None:
        """How many milliseconds may be waited; None for ever."""
        if self._due is not None:
            return max(0.0, self._due - time.monotonic()) * 1000
        return _LOOK_SECONDS * 1000 if self._server >= 0 else None

    def _end_stopped_server(self) -> None:
        """End a server that somebody has stopped: it answers no guest, and its end is seen to."""
        if self._server < 0 or self._stopped_server or not _is_stopped(self._server):
            return
        self._stopped_server = True
        try:
            _signal.pidfd_send_signal(self._server, _signal.SIGKILL)
        except OSError as error:
            say(
                "error",
                "server-stopped",
                f"the DHCP server is suspended (SIGSTOP) and cannot be killed: {error.strerror}; send it SIGCONT",
            )
        else:
            say(
                "warning",
                "server-stopped",
                "the DHCP server was suspended (SIGSTOP): killing it and starting another",
            )

    def _start(self) -> None:
        """Start the command in a process group of its own, which gets the terminal where we have it."""
        environment = {name: value for name, value in os.environ.items() if name != NOTIFY_SOCKET}
        defaults = (_signal.SIGPIPE, _signal.SIGXFSZ, *_TERMINAL)
        try:
            self._pid = os.posix_spawnp(
                self._command[0], self._command, environment, setpgroup=0, setsigmask=(), setsigdef=defaults
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            say("error", "command", f"cannot run {self._command[0]!r}: {reason}")
            leave(f"cannot run {self._command[0]!r}: {reason}")
            self._code = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
            return
        self._terminal = _has_terminal()
        if self._terminal:
            self._lend_terminal()

    def _lend_terminal(self) -> None:
        """Let the command read the terminal; it goes on if it already tried and was stopped for it."""
        try:
            os.tcsetpgrp(0, self._pid)
        except OSError:
            return  # the terminal is gone, or the command already is
        self._forward(_signal.SIGCONT)

    def _take_signals(self) -> None:
        for number in os.read(self._wakeup, 4096):
            if number == _signal.SIGCHLD:
                self._reap()
                continue
            self._told_to_end = self._told_to_end or number in _ENDING
            if self._pid:
                self._forward(number)
            elif number in _ENDING and self._code is None:
                self._code = 0

    def _forward(self, number: int) -> None:
        try:
            os.kill(self._pid, number)
        except OSError:
            return  # it changed its uid, and we may not

    def _reap(self) -> None:
        """Take note of every child that ended, also of those that were not ours to begin with."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return
            if not pid:
                return
            if os.WIFSTOPPED(status):
                self._stopped(pid)
            elif pid == self._pid:
                self._pid, self._code = 0, exit_code(status)
            elif pid == self._verb:
                self._verb = 0
                self._revived(exit_code(status))

    def _stopped(self, pid: int) -> None:
        """Ctrl-Z on the terminal reaches the command alone: give the shell its turn, then go on together."""
        if pid != self._pid or not self._terminal:
            return
        try:
            os.tcsetpgrp(0, os.getpgrp())
        except OSError:
            self._terminal = False  # it has hung up: no shell has a turn
            return
        os.kill(os.getpid(), _signal.SIGSTOP)
        self._lend_terminal()

    def _find_server(self) -> None:
        """Watch the server that the binding's record names; another one is due where it lives no more."""
        self._since = time.monotonic()  # one that is dead by now has died quickly
        self._server = self._binding.open_server()
        if self._server < 0:
            self._server_ended()
            return
        self._stopped_server = False
        self._poller.register(self._server, select.POLLIN)

    def _server_ended(self) -> None:
        if self._server >= 0:
            self._poller.unregister(self._server)
            os.close(self._server)
            self._server = -1
        quick = time.monotonic() - self._since < _QUICK_DEATH_SECONDS
        self._deaths = self._deaths + 1 if quick else 1
        self._try_again("the DHCP server has ended")

    def _try_again(self, why: str) -> None:
        wait = wait_seconds(self._deaths)
        self._due = time.monotonic() + wait
        when = f"in {wait:.0f} s" if wait else "now"
        say("warning", "server-ended", f"{why}: starting another {when}")

    def _revive(self) -> None:
        try:
            self._verb = self._binding.start("up", "--resume")
        except OSError as error:  # as where the pod has as many processes as it may
            self._deaths += 1
            self._try_again(f"`vmnet up` cannot be run: {error.strerror}")

    def _revived(self, code: int) -> None:
        """`vmnet up --resume` has ended with this code."""
        if code == 0 and not self._binding.is_anothers():
            self._find_server()
        elif self._binding.begun():
            self._deaths += 1
            self._try_again(f"`vmnet up` failed with exit code {code}")
        else:
            # Somebody ran `vmnet down`, and means it; there may be another `vmnet run` by now.
            say(
                "warning",
                "taken-down",
                f"`vmnet down` has given {self._binding.ifname} back: not bringing it up again",
            )
            self._binding.keep = True
            if not self._pid:
                self._code = 0

    def _give_back(self) -> int:
        if self._binding.keep or self._binding.is_anothers():
            return 0
        self._verb = 0  # how that ends is no question any more
        deadline = time.monotonic() + _GIVE_BACK_SECONDS
        while True:
            # A program that COMMAND has left behind keeps its network, unless all of us were told to end.
            flags = ("--force",) if self._told_to_end else ()
            try:
                pid = self._binding.start("down", *flags)
            except OSError as error:
                if time.monotonic() >= deadline:
                    return self._left_up(error.strerror)
                self._await_room()
            else:
                return exit_code(os.waitpid(pid, 0)[1])

    def _await_room(self) -> None:
        """Wait a second, or until a process of ours has ended: that makes room for another."""
        if select.select([self._wakeup], [], [], 1.0)[0]:
            self._take_signals()

    def _left_up(self, why: str | None) -> int:
        """Say that the pod could not be given back. Returns the exit code."""
        message = f"`vmnet down` cannot be run: {why}; the pod is still handed over, run {self._binding.remedy()}"
        say("error", "left-up", message)
        leave(message)
        return _LEFT_UP


class Binding:
    """The binding we keep alive, and the verbs that act on it."""

    def __init__(self, root: str, path: str, keep: bool, directory: int) -> None:
        self._root = root
        self._path = path
        self._directory = directory
        self._anothers = False
        namespace, self.ifname = os.path.split(path)
        self._state_dir = os.path.dirname(namespace)
        self.keep = keep

    def begun(self) -> bool:
        """Whether the facts are still there, and so something to come back to."""
        return has_journal(self._held())

    def is_anothers(self) -> bool:
        """Whether it was taken down, and another `vmnet run` is in charge of what was begun since."""
        self._held()
        return self._anothers

    def _held(self) -> int:
        """Return the binding's directory: the one we came with, unless `down` removed it and `up` made another.

        One of which another `vmnet run` is in charge is left to it.
        Whoever can write to the state directory can exchange what its path leads to, but not what is held open.
        """
        self._anothers = False
        another = -1 if has_journal(self._directory) else _own_directories(self._path)
        if another >= 0:
            is_ours = os.path.samestat(os.fstat(another), os.fstat(self._directory))
            self._anothers = not is_ours and not _claim(another)
            if not is_ours and not self._anothers:
                self._directory, another = another, self._directory
            os.close(another)
        return self._directory

    def remedy(self) -> str:
        """Return the command that gives the pod back, as it is typed here."""
        return f"`vmnet down --interface {self.ifname} --state-dir {self._state_dir}`"

    def start(self, verb: str, *flags: str) -> int:
        """Start a verb as a child in a session of its own, where Ctrl-C does not reach it. Returns its pid.

        We are in the namespace already and the settings are in the journal: the environment has no say any more.
        """
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("VMNET_") or name in ("VMNET_DEBUG", LAST_WORD)
        }
        if verb == "up":
            environment[LAST_WORD] = ""  # we go on, so this is nobody's last word
        place = ["--interface", self.ifname, "--state-dir", self._state_dir]
        arguments = [sys.executable, "-I", "-c", _VERB, self._root, verb, *place, *flags]
        return os.posix_spawn(
            sys.executable,
            arguments,
            environment,
            file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
            setsid=True,
            setsigmask=(),
            setsigdef=_TERMINAL,
        )

    def open_server(self) -> int:
        """Return a pidfd of the server that is recorded, or -1 where that one lives no more."""
        try:
            pid, _, began = read_own("server.pid", self._held(), 64).strip().partition(b" ")
            handle = os.pidfd_open(int(pid))
        except (OSError, ValueError, OverflowError):
            return -1
        if _start_time(int(pid)) == began and is_server(int(pid)):  # in a pod's volume it could be any process
            return handle
        os.close(handle)
        return -1


def wait_seconds(deaths: int) -> float:
    """How long to wait after so many deaths in quick succession: not at all, then twice as long each time."""
    if deaths < _QUICK_DEATHS:
        return 0.0
    return min(_LONGEST_WAIT_SECONDS, 2.0 ** min(deaths - _QUICK_DEATHS, 16))


def say(level: str, event: str, message: str) -> None:
    """Write one line as `vmnet.show.log.say` would, which costs too much to import."""
    if os.isatty(2):
        line = f"vmnet: {level}: {message}\n".encode(errors="backslashreplace")
    else:
        line = dumps({"level": level, "event": event, "message": message}).encode() + b"\n"
    try:
        os.write(2, line)
    except OSError:
        return  # nobody listens


def has_journal(directory: int) -> bool:
    """Whether there is one, of whatever kind: it is not opened."""
    try:
        os.stat("journal.json", dir_fd=directory, follow_symlinks=False)
    except OSError:
        return False
    return True


def _claim(directory: int) -> bool:
    """Be in charge of another directory as `vmnet run` is of its first one; whether nobody else is."""
    import fcntl  # memory that few need

    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # where no lock is to be had, nobody has one
    return True


def _own_directories(path: str) -> int:
    """Open the last two steps of a path, each a directory that is ours alone; -1 where they are not."""
    above, ifname = os.path.split(path)
    root, namespace = os.path.split(above)
    try:
        opened = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK | os.O_CLOEXEC)
        for step in (namespace, ifname):
            try:
                below = own_directory(step, opened)
            finally:
                os.close(opened)
            opened = below
    except OSError:
        return -1
    return opened


def _start_time(pid: int) -> bytes:
    """When the process began, as `vmnet.control.processes` records it."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[19]
    except OSError:
        return b""


def _is_stopped(handle: int) -> bool:
    """Whether that living process is stopped (proc(5))."""
    try:
        with open(f"/proc/self/fdinfo/{handle}", "rb") as file:
            [pid] = [int(line[4:]) for line in file if line.startswith(b"Pid:")]
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"T"
    except (OSError, ValueError, IndexError):
        return False


def _has_terminal() -> bool:
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


def exit_code(status: int) -> int:
    """The exit code of a wait status, of what a signal has ended as shells give it."""
    code = os.waitstatus_to_exitcode(status)
    return BY_SIGNAL - code if code < 0 else code


def catch_signals() -> int:
    """Let every signal that can be forwarded write its number into a pipe; return where to read it."""
    read_end, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    _signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    for number in _signal.valid_signals():
        if number in _TERMINAL:
            _signal.signal(number, _signal.SIG_IGN)
        elif number == _signal.SIGCHLD or (
            number not in _OURS and number not in _FAULTS and _signal.getsignal(number) != _signal.SIG_IGN
        ):
            _signal.signal(number, _noted)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    return read_end


def _noted(_number: int, _frame: object) -> None:
    """The number is in the pipe already."""


def name_process(name: bytes) -> None:
    """Show up as ourselves in `ps`: up to 15 octets."""
    try:
        with open("/proc/self/comm", "wb") as comm:
            comm.write(name)
    except OSError:
        return  # a read-only /proc


def main() -> None:
    """Supervise until the command has ended, and exit as it did."""
    root, path, keep, directory, *command = sys.argv[1:]
    os.set_inheritable(int(directory), False)
    wakeup = catch_signals()
    name_process(b"vmnet-run")
    binding = Binding(root, path, bool(keep), int(directory))
    sys.exit(Supervisor(binding, command, wakeup).run())
