"""A room that cannot be entered: skipped on a developer's machine, an error where `VMNET_REQUIRE` names it."""

from __future__ import annotations

import pytest

from testbed.requirements import missing, required


def require(room: str) -> None:
    """Go on only if the machine has what the room needs; else one line says what to install."""
    lacking = missing(room)
    if lacking and required(room):
        pytest.fail(f"{lacking} (VMNET_REQUIRE names {room})", pytrace=False)
    if lacking:
        pytest.skip(lacking)
