"""SIGKILL at any instant: one more `up` or one more `down` puts everything right.

┌ pod ──┐
│ eth0  │   vmnet dies after each of its changes, before each of its calls, and at random
└───────┘
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from testbed.pods import must_answer
from tests.extent import amount, chosen, seed, some
from tests.netns.forked import killed_after, killed_before_call
from tests.netns.trials import MIXED, side_by_side

if TYPE_CHECKING:
    from pathlib import Path

    from tests.netns.forked import Ended, Tamper
    from tests.netns.trials import Trial

LAYOUTS = ("ptp-dual", "calico-dual", "cilium", "ovn", "aws", "ipv6-only", "all-of-ipv6")
SAMPLE = ("ptp-dual",)
"""Both families; the one with the most changes, all-of-ipv6, takes three times as long."""
MOST_CHANGES = 60
MOST_CALLS = 72
SCENARIOS = amount(10, 200, 2000)
VERBS = ("up", "up", "down", "serve")
LONGEST = 0.16
"""Seconds before a death that comes at any time: what `down` takes where nothing else is at work."""


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("layout", chosen(LAYOUTS, SAMPLE.__contains__))
def test_killed_after_every_change_of_the_kernel(layout: str, tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []
    changes: dict[str, int] = {}

    def work(trial: Trial, number: int) -> None:
        if number <= max(map(len, trial.changes)):
            seen.extend(_kill_and_recover(trial, killed_after(number), f"killed after change {number}"))
        if number == 1:
            changes.update(zip(("up", "down"), map(len, trial.changes), strict=True))
            must_answer(trial.pod.netns, trial.pod.peer)

    numbers = some(range(1, MOST_CHANGES), 4)
    side_by_side((layout,), tmp_path, numbers, work)
    print(f"{layout}: {changes} changes, {len(seen)} kills")  # noqa: T201 # a figure for SPECIFICATION.md
    for verb, count in changes.items():
        assert {number for of, number in seen if of == verb} >= {tried for tried in numbers if tried <= count}, (
            verb
        )


def _kill_and_recover(trial: Trial, death: Tamper, when: str) -> list[tuple[str, int]]:
    """Kill `up` of the untouched pod and `down` of the bound one there; put each right once with either verb.

    Returns the kills. A verb that has ended well before it could be killed needs no second.
    """
    kills: list[tuple[str, int]] = []

    def killed(first: str, second: str) -> bool:
        after = f"{first} {when}, then {second}"
        ended = trial.vmnet.run(first, tamper=death)
        trial.must_have_its_facts(after)
        if not ended.killed:
            ended.ok()
            return False
        kills.append((first, len(ended.changes)))
        trial.vmnet.run(second).ok()
        (trial.must_be_up if second == "up" else trial.must_be_as_found)(after)
        return True

    killed("up", "up")
    if killed("down", "up"):
        killed("down", "down")
    if not killed("up", "down"):
        trial.vmnet.down()
    return kills


def test_killed_before_every_call_to_files_and_processes(tmp_path: Path) -> None:
    seen: dict[int, list[str]] = {}

    def work(trial: Trial, number: int) -> None:
        kills = _kill_and_recover(trial, killed_before_call(number), f"killed before call {number}")
        seen[number] = [verb for verb, _changes in kills]

    side_by_side(("bridge-dual",), tmp_path, [*some(range(1, MOST_CALLS - 1), 12), MOST_CALLS - 1], work)
    last = {verb: max(number for number, verbs in seen.items() if verb in verbs) for verb in ("up", "down")}
    print(f"the last call: {last}")  # noqa: T201 # a figure for SPECIFICATION.md
    assert last["up"] > 20
    assert last["down"] > 5
    assert seen[MOST_CALLS - 1] == [], "there are more calls than were tried"


@pytest.mark.timeout(3600)
def test_killed_at_random(tmp_path: Path) -> None:
    """Half of the deaths come at a change or a call, half at any time at all, however long a verb takes here."""
    first = seed()
    recovered: list[int] = []
    at_work: list[int] = []

    def work(trial: Trial, number: int) -> None:
        rng = random.Random(f"{first} {number}")  # noqa: S311 # not for secrets
        story = [rng.choice(VERBS) for _ in range(rng.randint(1, 4))]
        for verb in story:
            ended = _killed_somewhere(trial, verb, rng)
            at_work.extend([number] if ended.killed and ended.changes else [])
            trial.must_have_its_facts(f"scenario {number}: {story}")
        trial.vmnet.up()
        trial.must_be_up(f"scenario {number}: {story}, then up")
        trial.vmnet.down()
        trial.must_be_as_found(f"scenario {number}: {story}, then up, then down")
        recovered.append(number)

    side_by_side(MIXED, tmp_path, range(SCENARIOS), work)
    print(f"{len(at_work)} killed between their first change and their end")  # noqa: T201 # a figure
    assert len(recovered) == SCENARIOS
    assert len(at_work) > SCENARIOS / 20


def _killed_somewhere(trial: Trial, verb: str, rng: random.Random) -> Ended:
    """Start a verb and kill it: at a change, before a call, or after a while."""
    how = rng.choice((killed_after(rng.randint(1, 24)), killed_before_call(rng.randint(1, 20)), None, None))
    running = trial.vmnet.start(verb, tamper=how)
    if how is None or verb == "serve":
        running.ends_within(rng.uniform(0, LONGEST))
        running.kill()
    return running.wait()
