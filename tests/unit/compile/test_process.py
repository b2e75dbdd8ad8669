"""The compiler's process: what it reads, what it writes, and how it fails."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.testlib.dhcp.frames import LEASE, REPLIES, VM_MAC
from vmnet.compile import process
from vmnet.model.codec import encode
from vmnet.model.lease import Leases
from vmnet.server.compiled import loads
from vmnet.server.dhcp.replies import dumps as dumps_replies

if TYPE_CHECKING:
    from collections.abc import Iterator

LEASES = Leases(LEASE.chaddr, LEASE, None)
IMPOSSIBLE = replace(LEASE, lease_time=0)


class Standard:
    """Stands in for stdin and descriptor 1; no process is left for the one that compiles."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, question: bytes) -> None:
        self.written = b""
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(question)))
        monkeypatch.setattr(process, "_write_all", self.take)
        monkeypatch.setattr(os, "fork", no_fork)

    def take(self, data: bytes) -> None:
        self.written += data


def no_fork() -> int:
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


@contextmanager
def nobody_reads(descriptor: int) -> Iterator[None]:
    """Make it the end of a pipe whose reader is gone."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    kept = os.dup(descriptor)
    os.dup2(write_end, descriptor)
    try:
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)
        os.close(write_end)


def test_the_process_answers_with_replies(monkeypatch: pytest.MonkeyPatch) -> None:
    standard = Standard(monkeypatch, encode(LEASES).encode())
    assert _code() == 0
    compiled = loads(standard.written)
    assert (compiled.vm_mac, compiled.dhcp) == (VM_MAC, dumps_replies(REPLIES))
    assert (compiled.advertisements, compiled.dhcpv6) == (b"", b"")


def test_a_server_that_has_ended_already_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(encode(LEASES).encode())))
    monkeypatch.setattr(os, "fork", no_fork)
    with nobody_reads(1):
        assert _code() == 0


@pytest.mark.parametrize(
    "question", [b"", b"{}", b"\xff\xfe", encode(replace(LEASES, lease=IMPOSSIBLE)).encode()], ids=range(4)
)
def test_the_process_fails_in_one_line_on_both_sides(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], question: bytes
) -> None:
    standard = Standard(monkeypatch, question)
    assert _code() == 1
    [line] = capfd.readouterr().err.splitlines()
    assert line.startswith("compile: ")
    with pytest.raises(ValueError, match=r"^compile: ") as told:
        loads(standard.written)
    assert str(told.value) == line


@pytest.mark.parametrize(
    ("statuses", "code", "said"),
    [
        ([0], 0, 0),
        ([256], 1, 0),
        ([signal.SIGKILL, 0], 0, 1),
        ([signal.SIGKILL, signal.SIGKILL, 0], 0, 2),
        ([signal.SIGKILL] * 3, 1, 3),
    ],
)
def test_one_that_is_killed_is_started_again(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    statuses: list[int],
    code: int,
    said: int,
) -> None:
    """As the kernel does when memory is short. What fails by itself would fail again."""
    Standard(monkeypatch, encode(LEASES).encode())
    left = list(statuses)
    monkeypatch.setattr(os, "fork", lambda: 7)
    monkeypatch.setattr(os, "waitpid", lambda pid, _flags: (pid, left.pop(0)))
    assert (_code(), left) == (code, [])
    assert capfd.readouterr().err == "compile: killed by signal 9\n" * said


def _code() -> object:
    with pytest.raises(SystemExit) as ended:
        process.main()
    return ended.value.code
