"""The rooms of the tests: the folder gives the mark."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

TESTS = Path(__file__).parent
ROOMS = ("unit", "netns", "vm", "image")
BUILDS = pytest.mark.timeout(900)
"""The first test of an image builds it, from nothing on a new machine."""
FIGURES = pytest.StashKey[dict[str, str]]()
"""What the summary says at the end, by name."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark each test with the room it lives in; let workers begin with the rooms whose tests take longest."""
    for item in items:
        room = item.path.relative_to(TESTS).parts[0]
        if room in ROOMS:
            item.add_marker(room)
        if room == "image":
            item.add_marker(BUILDS)
        if _shares(item):
            item.add_marker(pytest.mark.xdist_group(f"{room}/{item.path.name}"))
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.get_closest_marker("unit") is not None)


def _shares(item: pytest.Item) -> bool:
    """Whether it shares something with other tests of its file, which then all go to one worker."""
    if not isinstance(item, pytest.Function):
        return False
    definitions = chain.from_iterable(item._fixtureinfo.name2fixturedefs.values())
    return any(definition.scope in ("module", "class") for definition in definitions)


def pytest_configure(config: pytest.Config) -> None:
    """A worker's figures go to whom it works for."""
    config.stash[FIGURES] = {}
    if hasattr(config, "workeroutput"):
        config.workeroutput["figures"] = config.stash[FIGURES]


def pytest_testnodedown(node: WorkerController) -> None:
    """Take a worker's figures."""
    node.config.stash[FIGURES].update(getattr(node, "workeroutput", {}).get("figures", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the figures."""
    for name, figure in config.stash[FIGURES].items():
        terminalreporter.write_line(f"{name}: {figure}")
