"""Lease after lease from one server: it neither grows nor keeps anything open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import figures
from tests.extent import amount
from tests.netns.raw_client import served

if TYPE_CHECKING:
    from pathlib import Path

EXCHANGES = amount(3_000, 50_000, 1_000_000)
WARM_UP = 1000
MIB = 1 << 20


@pytest.mark.timeout(3600)
def test_the_server_is_the_same_after_many_exchanges(tmp_path: Path) -> None:
    with served(tmp_path) as mine:
        for _ in range(WARM_UP):
            mine.client.exchange()
        resident, descriptors = mine.memory(), mine.descriptors()
        with figures.timed(f"{EXCHANGES:,} exchanges"):
            for _ in range(EXCHANGES):
                mine.client.exchange()
        grown = mine.memory() - resident
        figures.tell("resident", mine.memory() / MIB, "MiB")
        figures.tell("grown by", grown / MIB, "MiB")
        assert mine.report()["events"]["ack_selecting"] >= EXCHANGES
        assert abs(grown) <= MIB
        assert mine.descriptors() == descriptors
