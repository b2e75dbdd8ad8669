"""The fuzzer runs beside the other tests, at a low priority, and is looked at last; but a worker waits for it."""

from __future__ import annotations

import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from testbed.netns import Background
from testbed.requirements import required
from tests.extent import amount

HERE = Path(__file__).parent
RUNS = amount(15_000, 300_000)
FOR_EVER = "0"
"""Seconds: libFuzzer's word for no limit."""
STARTED = pytest.StashKey[Background]()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the look at the fuzzer behind all other tests; but with workers, one is busy with it."""
    if not _is_worker(config):
        items.sort(key=_is_ours)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start it, if it will be asked for; a worker does not know that of itself."""
    wanted = any(map(_is_ours, session.items)) and not session.config.option.collectonly
    if wanted and not _is_worker(session.config):
        _start(session.config)


def _start(config: pytest.Config) -> None:
    if find_spec("atheris"):
        directory = Path(tempfile.mkdtemp(prefix="vmnet-fuzz-"))
        command = [sys.executable, "-m", "tests.fuzz", FOR_EVER, str(directory / "corpus"), str(RUNS)]
        config.stash[STARTED] = Background(["nice", "-n", "10", *command], directory / "fuzz.log")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing running, and of a run that found nothing no files either."""
    fuzzer = config.stash.get(STARTED, None)
    if fuzzer is not None:
        fuzzer.stop()
        if fuzzer.process.returncode == 0:
            shutil.rmtree(fuzzer.log.parent)


@pytest.fixture
def fuzzer(request: pytest.FixtureRequest) -> Background:
    if _is_worker(request.config):
        _start(request.config)
    started = request.config.stash.get(STARTED, None)
    if started is None and required("fuzz"):
        pytest.fail("atheris is not installed (VMNET_REQUIRE names fuzz)", pytrace=False)
    if started is None:
        pytest.skip("atheris is not installed")
    return started


def _is_ours(item: pytest.Item) -> bool:
    return item.path.parent == HERE


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")
