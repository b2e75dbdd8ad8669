"""Network namespaces of our own, and programs inside them.

A namespace is entered with `nsenter --net`, never with `ip netns exec`, which mounts a new /sys and bind-mounts
files of /etc/netns. Every program that is started here is ended here, by its own id, in reverse order.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import secrets
import select
import signal
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RUN_NETNS = Path("/run/netns")
PREFIX = "vmnet-"
CLONE_NEWNET = 0x40000000
"""linux/sched.h."""
KEPT_LINES = 25
"""How much of a program's output a failure quotes."""

Completed = subprocess.CompletedProcess[str]


class TestbedError(RuntimeError):
    """Something of the testbed itself did not work; the text says which command and what it printed."""

    __test__ = False


@dataclass(frozen=True, slots=True)
class Netns:
    """A named network namespace: `/run/netns/NAME` keeps it alive."""

    name: str

    @property
    def path(self) -> Path:
        """The file to hand to `nsenter --net` or a CNI plugin."""
        return RUN_NETNS / self.name

    def command(self, *argv: str | Path) -> list[str]:
        """The argument list that runs `argv` in this namespace, with the same process id."""
        return ["nsenter", f"--net={self.path}", "--", *map(str, argv)]

    def run(self, *argv: str | Path, check: bool = True, timeout: float = PATIENCE, stdin: str = "") -> Completed:
        """Run a program in this namespace to its end, its output captured."""
        with entered(self):  # a process less than `nsenter`, thousands of times
            return run(argv, check=check, timeout=timeout, stdin=stdin)

    def ip(self, *arguments: str) -> list[Any]:
        """What `ip -d -j ARGUMENTS` says here."""
        text = self.run("ip", "-d", "-j", *arguments).stdout
        return list(json.loads(text)) if text.strip() else []

    def ip_batch(self, *lines: str) -> None:
        """Make changes with one `ip -batch`; the first that is refused is an error."""
        self.run("ip", "-batch", "-", stdin="\n".join(lines) + "\n")

    def sysctl(self, key: str, value: str | int) -> None:
        """Write `/proc/sys/net/KEY` of this namespace."""
        with entered(self):
            Path("/proc/sys/net", key).write_text(f"{value}\n", encoding="ascii")

    def processes(self) -> list[int]:
        """The ids of the processes that live in this namespace."""
        here = self.path.stat()
        return [int(it.name) for it in Path("/proc").iterdir() if it.name.isdecimal() and _lives_in(it, here)]


def _lives_in(process: Path, namespace: os.stat_result) -> bool:
    try:
        found = (process / "ns" / "net").stat()
    except OSError:  # it has ended, or is about to
        return False
    return os.path.samestat(found, namespace)


def run(
    argv: Sequence[str | Path], *, check: bool = True, timeout: float = PATIENCE, stdin: str = ""
) -> Completed:
    """Run a program to its end, its output captured; a failure quotes the command and all it said."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words, input=stdin, capture_output=True, text=True, timeout=timeout, check=False, errors="replace"
        )
    except subprocess.TimeoutExpired as error:
        said = b"".join(part for part in (error.stdout, error.stderr) if part).decode(errors="replace")
        raise TestbedError(f"{' '.join(words)}: not done after {timeout} s; so far it said:\n{said}") from error
    if check and done.returncode != 0:
        raise TestbedError(f"{' '.join(words)}: exit code {done.returncode}\n{done.stdout}{done.stderr}".rstrip())
    return done


@contextmanager
def netns() -> Iterator[Netns]:
    """Make a namespace under a name nobody else has; at the end, what still runs in it is killed."""
    namespace = Netns(PREFIX + secrets.token_hex(4))
    try:
        run(["ip", "netns", "add", namespace.name])
        namespace.ip_batch("link set lo up")
        yield namespace
    finally:
        with suppress(FileNotFoundError):  # it was never made, or a test has deleted it
            for pid in namespace.processes():
                kill(pid)
        run(["ip", "netns", "delete", namespace.name], check=False)


def kill(pid: int) -> None:
    """End one process now, if it is still there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def wait_for_end(pid: int, timeout: float = PATIENCE) -> None:
    """Wait until a process has ended by itself; one that goes on is an error."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if not select.select([handle], [], [], timeout)[0]:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            raise TestbedError(f"process {pid} goes on after {timeout} s: {words}")
    finally:
        os.close(handle)


@contextmanager
def entered(namespace: Netns) -> Iterator[None]:
    """Put the calling thread into a namespace: what it opens there, it keeps."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        inside = os.open(namespace.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            set_netns(inside)
        finally:
            os.close(inside)
        try:
            yield
        finally:
            set_netns(before)
    finally:
        os.close(before)


def set_netns(descriptor: int) -> None:
    """setns(2) for the calling thread."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "setns")


class Background:
    """A program that runs beside us: its output goes to a log, and its lines can be awaited.

    It has a session of its own, so that Ctrl-C reaches us alone and we end it in our order; should we be killed,
    the kernel kills it.
    """

    def __init__(self, argv: Sequence[str | Path], log: Path, descriptors: Sequence[int] = ()) -> None:
        self.argv = [str(word) for word in argv]
        self.log = log
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            # What started us may ignore signals, as nohup and a shell's background do: the program shall not.
            ["setpriv", "--pdeathsig", "KILL", "--", "env", "--default-signal", *self.argv],
            start_new_session=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            pass_fds=descriptors,
        )
        self._news = threading.Condition()
        self._text = ""
        self._ended = False
        self._reader = threading.Thread(target=self._read, name=f"reader of {self.argv[0]}", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        pipe = self.process.stdout
        assert pipe is not None  # noqa: S101 -- asked for in __init__
        with self.log.open("ab", buffering=0) as log:
            while chunk := pipe.read(65536):
                log.write(chunk)
                with self._news:
                    self._text += chunk.decode(errors="replace")
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    @property
    def text(self) -> str:
        """All it has said so far."""
        with self._news:
            return self._text

    def wait_for(self, pattern: str, timeout: float = PATIENCE) -> re.Match[str]:
        """Wait until it has said something that matches; a program that ends or stays silent is an error."""
        deadline = time.monotonic() + timeout
        expression = re.compile(pattern, re.MULTILINE)
        with self._news:
            while (found := expression.search(self._text)) is None:
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    why = "it ended" if self._ended else f"not within {timeout} s"
                    raise TestbedError(f"{self}: waited for {pattern!r}: {why}; it said:\n{self._tail()}")
                self._news.wait(left)
            return found

    def wait(self, timeout: float = PATIENCE) -> int:
        """Wait until it has ended by itself; give its exit code."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise TestbedError(f"{self}: not done after {timeout} s; it said:\n{self._tail()}") from error
        self._reader.join(timeout)
        return code

    def say(self, line: str) -> None:
        """Write a line to its standard input."""
        self.press(f"{line}\n".encode())

    def press(self, keys: bytes) -> None:
        """Write to its standard input."""
        pipe = self.process.stdin
        assert pipe is not None  # noqa: S101 -- asked for in __init__
        pipe.write(keys)

    def stop(self, grace: float = 2) -> None:
        """End it: SIGTERM, and SIGKILL where that is not enough."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(grace)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join(grace)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def _tail(self) -> str:
        return "\n".join(self._text.splitlines()[-KEPT_LINES:])

    def __str__(self) -> str:
        return f"{' '.join(self.argv)} (log {self.log})"


@contextmanager
def background(argv: Sequence[str | Path], log: Path, descriptors: Sequence[int] = ()) -> Iterator[Background]:
    """Run a program beside us until the block ends; it inherits those descriptors."""
    program = Background(argv, log, descriptors)
    try:
        yield program
    finally:
        program.stop()


IN_MOVED_TO = 0x80
IN_CREATE = 0x100
"""linux/inotify.h."""


def wait_for_file(path: Path, timeout: float = PATIENCE) -> None:
    """Wait until a file of that name is there; its directory must be."""
    deadline = time.monotonic() + timeout
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_CLOEXEC)
    try:
        if libc.inotify_add_watch(watch, os.fsencode(path.parent), IN_MOVED_TO | IN_CREATE) < 0:
            raise TestbedError(f"{path.parent}: {os.strerror(ctypes.get_errno())}")
        while not path.exists():
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([watch], [], [], left)[0]:
                raise TestbedError(f"{path} did not appear within {timeout} s")
            os.read(watch, 4096)
    finally:
        os.close(watch)
