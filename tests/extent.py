"""How much is tried of what could be: a sample by `make test`, all by `make test-all`, more by `make soak`.

There is one copy of each test. What is tried in it, and how often, is asked here; so are the cases that only
`make test-all` runs, which bear the mark `exhaustive`.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from _pytest.mark import ParameterSet

Case = TypeVar("Case")
EXTENTS = ("sample", "all", "soak")
EXTENT = os.environ.get("VMNET_EXTENT", EXTENTS[0])
"""Set by the Makefile."""
if EXTENT not in EXTENTS:
    raise ValueError(f"VMNET_EXTENT={EXTENT}: name one of {', '.join(EXTENTS)}")
SOAK = EXTENT == "soak"
ALL = EXTENT != "sample"


def amount(sample: int, whole: int, soak: int = 0) -> int:
    """How many, in each of the three; `make soak` does what `make test-all` does unless told otherwise."""
    return {"sample": sample, "all": whole, "soak": soak or whole}[EXTENT]


def some(cases: Iterable[Case], one_of: int) -> list[Case]:
    """All the cases; in a sample one of so many, evenly, so that each run of `make test` tries the same."""
    every = list(cases)
    return every if ALL else every[::one_of]


def turn(cases: Sequence[Case], number: int, sample: int) -> list[Case]:
    """All the cases; in a sample so many, from another place for each number, so that together they are all."""
    return list(cases) if ALL else [cases[(number * sample + offset) % len(cases)] for offset in range(sample)]


def chosen(cases: Iterable[Case], is_chosen: Callable[[Case], bool]) -> list[Case | ParameterSet]:
    """Parameters of a test: those that are not chosen for the sample are run by `make test-all`."""
    return [case if is_chosen(case) else pytest.param(case, marks=pytest.mark.exhaustive) for case in cases]


def sampled(cases: Iterable[Case], one_of: int) -> list[Case | ParameterSet]:
    """Parameters of a test: one of so many is in the sample, evenly; `make test-all` runs the others."""
    every = list(cases)
    return chosen(every, every[::one_of].__contains__)


def seed() -> int:
    """VMNET_SEED, or one that is the same in each sample and a new one otherwise. Printed, to try it again."""
    given = os.environ.get("VMNET_SEED")
    number = int(given) if given else random.SystemRandom().randrange(1 << 32) if ALL else 1
    print(f"VMNET_SEED={number}")  # noqa: T201 # to try the same again
    return number
