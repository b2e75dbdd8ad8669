"""A lock that nobody lets go of is an error that names its holder; one that is let go of is ours."""

from __future__ import annotations

import fcntl
import os
import select
from typing import TYPE_CHECKING

import pytest

from vmnet.errors import WaitTimeoutError
from vmnet.kernel import file_lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def held(tmp_path: Path) -> Iterator[int]:
    """A file that this very process holds by another description, as another process would."""
    descriptor = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


def test_the_deadline_names_who_holds_it(held: int, waiting: int) -> None:
    with pytest.raises(
        WaitTimeoutError, match=rf"LOCK is still locked by .*process {os.getpid()} \(.+\); try again"
    ):
        file_lock.hold(waiting, "LOCK", seconds=0)
    assert held


def test_who_waits_says_for_whom_once(
    held: int, waiting: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(file_lock, "_SAY_SECONDS", 0)
    rounds = iter([None, None, held])

    def moment(*_args: object) -> None:
        if (descriptor := next(rounds)) is not None:
            fcntl.flock(descriptor, fcntl.LOCK_UN)

    monkeypatch.setattr(select, "select", moment)
    file_lock.hold(waiting, "LOCK")
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"waiting for process {os.getpid()} (" in said


def test_a_free_one_is_taken_in_silence(waiting: int, capsys: pytest.CaptureFixture[str]) -> None:
    file_lock.hold(waiting, "LOCK", seconds=0)
    assert capsys.readouterr() == ("", "")


def test_of_one_that_nobody_is_seen_to_hold(waiting: int) -> None:
    assert file_lock.holder(waiting) == "a process that cannot be seen from here (in another container?)"
