"""The rooms of the tests: the folder gives the mark."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROOMS = ("unit", "readers", "netns", "vm", "image")
BUILDS = pytest.mark.timeout(900)
"""The first test of an image builds it, from nothing on a new machine."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with the room it lives in."""
    for item in items:
        room = item.path.relative_to(TESTS).parts[0]
        if room in ROOMS:
            item.add_marker(room)
        if room == "image":
            item.add_marker(BUILDS)
