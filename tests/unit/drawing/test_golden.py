"""Whole drawings beside what was looked at once: tests/data/drawings. VMNET_GOLDEN=write writes them anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.journals import IPV6_ONLY, journal
from vmnet.config import PLAN_FORMATS
from vmnet.drawing import drawn

GOLDEN = Path(__file__).parents[2] / "data" / "drawings"
LAYOUTS = ("bridge", "bridge-dual", "calico", IPV6_ONLY)


@pytest.mark.parametrize("form", ["mermaid", "svg"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_drawing_is_the_golden_one(layout: str, form: str) -> None:
    text = drawn(journal(layout), form)
    path = GOLDEN / f"{layout}.{form}"
    if os.environ.get("VMNET_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_every_format_of_the_command_line_can_be_drawn() -> None:
    for form in set(PLAN_FORMATS) - {"text", "json"}:
        assert drawn(journal("bridge"), form)
