"""What is measured beside a test: printed, never asserted, since each machine is another.

`make bench` measures what SPECIFICATION.md promises in time; `make soak`, which has the machine to itself, holds
what is measured here against its limit. Which other files may read a clock, tests/unit/test_measures.py lists.
"""

from __future__ import annotations

import resource
import time
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING

from tests.extent import SOAK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def tell(what: str, value: float, unit: str, at_most: float = inf, at_least: float = -inf) -> None:
    """Print a figure; in `make soak` it must keep to its limits."""
    print(f"{what}: {value:,.4g} {unit}")  # noqa: T201 # a figure
    if SOAK:
        assert at_least <= value <= at_most, f"{what}: {value} {unit}, not {at_least} to {at_most}"


@contextmanager
def timed(what: str, at_most: float = inf) -> Iterator[None]:
    """Tell how many seconds the block took."""
    began = time.monotonic()
    yield
    tell(what, time.monotonic() - began, "s", at_most)


def least_cpu(work: Callable[[], object], times: int = 5) -> float:
    """The seconds of CPU that the programs which `work` runs need, the least of several times."""
    spent = []
    for _ in range(times):
        before = _cpu_of_children()
        work()
        spent.append(_cpu_of_children() - before)
    return min(spent)


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
