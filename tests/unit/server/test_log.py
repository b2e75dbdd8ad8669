"""The log: lines that machines read, and never a flood of them."""

from __future__ import annotations

import json
import posix
import select

import pytest

from vmnet.server.log import Log, write_to_stderr


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_line_is_one_json_object() -> None:
    lines: list[bytes] = []
    Log(lines.append)("info", "offer", 'it said "hello"\n', xid=7)
    assert lines[0].count(b"\n") == 1
    assert json.loads(lines[0]) == {"level": "info", "event": "offer", "message": 'it said "hello"\n', "xid": 7}


def test_a_flood_costs_32_lines_then_one_a_second_and_the_rest_is_counted() -> None:
    lines: list[bytes] = []
    clock = Clock()
    log = Log(lines.append, clock)
    for _ in range(1000):
        log("info", "offer", "")
    assert len(lines) == 32
    clock.now += 1
    log("info", "offer", "")
    log("info", "offer", "")
    assert len(lines) == 33
    assert json.loads(lines[-1])["left_out"] == 968
    clock.now += 3600
    for _ in range(1000):
        log("info", "offer", "")
    assert len(lines) == 65
    assert json.loads(lines[33])["left_out"] == 1


@pytest.mark.parametrize(("room", "written"), [(True, [b"line\n"]), (False, [])])
def test_nobody_reading_stderr_does_not_stop_us(
    monkeypatch: pytest.MonkeyPatch,
    room: bool,
    written: list[bytes],
) -> None:
    lines: list[bytes] = []

    class Poller:
        def register(self, descriptor: int, _events: int) -> None:
            assert descriptor == 2

        def poll(self, timeout: int) -> list[tuple[int, int]]:
            assert timeout == 0
            return [(2, select.POLLOUT)] if room else []

    with monkeypatch.context() as patched:
        patched.setattr(select, "poll", Poller)
        patched.setattr(posix, "write", lambda _descriptor, line: lines.append(line))
        write_to_stderr(b"line\n")
    assert lines == written


def test_a_closed_stderr_does_not_end_us(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_descriptor: int, _line: bytes) -> None:
        raise BrokenPipeError

    with monkeypatch.context() as patched:
        patched.setattr(posix, "write", refuse)
        write_to_stderr(b"line\n")
