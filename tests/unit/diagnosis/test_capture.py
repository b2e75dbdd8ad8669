"""Which frames are new, when the server is asked again and again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from vmnet.control.report import Frame
from vmnet.diagnosis import capture

if TYPE_CHECKING:
    from collections.abc import Iterable


def kept(numbers: Iterable[int], at: float = 0.0) -> list[Frame]:
    return [Frame(number, at + number, "guest", "offer", 14, bytes(14)) for number in numbers]


def taken(now: list[Frame], shown: Frame | None) -> tuple[list[int], Frame | None]:
    numbers: list[int] = []
    last = capture._taken(now, shown, lambda frame: numbers.append(frame.number))
    return numbers, last


def test_what_was_shown_is_not_shown_again() -> None:
    first, last = taken(kept(range(4)), None)
    again, same = taken(kept(range(4)), last)
    more, _ = taken(kept(range(6)), same)
    assert (first, again, more) == ([0, 1, 2, 3], [], [4, 5])


def test_frames_that_were_gone_before_they_were_seen_are_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    numbers, _ = taken(kept(range(100, 164)), kept([7])[0])
    assert numbers == list(range(100, 164))
    said = json.loads(capsys.readouterr().err)
    assert (said["event"], said["message"].partition(" ")[0]) == ("frames-lost", "92")


@pytest.mark.parametrize(
    ("now", "anothers"),
    [
        (kept(range(4)), False),
        (kept(range(64, 128)), False),
        (kept(range(2)), True),
        (kept(range(4), at=50.0), True),
        (kept(range(9), at=50.0), True),
    ],
)
def test_another_server_is_known_by_its_frames(now: list[Frame], anothers: bool) -> None:
    assert capture._is_anothers(now, kept([3])[0]) is anothers
