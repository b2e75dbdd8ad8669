"""Lease after lease from one server: it neither grows nor keeps anything open."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.netns.raw_client import served
from tests.netns.trials import SOAK

if TYPE_CHECKING:
    from pathlib import Path

EXCHANGES = 1_000_000 if SOAK else 50_000
WARM_UP = 1000
MIB = 1 << 20


@pytest.mark.timeout(3600 if SOAK else 180)
def test_the_server_is_the_same_after_many_exchanges(tmp_path: Path) -> None:
    with served(tmp_path) as mine:
        for _ in range(WARM_UP):
            mine.client.exchange()
        resident, descriptors, began = mine.memory(), mine.descriptors(), time.monotonic()
        for _ in range(EXCHANGES):
            mine.client.exchange()
        seconds, grown = time.monotonic() - began, mine.memory() - resident

        print(  # noqa: T201 -- a figure
            f"{EXCHANGES:,} exchanges in {seconds:.0f} s, {mine.client.resent} asked again; resident "
            f"{mine.memory() / MIB:.1f} MiB, {grown / MIB:+.2f} MiB; {mine.descriptors()} descriptors"
        )
        assert mine.report()["events"]["ack_selecting"] >= EXCHANGES
        assert abs(grown) <= MIB
        assert mine.descriptors() == descriptors
