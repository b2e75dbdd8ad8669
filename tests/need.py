"""A program that one test needs beyond its room: skipped without it, an error where the room is required."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from testbed.requirements import required

if TYPE_CHECKING:
    from pathlib import Path


def need(program: str | Path, package: str, room: str = "netns") -> None:
    """Go on only if the program is there; else one line says what to install."""
    if shutil.which(program) is not None:
        return
    reason = f"this needs: apt-get install {package}"
    if required(room):
        pytest.fail(f"{reason} (VMNET_REQUIRE names {room})", pytrace=False)
    pytest.skip(reason)
