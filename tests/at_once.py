"""The same work on several things side by side, and for each what came of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Item = TypeVar("Item")
Result = TypeVar("Result")


class Outcome(Generic[Result]):
    """What the work gave, or how it failed: told when it is asked for."""

    def __init__(self, work: Callable[[], Result]) -> None:
        self._error: BaseException | None = None
        try:
            self._result = work()
        except BaseException as error:  # noqa: BLE001 # it is raised again by whoever asks
            self._error = error

    def get(self) -> Result:
        """The result; raises what the work raised."""
        if self._error is not None:
            raise self._error
        return self._result


def at_once(items: Iterable[Item], work: Callable[[Item], Result], workers: int) -> dict[Item, Outcome[Result]]:
    """Do the work for every item, so many at a time; one that fails keeps no other from ending."""
    with ThreadPoolExecutor(workers) as pool:
        done = {item: pool.submit(Outcome[Result], partial(work, item)) for item in items}
        return {item: future.result() for item, future in done.items()}
