"""The compiler's process: what it reads, what it writes, and how it fails."""

from __future__ import annotations

import io
import os
import sys
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.unit.dhcp.frames import LEASE, REPLIES, VM_MAC
from vmnet.codec import encode
from vmnet.dhcp.replies import dumps as dumps_replies
from vmnet.model import Leases
from vmnet.server import compiler
from vmnet.server.compiled import loads

if TYPE_CHECKING:
    from collections.abc import Iterator

LEASES = Leases(LEASE.chaddr, LEASE, None)
IMPOSSIBLE = replace(LEASE, lease_time=0)


class Standard:
    """Stands in for stdin and descriptor 1."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, question: bytes) -> None:
        self.written = b""
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(question)))
        monkeypatch.setattr(compiler, "_write_all", self.take)

    def take(self, data: bytes) -> None:
        self.written += data


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
    compiler.main()
    compiled = loads(standard.written)
    assert (compiled.vm_mac, compiled.dhcp) == (VM_MAC, dumps_replies(REPLIES))
    assert (compiled.advertisements, compiled.dhcpv6) == (b"", b"")


def test_a_server_that_has_ended_already_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(encode(LEASES).encode())))
    with nobody_reads(1):
        compiler.main()


@pytest.mark.parametrize(
    "question", [b"", b"{}", b"\xff\xfe", encode(replace(LEASES, lease=IMPOSSIBLE)).encode()], ids=range(4)
)
def test_the_process_fails_in_one_line_on_both_sides(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], question: bytes
) -> None:
    standard = Standard(monkeypatch, question)
    with pytest.raises(SystemExit) as ended:
        compiler.main()
    assert ended.value.code == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("compile: ")
    with pytest.raises(ValueError, match=r"^compile: ") as told:
        loads(standard.written)
    assert str(told.value) == line
