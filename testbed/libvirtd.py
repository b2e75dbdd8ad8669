"""A real libvirtd in a pod's network namespace, as a launcher container has it.

    ┌ the pod's network namespace, a mount namespace of its own ─────────────────────────┐
    │ libvirtd                 DIR/etc    on /etc/libvirt        (hooks/, qemu.conf)     │
    │  ├─ hooks/qemu.d/…       DIR/run    on /run                (libvirt/, vmnet/)      │
    │  └─ QEMU ── tap0         DIR/state  on /var/lib/libvirt                            │
    │                          DIR/log    on /var/log/libvirt                            │
    │                          DIR/cache  on /var/cache/libvirt                          │
    └────────────────────────────────────────────────────────────────────────────────────┘

Use it so:

    with libvirtd(pod.netns, directory) as daemon:         # ready when the block begins
        daemon.virsh("create", made.write(path)).stdout    # any virsh command; check=False to see it fail
        daemon.restart()                                   # guests go on running
        daemon.uri                                         # for libvirt-python and --connect
        daemon.hooks                                       # put hooks here, then restart(), which looks for them

where `made = domain("vm1", directory, interface(pod.mac), ping=pod.peer)`; `made.console` is the guest's console.

Nothing outside `directory` is changed, but for QEMU's capabilities, which are kept in `.cache/libvirt`: only the
first start on a machine probes QEMU. libvirtd is ended by its id, and so are the guests it leaves behind.
"""

from __future__ import annotations

import os
import select
import shutil
import socket
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from testbed import libvirtd_room
from testbed.libvirt_guest import Console, Domain, domain, interface
from testbed.libvirtd_room import MOUNTS
from testbed.netns import Background, Completed, Netns, TestbedError, kill, run
from testbed.once import one_at_a_time
from testbed.patience import PATIENCE
from testbed.qemu import QEMU

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Console", "Domain", "Libvirtd", "domain", "interface", "libvirtd"]
CACHE = Path(os.environ.get("VMNET_LIBVIRT_CACHE", Path(__file__).parent.parent / ".cache" / "libvirt"))
CAPABILITIES = "qemu/capabilities"
START_PATIENCE = PATIENCE
"""Seconds; the first start on a machine probes QEMU for 4 to 8."""
SOCKET = "run/libvirt/libvirt-sock"
LONGEST_SOCKET_PATH = 107
DAEMON_CONF = 'auth_unix_rw = "none"\nauth_unix_ro = "none"\nunix_sock_group = "root"\n'
QEMU_CONF = """\
stdio_handler = "file"
security_driver = "none"
cgroup_controllers = [ ]
namespaces = [ ]
remember_owner = 0
user = "{user}"
group = "{group}"
"""


@dataclass(slots=True)
class Libvirtd:
    """A running libvirtd. Made by `libvirtd()`."""

    netns: Netns
    directory: Path
    wrapper: tuple[str, ...] = ()
    _program: Background | None = field(default=None)

    @property
    def uri(self) -> str:
        """What `virsh -c` and libvirt-python connect to, from anywhere on this machine."""
        return f"qemu:///system?socket={self.directory / SOCKET}"

    @property
    def hooks(self) -> Path:
        """The directory that libvirtd sees as /etc/libvirt/hooks."""
        return self.directory / "etc" / "hooks"

    @property
    def pid(self) -> int:
        """The process id of libvirtd."""
        assert self._program is not None  # noqa: S101 -- made by libvirtd()
        return self._program.process.pid

    @property
    def log(self) -> Path:
        """What libvirtd itself said."""
        return self.directory / "libvirtd.log"

    def guest_log(self, name: str) -> Path:
        """What QEMU of the domain `name` said, and its command line."""
        return self.directory / "log" / "qemu" / f"{name}.log"

    def virsh(
        self, *words: str | Path, check: bool = True, timeout: float = PATIENCE, stdin: str = ""
    ) -> Completed:
        """Run one virsh command from outside; a failure is an error unless `check` is false."""
        return run(self.virsh_command(*words), check=check, timeout=timeout, stdin=stdin)

    def virsh_command(self, *words: str | Path) -> list[str]:
        """The argument list of a virsh command."""
        environment = ("LC_ALL=C.UTF-8", f"PATH={os.environ['PATH']}", f"HOME={self.directory}")
        return ["env", "-i", *environment, "virsh", "-q", "-c", self.uri, *map(str, words)]

    def start(self) -> float:
        """Start libvirtd and wait until it says READY; give the seconds that took."""
        began = time.monotonic()
        with _notifications(self.directory / "ready") as news:
            room = str(Path(libvirtd_room.__file__).resolve())
            argv = self.netns.command(*self.wrapper, sys.executable, room, self.directory, "libvirtd")
            self._program = Background(argv, self.log)
            _await_ready(news, self._program)
        return time.monotonic() - began

    def stop(self, grace: float = 10) -> None:
        """End libvirtd; its guests go on running."""
        if self._program is not None:
            self._program.stop(grace)

    def kill(self) -> None:
        """End libvirtd with SIGKILL; its guests go on running."""
        if self._program is not None:
            self._program.process.kill()
            self._program.stop()

    def restart(self) -> float:
        """End libvirtd and start it again over the same directories; give the seconds until it was READY."""
        self.stop()
        return self.start()

    def guests(self) -> list[int]:
        """The ids of the QEMU processes that libvirtd started and that still run."""
        found = []
        for record in self.directory.glob("run/libvirt/qemu/*.pid"):
            text = record.read_text(encoding="ascii").strip()
            with_name = Path(f"/proc/{text}/cmdline")
            if text.isdecimal() and with_name.exists() and QEMU.encode() in with_name.read_bytes():
                found.append(int(text))
        return found

    def clear(self) -> None:
        """Leave nothing running."""
        self.stop()
        for pid in self.guests():
            kill(pid)


@contextmanager
def libvirtd(
    netns: Netns, directory: Path, *, user: str = "root", group: str = "root", wrapper: Sequence[str] = ()
) -> Iterator[Libvirtd]:
    """Run libvirtd in a network namespace until the block ends, its files below `directory` (a short path).

    `user` and `group` are who QEMU runs as. `wrapper` is put in front of libvirtd: `("setpriv", …)` takes
    capabilities from it, for instance.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for name in (*MOUNTS, "etc/hooks", "run/libvirt", "run/netns"):
        (directory / name).mkdir(mode=0o755, parents=True, exist_ok=True)
    (directory / "etc" / "libvirtd.conf").write_text(DAEMON_CONF, encoding="ascii")
    (directory / "etc" / "qemu.conf").write_text(QEMU_CONF.format(user=user, group=group), encoding="ascii")
    daemon = Libvirtd(netns, directory, tuple(wrapper))
    if len(os.fsencode(daemon.directory / SOCKET)) > LONGEST_SOCKET_PATH:
        raise ValueError(f"{directory} is too long a path for a unix socket")
    recall_capabilities(directory / "cache")
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.clear()
        _keep_capabilities(directory)


def recall_capabilities(cache: Path) -> None:
    """Let libvirtd find in its cache what an earlier one learnt of QEMU; it checks itself that it still holds."""
    with one_at_a_time(CACHE):
        if (CACHE / CAPABILITIES).is_dir():
            shutil.copytree(CACHE / CAPABILITIES, cache / CAPABILITIES, dirs_exist_ok=True)


def _keep_capabilities(directory: Path) -> None:
    target = CACHE / CAPABILITIES
    with one_at_a_time(CACHE):
        target.mkdir(parents=True, exist_ok=True)
        for found in (directory / "cache" / CAPABILITIES).glob("*.xml"):
            shutil.copy(found, target)


@contextmanager
def _notifications(path: Path) -> Iterator[socket.socket]:
    """Listen for what a service says of itself, as systemd does (sd_notify(3))."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as news:
        news.bind(os.fspath(path))
        yield news


def _await_ready(news: socket.socket, program: Background) -> None:

    deadline = time.monotonic() + START_PATIENCE
    ended = os.pidfd_open(program.process.pid)
    try:
        while (left := deadline - time.monotonic()) > 0:
            readable = select.select([news.fileno(), ended], [], [], left)[0]
            if ended in readable:
                break
            if news.fileno() in readable and b"READY=1" in news.recv(4096).split(b"\n"):
                return
    finally:
        os.close(ended)
    program.stop()
    raise TestbedError(f"{program}: did not become ready; it said:\n{program.text}")
