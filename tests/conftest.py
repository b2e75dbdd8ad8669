"""The rooms of the tests: the folder gives the mark."""

from __future__ import annotations

import gc
import signal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.extent import ALL

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

TESTS = Path(__file__).parent
ROOMS = ("unit", "readers", "netns", "vm", "image")
BUILDS = pytest.mark.timeout(3600)
"""The first test of an image builds it, from nothing on a new machine."""
LONGEST = (
    "image/test_contents.py",  # builds the images, which the other files of the room then find
    "netns/test_lease_life.py",
    "vm/test_hook.py",
    "vm/test_launch.py",
    "netns/test_crash.py",
    "netns/test_ipv6_clients.py",
    "netns/test_faults.py",
    "netns/test_up_down.py",
    "vm/test_boot_clients.py",
    "netns/test_hostile_guest.py",
    "netns/test_render.py",
    "netns/test_concurrency.py",
    "netns/test_state_directory.py",
    "vm/test_guest.py",
    "fuzz/test_fuzz.py",
)
"""The files whose tests take longest, for the workers to begin with; some minutes are lost without it, no test."""
# No clock decides; a sample is the same each time.
settings.register_profile(
    "vmnet",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=not ALL,
    print_blob=True,
)
settings.load_profile("vmnet")
FIGURES = pytest.StashKey[dict[str, str]]()
"""What the summary says at the end, by name."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark each test with the room it lives in; leave out what is for `make test-all`; the longest files first."""
    for item in items:
        room, _, _ = _place(item.path).partition("/")
        if room in ROOMS:
            item.add_marker(room)
        if room == "image":
            item.add_marker(BUILDS)
    if not ALL:
        left = [item for item in items if item.get_closest_marker("exhaustive")]
        items[:] = [item for item in items if not item.get_closest_marker("exhaustive")]
        config.hook.pytest_deselected(items=left)
    if hasattr(config, "workerinput"):
        items.sort(key=_turn)


@cache
def _place(path: Path) -> str:
    return str(path.relative_to(TESTS))


def _turn(item: pytest.Item) -> int:
    """When a file's tests are handed to a worker."""
    name = _place(item.path)
    if name in LONGEST:
        return LONGEST.index(name)
    return len(LONGEST) + (item.get_closest_marker("unit") is not None)


def pytest_configure(config: pytest.Config) -> None:
    """A worker's figures go to whom it works for. Nothing of the collection is garbage: it is not looked for."""
    gc.disable()
    _hear_signals()
    config.stash[FIGURES] = {}
    if hasattr(config, "workeroutput"):
        config.workeroutput["figures"] = config.stash[FIGURES]


def _hear_signals() -> None:
    """Let what the tests start hear each signal, also where they run under nohup or behind a script's `&`.

    A signal that is ignored stays so in whatever is started, and a shell cannot even trap it; one with a handler
    does not (execve(2)).
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda _number, _frame: None)


def pytest_collection_finish() -> None:
    """What was collected stays: no later search for garbage goes through it, nor copies it in a child of ours."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: WorkerController) -> None:
    """Take a worker's figures."""
    node.config.stash[FIGURES].update(getattr(node, "workeroutput", {}).get("figures", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the figures."""
    for name, figure in config.stash[FIGURES].items():
        terminalreporter.write_line(f"{name}: {figure}")
