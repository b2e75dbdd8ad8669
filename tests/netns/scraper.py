"""An exporter as a node runs it, one who scrapes it, and more servers than a node has pods."""

from __future__ import annotations

import os
import select
import socket
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from testbed.agent import VMNET
from testbed.netns import Background, Netns, background, entered, kill, netns
from testbed.patience import PATIENCE
from tests.unit.saved.test_journal import JOURNAL
from vmnet.compile.process import compile_leases
from vmnet.control import call, processes, serving
from vmnet.kernel.netns import boot_id, cookie
from vmnet.saved.journal import StateDirectory

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_CAPABILITY = ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--no-new-privs", "--")
"""Root that may no more than the owner of its files: all that the exporter's container has."""
_READ_ONLY = (
    *("unshare", "--mount", "sh", "-ec"),
    'mount --bind "$0" "$0"; mount -o remount,bind,ro "$0"; exec "$@"',
)
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass(frozen=True, slots=True)
class Exporter:
    """The exporter of a node, in a network namespace that is none of the pods'."""

    netns: Netns
    address: str
    running: Background

    def connect(self) -> socket.socket:
        """Connect from its own namespace."""
        if self.address.startswith("unix:"):
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.connect(self.address.removeprefix("unix:"))
        else:
            host, _, port = self.address.rpartition(":")
            with entered(self.netns):
                connection = socket.create_connection((host.strip("[]"), int(port)), PATIENCE)
        connection.settimeout(PATIENCE)
        return connection

    def answer(self, request: bytes) -> bytes:
        """What comes back for these octets until it hangs up."""
        answer = b""
        with self.connect() as connection:
            connection.sendall(request)
            with suppress(ConnectionResetError):  # it hung up on more than it had read
                while part := connection.recv(1 << 20):
                    answer += part
        return answer

    def get(self, path: str = "/metrics") -> bytes:
        """The body of a page that is there."""
        head, _, body = self.answer(f"GET {path} HTTP/1.1\r\nHost: node\r\n\r\n".encode()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n"), head
        assert f"Content-Length: {len(body)}".encode() in head.splitlines()
        return body

    def scrape(self) -> Samples:
        """All samples of /metrics, as Prometheus' own parser reads them."""
        return parsed(self.get().decode())


def parsed(text: str) -> Samples:
    """The samples of a text; none is there twice."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found
            found[key] = sample.value
    return found


def value(found: Samples, name: str, **labels: object) -> float | None:
    """The value of the one sample of that name that has these labels, and perhaps more."""
    wanted = {(label, str(text)) for label, text in labels.items()}
    values = [number for (metric, said), number in found.items() if metric == name and wanted <= said]
    assert len(values) <= 1, (name, labels)
    return values[0] if values else None


@contextmanager
def exporter(log: Path, address: str, *state_dirs: Path | str) -> Iterator[Exporter]:
    """Run the command as its container does, in a network namespace of its own, until the block ends.

    It has no capability, and the first state directory, where it is there already, is mounted read-only.
    """
    read_only = state_dirs[0] if Path(state_dirs[0]).is_dir() else "/proc/sys"
    words = [word for directory in state_dirs for word in ("--state-dir", directory)]
    with netns() as node:
        argv = node.command(
            *_READ_ONLY,
            str(read_only),
            *NO_CAPABILITY,
            "env",
            "-i",
            VMNET,
            "exporter",
            "--listen",
            address,
            *words,
        )
        with background(argv, log) as running:
            running.wait_for('"event": "listening"')
            yield Exporter(node, address, running)


@contextmanager
def crowd(root: Path, count: int) -> Iterator[list[int]]:
    """So many real servers in as many namespaces, which listen on `lo` instead of a tap; gives their pids.

    What `up` does besides is left out: no bridge is made, and the replies are compiled once for all.
    """
    journal = replace(JOURNAL, settings=replace(JOURNAL.settings, tap="lo"))
    compiled = compile_leases(journal.leases)
    with ExitStack() as undo:
        pids = []
        for _ in range(count):
            namespace = undo.enter_context(netns())
            with entered(namespace):
                here = cookie()
                directory = StateDirectory(str(root), here).make("eth0")
                directory.save(replace(journal, netns_cookie=here, boot_id=boot_id()))
                with serving.open_packets(journal) as packets:
                    ready = processes.start_server(
                        directory, packets, _in_memory(compiled), processes.open_log(directory), journal.settings
                    )
                pids.append(int((directory.read(call.PID) or b"").split()[0]))
                undo.callback(_end, pids[-1])
                undo.callback(os.close, ready)
                directory.close()
            assert select.select([ready], [], [], PATIENCE)[0]
            assert os.read(ready, 1)
        yield pids


def _in_memory(data: bytes) -> int:
    descriptor = os.memfd_create("replies", os.MFD_CLOEXEC)
    os.write(descriptor, data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _end(pid: int) -> None:
    kill(pid)
    os.waitpid(pid, 0)
