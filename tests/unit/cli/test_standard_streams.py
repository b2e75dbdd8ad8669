"""A standard output that somebody who shares it has made non-blocking; the rest is in tests/readers."""

from __future__ import annotations

import errno
import os
import threading
from contextlib import suppress

import pytest

from vmnet.cli import standard_streams
from vmnet.errors import OutputError


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Make a pipe without room; its ends."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(65536))
    monkeypatch.setattr(standard_streams, "_PATIENCE_SECONDS", 0)
    return reading, writing


def test_where_nobody_makes_room_it_is_said(full: tuple[int, int]) -> None:
    with standard_streams._Output(full[1], "w") as output, pytest.raises(OutputError, match="does not make room"):
        output.write(b"x")
    os.close(full[0])


def test_errors_nobody_makes_room_for_are_nobodys(full: tuple[int, int]) -> None:
    with standard_streams._Errors(full[1], "w") as errors:
        assert errors.write(b"xy") == 2
    os.close(full[0])


def test_room_is_waited_for(full: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standard_streams, "_PATIENCE_SECONDS", 60)
    reader = threading.Thread(target=os.read, args=(full[0], 65536))
    with standard_streams._Output(full[1], "w") as output:
        reader.start()
        assert output.write(b"x") == 1
    reader.join()
    os.close(full[0])


def test_what_cannot_be_written_is_still_an_error() -> None:
    with open("/dev/full", "wb", buffering=0) as device:
        output = standard_streams._Output(device.fileno(), "w", closefd=False)
        with pytest.raises(OutputError, match=os.strerror(errno.ENOSPC)):
            output.write(b"x")
