"""A libvirtd of our own, for a container in which nobody else runs one."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
from typing import TYPE_CHECKING

from vmnet.errors import LibvirtError
from vmnet.show.log import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from vmnet.doors.libvirt.inbox import Inbox

PROGRAMS = ("libvirtd", "virtqemud")
_PLACES = "/usr/sbin:/sbin"
"""Where daemons are, whatever PATH says."""
_STOP_SECONDS = 10.0
_LARGEST_READ = 65536
_HARMLESS = (
    b": info : ",
    b"dnsmasqCapsNewFromBinary",
    b"virGDBusGetSystemBus",
    b"DBus not available",
    b"udevGetDMIData",
    b"dmidecode",
    b"disables default policy to create confined guests",
    b"Unable to open /dev/kvm",
    b"Cannot find 'tc'",
    b"virGetHostnameImpl",
    b"At least one cgroup controller is required",
)
"""What libvirtd says at each start in a container, for want of what no VM of ours needs. Where a domain needs it
after all, libvirt refuses that domain and says so."""


class Daemon:
    """libvirtd as our child, in a session of its own where Ctrl-C does not reach it. What it says, we pass on."""

    def __init__(self, inbox: Inbox[object], tell: Callable[[], None]) -> None:
        """Start it. `tell` is called from within `inbox.next` when it says it is ready, and when it has ended.

        Raises:
            LibvirtError: there is none to start, or it cannot be run.
        """
        self._inbox = inbox
        self._tell = tell
        self._last_words = "it printed nothing"
        self._begun = b""
        self._news = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._news.bind("")  # an abstract name that the kernel chooses: no directory need be writable
        self._process = self._start()
        self._pidfd = os.pidfd_open(self._process.pid)
        pipe = self._process.stderr
        if pipe is None:
            raise LibvirtError("libvirtd has no stderr")
        self._said = pipe
        os.set_blocking(pipe.fileno(), False)
        inbox.watch(self._news.fileno(), self._notified)
        inbox.watch(self._pidfd, self._has_ended)
        inbox.watch(pipe.fileno(), self._pass_on)

    def _start(self) -> subprocess.Popen[bytes]:
        path = f"{os.environ.get('PATH', os.defpath)}:{_PLACES}"
        program = next(filter(None, (shutil.which(name, path=path) for name in PROGRAMS)), None)
        if program is None:
            raise LibvirtError(
                "no libvirtd answers and none is installed; install one, or name one with --connect"
            )
        name = self._news.getsockname()
        environment = {**os.environ, "PATH": path, "NOTIFY_SOCKET": "@" + os.fsdecode(name[1:])}
        try:
            return subprocess.Popen(
                [program],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            raise LibvirtError(f"cannot run {program}: {error.strerror}") from error

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it is no more."""
        return bool(select.select([self._pidfd], [], [], 0)[0])

    @property
    def last_words(self) -> str:
        """The last line that it said."""
        self._pass_on()
        return self._last_words

    def stop(self) -> None:
        """End it and wait until it has. Its guests, if it has any, go on."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)
            if select.select([self._pidfd], [], [], _STOP_SECONDS)[0]:
                break
        self._pass_on()
        self._process.wait()
        for descriptor in (self._news.fileno(), self._pidfd, self._said.fileno()):
            self._inbox.forget(descriptor)
        self._news.close()
        self._said.close()
        os.close(self._pidfd)

    def _notified(self) -> None:
        with contextlib.suppress(OSError):
            if b"READY=1" in self._news.recv(4096).split(b"\n"):
                self._tell()

    def _has_ended(self) -> None:
        self._inbox.forget(self._pidfd)
        self._tell()

    def _pass_on(self) -> None:
        """Say its lines as ours: a container has one log."""
        data = b""
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._said.fileno(), _LARGEST_READ)
            if not data:
                self._inbox.forget(self._said.fileno())
        *lines, self._begun = (self._begun + data)[-_LARGEST_READ:].split(b"\n")
        for line in lines:
            if not line or is_harmless(line):
                continue
            self._last_words = line.decode(errors="replace")
            say("warning", "libvirtd", f"libvirtd: {self._last_words}")


def is_harmless(line: bytes) -> bool:
    """Whether a line of libvirtd's log is one of every start; VMNET_DEBUG shows them, too.

    Kubernetes shows the end of the log as the reason of a container that was killed.
    """
    return not os.environ.get("VMNET_DEBUG") and any(words in line for words in _HARMLESS)
