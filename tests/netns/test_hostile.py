"""Frames in the manner of published flaws, each through the real server: the same server serves on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from testbed.agent import lives
from tests import figures
from tests.netns.hostile_frames import HOSTILE, Hostile
from tests.netns.raw_client import Served, served

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
EXCHANGE = {"events": {"offer": 1, "ack_selecting": 1}, "ignored": {}}


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for all of them: what one frame breaks, a later exchange shows."""
    with served(tmp_path_factory.mktemp("hostile")) as made:
        yield made


def test_there_are_enough_and_each_has_a_name_of_its_own() -> None:
    assert len({hostile.name for hostile in HOSTILE}) == len(HOSTILE) >= 40


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda hostile: hostile.name)
def test_the_same_server_serves_the_next_exchange(hostile: Hostile, mine: Served) -> None:
    before = mine.report()
    mine.client.tap.send(hostile.made(mine.client))
    figures.tell("the next exchange", mine.client.exchange(), "s", at_most=1)
    found = _news(before, mine.report())

    expected: dict[str, dict[str, int]] = {room: dict(counts) for room, counts in EXCHANGE.items()}
    if hostile.becomes:
        room = "ignored" if hostile.becomes in found["ignored"] else "events"
        expected[room][hostile.becomes] = expected[room].get(hostile.becomes, 0) + 1
    assert found == expected


def test_it_is_still_the_same_server_and_has_not_grown(mine: Served) -> None:
    resident = mine.memory()
    for hostile in HOSTILE:
        mine.client.tap.send(hostile.made(mine.client))
        mine.client.tap.take(0.001)
    mine.client.exchange()

    assert lives(mine.server)
    assert mine.report()["pid"] == mine.server
    assert mine.report()["errors"] == {}
    assert mine.memory() - resident <= MIB


def _news(before: dict[str, Any], after: dict[str, Any]) -> dict[str, dict[str, int]]:
    """The counters that moved, and how far."""
    return {
        room: {
            name: count - before[room].get(name, 0)
            for name, count in after[room].items()
            if count != before[room].get(name, 0)
        }
        for room in EXCHANGE
    }
