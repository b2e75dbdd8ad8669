"""Time spans in the lease files of systemd-networkd."""

from __future__ import annotations

import pytest

from testbed.jailed import time_span


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("86400", 86400), ("1d", 86400), ("11h 59min 30s", 43170), ("1month", 2629800), ("", None)],
)
def test_a_time_span_is_seconds(text: str, seconds: int | None) -> None:
    assert time_span(text) == seconds
