"""vmnet in a fork of the test: the command as its users run it, but without an interpreter's start.

A child of ours has everything imported already, which takes a command of its own most of its time. It enters the
pod, becomes a process of its own, lets a `Tamper` change what the test is about, and is vmnet. The DHCP servers it
starts are the real ones. Only the compiler of their replies, which imports scapy anew each time, is replaced: the
child compiles them itself, and those of a lease that is known not at all.

The whole command is run by the tests of `run`, of documents and examples, of inputs and outputs, with real guests
and in the images. VMNET_UNDER_TEST puts it, or another one, to every test.
"""

from __future__ import annotations

import atexit
import ctypes
import errno
import functools
import gc
import hashlib
import importlib
import itertools
import json
import os
import select
import shutil
import signal
import sys
import tempfile
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed import agent as agents
from testbed.agent import Agent
from testbed.netns import Completed, TestbedError, set_netns
from testbed.patience import PATIENCE
from testbed.privileges import confine
from tests.testlib.journals import journal
from vmnet.agent import converge, lifecycle
from vmnet.bindings import offload_program
from vmnet.cli import main
from vmnet.compile import scapy_layers
from vmnet.compile.process import compile_leases
from vmnet.control import processes, serving
from vmnet.errors import KernelError, RefusedError
from vmnet.kernel.netlink import RTM_NEWLINK, NetlinkSocket
from vmnet.kernel.read import read
from vmnet.model import codec
from vmnet.saved.journal import BindingDirectory
from vmnet.saved.schema import Journal
from vmnet.server.compiled import dumps_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vmnet.model.change import Change
    from vmnet.model.lease import Leases

    Tamper = Callable[[], None]

apply_room = importlib.import_module("vmnet.kernel.apply")
"""The module; its name in the package is also that of its function."""
CRASHED = 70
"""How a child ends that could not even become vmnet."""
_PIPE_BYTES = 65536
_APPLY = "apply"
_ROOMS = (
    "vmnet.compile.advertisements",
    "vmnet.compile.dhcp",
    "vmnet.compile.dhcpv6",
    "vmnet.control.report",
    "vmnet.diagnosis.live",
    "vmnet.diagnosis.status",
    "vmnet.kernel.inspect",
)
"""What the verbs import only when they need it."""
_REFUSED = "refused: "
_PR_SET_PDEATHSIG = 1
_compiled: dict[Leases, bytes] = {}


@dataclass(frozen=True, slots=True)
class Ended:
    """How a vmnet ended: its exit code (negative for a signal), what it said, what it changed in the kernel."""

    code: int
    stdout: str
    stderr: str
    changes: tuple[str, ...]

    @property
    def message(self) -> str:
        """The one error line."""
        [line] = [line for line in self.stderr.splitlines() if '"error"' in line]
        return str(json.loads(line)["message"])

    @property
    def refused(self) -> list[str]:
        """The changes that `refused` has refused."""
        return [line.removeprefix(_REFUSED) for line in self.stderr.splitlines() if line.startswith(_REFUSED)]

    @property
    def killed(self) -> bool:
        """Whether it died of SIGKILL."""
        return self.code == -signal.SIGKILL

    def ok(self) -> Ended:
        """Itself, if it ended well; else a failure that quotes it."""
        assert self.code == 0, f"exit code {self.code}\n{self.stdout}{self.stderr}"
        return self


@dataclass(slots=True)
class Running:
    """A vmnet at work."""

    pid: int
    pidfd: int
    outputs: tuple[int, int, int]

    def kill(self) -> None:
        """SIGKILL."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def ends_within(self, seconds: float) -> bool:
        """Wait for its end, so long at most."""
        return bool(select.select([self.pidfd], [], [], seconds)[0])

    def wait(self, timeout: float = PATIENCE) -> Ended:
        """Wait for its end; give what it said."""
        late = not self.ends_within(timeout)
        if late:
            self.kill()
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.pidfd)
        stdout, stderr, changes = map(_text, self.outputs)
        if late or code == CRASHED:
            raise TestbedError(f"vmnet {'hangs' if late else 'crashed'}:\n{stdout}{stderr}")
        return Ended(code, stdout, stderr, tuple(changes.splitlines()))


@dataclass(frozen=True)
class Forked:
    """vmnet for one pod, run in forks of ours."""

    agent: Agent
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, verb: str, *flags: str | Path, tamper: Tamper | None = None) -> Running:
        """Start a verb; `tamper` is called in the child before it becomes vmnet."""
        _prepare()
        outputs = tuple(os.memfd_create(name, os.MFD_CLOEXEC) for name in ("stdout", "stderr", "changes"))
        pid = os.fork()
        if pid == 0:
            self._become(outputs, self.agent.words(verb, *flags), tamper)
        return Running(pid, os.pidfd_open(pid), (outputs[0], outputs[1], outputs[2]))

    def run(self, verb: str, *flags: str | Path, tamper: Tamper | None = None) -> Ended:
        """Run a verb to its end."""
        return self.start(verb, *flags, tamper=tamper).wait()

    def up(self, *flags: str | Path) -> Ended:
        """Hand the pod over; an exit code but 0 is an error."""
        return self.run("up", *flags).ok()

    def down(self) -> Ended:
        """Give the pod back; an exit code but 0 is an error."""
        return self.run("down").ok()

    def status(self) -> tuple[int, dict[str, Any]]:
        """The exit code and the report of `status --json`."""
        ended = self.run("status", "--json")
        return ended.code, dict(json.loads(ended.stdout)) if ended.stdout else {}

    def _become(self, outputs: tuple[int, ...], words: list[str], tamper: Tamper | None) -> None:
        code = CRASHED
        try:
            gc.disable()  # a collection would copy all of the test's memory
            _own_process(outputs)
            path = os.environ["PATH"]
            os.environ.clear()
            os.environ.update({"PATH": path, **self.environment})
            set_netns(os.open(self.agent.netns.path, os.O_RDONLY | os.O_CLOEXEC))
            if self.agent.confined:
                confine()
            _patch_apply(_telling(outputs[2]))
            _patch(processes, "start_compiler", _known_replies)
            _patch(main, "parser", lambda _words: _PARSER)
            if tamper:
                tamper()
            code = main.main(words)
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else 0
        except BaseException:  # noqa: BLE001 # the child must never return into pytest
            traceback.print_exc()
        finally:
            with suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)


@dataclass(frozen=True, slots=True)
class ForkedAgent(Agent):
    """vmnet for one pod, its verbs run in forks of ours; what `argv` and `command` give is still the command."""

    def run(self, verb: str, *flags: str | Path, check: bool = True) -> Completed:
        """Run a verb to its end."""
        ended = Forked(self).run(verb, *flags)
        if check and ended.code:
            raise TestbedError(f"vmnet {verb}: exit code {ended.code}\n{ended.stdout}{ended.stderr}".rstrip())
        return Completed([verb, *map(str, flags)], ended.code, ended.stdout, ended.stderr)


_KIND = Agent if "VMNET_UNDER_TEST" in os.environ else ForkedAgent
agent = functools.partial(agents.agent, kind=_KIND)
"""Gives the agent of a pod, as `testbed.agent` does."""
cleared = functools.partial(agents.cleared, kind=_KIND)


@functools.cache
def _prepare() -> None:
    """Do once what each child would do anew: import, fill pyroute2's and the codec's tables, write the program."""
    for room in _ROOMS:
        importlib.import_module(room)
    scapy_layers.ipv6_layers()
    _replies()
    kept = journal("bridge-dual")
    assert codec.decode(Journal, codec.encode(kept)) == kept
    offload_program.program()
    with NetlinkSocket() as netlink:
        read(netlink)


def know_replies(leases: Leases) -> None:
    """Compile the replies once, for all children to come."""
    _compiled.setdefault(leases, compile_leases(leases))


def killed_after(number: int) -> Tamper:
    """Die right after the nth change of the kernel."""
    return _signalled_after(number, signal.SIGKILL)


def stopped_after(number: int) -> Tamper:
    """Stand still right after the nth change of the kernel."""
    return _signalled_after(number, signal.SIGSTOP)


def _signalled_after(number: int, signal_number: int) -> Tamper:
    def tamper() -> None:
        real, left = getattr(converge, _APPLY), number

        def apply(netlink: NetlinkSocket, change: Change) -> None:
            nonlocal left
            real(netlink, change)
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal_number)

        _patch_apply(apply)

    return tamper


SYSTEM_CALLS = (
    "mkdir",
    "open",
    "write",
    "fsync",
    "rename",
    "unlink",
    "rmdir",
    "posix_spawn",
    "memfd_create",
    "pipe",
)
"""What the agent does to files and processes."""


def killed_before_call(number: int) -> Tamper:
    """Die right before the nth thing that is done to files, processes or sockets."""

    def tamper() -> None:
        left = number

        def dying(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*words: Any, **named: Any) -> Any:  # noqa: ANN401 # whatever the call takes and gives
                nonlocal left
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*words, **named)

            return call

        for name in SYSTEM_CALLS:
            _patch(os, name, dying(getattr(os, name)))

    return tamper


def refused(numbers: Iterable[int], code: int, *, always: bool = False) -> Tamper:
    """The kernel refuses the changes of these numbers, counted from 1, with this errno.

    With `always` it also refuses each repetition of one of them.
    """

    def tamper() -> None:
        real, wanted, seen, hated = apply_room._call, frozenset(numbers), 0, set()

        def call(netlink: NetlinkSocket, change: Change) -> None:
            nonlocal seen
            seen += 1
            if seen in wanted or change in hated:
                if always:
                    hated.add(change)
                os.write(2, f"{_REFUSED}{change}\n".encode())
                raise OSError(code, os.strerror(code))
            real(netlink, change)

        _patch(apply_room, "_call", call)

    return tamper


def broken_at(number: int) -> Tamper:
    """The nth change meets a bug of ours."""

    def tamper() -> None:
        real, seen = apply_room._call, 0

        def call(netlink: NetlinkSocket, change: Change) -> None:
            nonlocal seen
            seen += 1
            if seen == number:
                raise LookupError("a bug")
            real(netlink, change)

        _patch(apply_room, "_call", call)

    return tamper


def _telling(trace: int) -> Callable[[NetlinkSocket, Change], None]:
    real = getattr(converge, _APPLY)

    def apply(netlink: NetlinkSocket, change: Change) -> None:
        real(netlink, change)
        os.pwrite(trace, f"{change}\n".encode(), os.fstat(trace).st_size)

    return apply


def _known_replies(leases: Leases, log: int) -> processes.Compiler:
    """Hand the replies over as the compiler would; what cannot be compiled, and more than a pipe holds, is its."""
    with suppress(ValueError):
        known = _compiled.get(leases) or _compiled_once(leases)
        if len(known) <= _PIPE_BYTES:
            read_end, write_end = os.pipe2(os.O_CLOEXEC)
            os.write(write_end, known)
            os.close(write_end)
            return processes.Compiler(0, read_end)
    return _start_compiler(leases, log)


def _compiled_once(leases: Leases) -> bytes:
    """Compile the replies, unless another child of this test session did: the same pod is made for many tests."""
    kept = _replies() / hashlib.sha256(repr(leases).encode()).hexdigest()
    with suppress(OSError):
        return kept.read_bytes()
    compiled = compile_leases(leases)
    with suppress(OSError):
        written = kept.with_suffix(f".{os.getpid()}")
        written.write_bytes(compiled)
        os.replace(written, kept)  # noqa: PTH105 # Path.rename is one of the calls that a Tamper counts
    return compiled


@functools.cache
def _replies() -> Path:
    """Give the directory of what children have compiled; it goes with the test session."""
    made = tempfile.mkdtemp(prefix="vmnet-replies-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return Path(made)


_start_compiler = processes.start_compiler
_PARSER = main.parser()
"""Built once: that takes as long as half of a verb."""


def _patch(room: object, name: str, value: object) -> None:
    setattr(room, name, value)


def _patch_apply(apply: Callable[[NetlinkSocket, Change], None]) -> None:
    """Replace the one way by which the agent changes the kernel."""
    for room in (converge, lifecycle):
        _patch(room, _APPLY, apply)


def _own_process(outputs: tuple[int, ...]) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number in (signal.SIGALRM, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    kept = (2, *sorted(outputs), os.sysconf("SC_OPEN_MAX"))
    for low, high in itertools.pairwise(kept):
        os.closerange(low + 1, high)  # a tap that the test holds would be held in the pod as well
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    for place, descriptor in enumerate((null, outputs[0], outputs[1])):
        os.dup2(descriptor, place)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 # until the end
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def _text(memory: int) -> str:
    """All that was written to a file in memory; closes it."""
    with open(memory, "rb") as file:
        file.seek(0)
        return file.read().decode(errors="replace")


def dumps_fail(numbers: Iterable[int], code: int) -> Tamper:
    """Reading the kernel's tables fails, the dumps of these numbers."""

    def tamper() -> None:
        real, wanted, seen = NetlinkSocket._read_dump, frozenset(numbers), 0

        def read_dump(self: NetlinkSocket) -> tuple[list[bytes], bool]:
            nonlocal seen
            seen += 1
            dumped = real(self)
            if seen in wanted:
                raise OSError(code, os.strerror(code))
            return dumped

        _patch(NetlinkSocket, "_read_dump", read_dump)

    return tamper


def no_packet_socket(times: int, code: int) -> Tamper:
    """The kernel refuses the server's packet socket, so often."""

    def tamper() -> None:
        real, left = serving.open_packets, times

        def open_packets(*words: Any) -> Any:  # noqa: ANN401 # whatever it takes and gives
            nonlocal left
            left -= 1
            if left >= 0:
                raise KernelError(code, "open a packet socket on tap0")
            return real(*words)

        _patch(serving, "open_packets", open_packets)

    return tamper


def compiler_fails(reason: str) -> Tamper:
    """The compiler of the replies says that it has failed."""

    def start_compiler(_leases: Leases, _log: int) -> processes.Compiler:
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        os.write(write_end, dumps_failure(reason))
        os.close(write_end)
        return processes.Compiler(0, read_end)

    return lambda: _patch(processes, "start_compiler", start_compiler)


def disk_full() -> None:
    """No journal can be saved."""

    def save(_directory: BindingDirectory, _journal: Journal) -> None:
        raise RefusedError("the disk is full") from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    _patch(BindingDirectory, "save", save)


def no_rename_at_all() -> None:
    """The kernel says that the link is busy, up or down."""
    real = NetlinkSocket.request

    def request(self: NetlinkSocket, message: Any, operation: int, flags: int) -> None:  # noqa: ANN401
        if operation == RTM_NEWLINK and message.get_attr("IFLA_IFNAME") and message["index"]:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        real(self, message, operation, flags)

    _patch(NetlinkSocket, "request", request)


def no_live_rename() -> None:
    """The kernel renames no link that is up, as before Linux 6.2."""
    real = NetlinkSocket.request

    def request(self: NetlinkSocket, message: Any, operation: int, flags: int) -> None:  # noqa: ANN401
        name = message.get_attr("IFLA_IFNAME")
        if operation == RTM_NEWLINK and name and message["index"]:
            link = next(link for link in read(self).links if link.ifindex == message["index"])
            if link.up and link.ifname != name:
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        real(self, message, operation, flags)

    _patch(NetlinkSocket, "request", request)
