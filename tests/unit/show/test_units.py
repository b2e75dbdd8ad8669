"""Spans and counts."""

from __future__ import annotations

import pytest

from vmnet.show.units import count, span


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, "0.0 s"),
        (9.94, "9.9 s"),
        (10.2, "10 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (252, "4 min 12 s"),
        (3600, "1 h"),
        (11100, "3 h 5 min"),
        (86400 * 2 + 3600 * 4, "2 d 4 h"),
    ],
)
def test_span(seconds: float, said: str) -> None:
    assert span(seconds) == said


def test_count() -> None:
    assert [count(number, "frame") for number in (0, 1, 2)] == ["no frames", "1 frame", "2 frames"]
