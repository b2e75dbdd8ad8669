"""Whole drawings beside what was looked at once: tests/data/drawings, and the one that the documents show.

VMNET_GOLDEN=write writes them anew.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.testlib.journals import IPV6_ONLY, journal
from vmnet.diagnosis.drawing import drawn
from vmnet.model.lease import Resolver
from vmnet.settings.config import PLAN_FORMATS

GOLDEN = Path(__file__).parents[3] / "data" / "drawings"
DOCUMENTED = Path(__file__).parents[4] / "docs" / "pod.svg"
LAYOUTS = ("bridge", "bridge-dual", "calico", IPV6_ONLY)


@pytest.mark.parametrize("form", ["mermaid", "svg"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_drawing_is_the_golden_one(layout: str, form: str) -> None:
    compare(drawn(journal(layout), form), GOLDEN / f"{layout}.{form}")


def test_the_documents_show_what_vmnet_draws() -> None:
    resolver = Resolver(("10.96.0.10",), ("cluster.local",))
    compare(drawn(journal("bridge-dual", resolver=resolver), "svg"), DOCUMENTED)


def compare(text: str, path: Path) -> None:
    """Assert that a file holds the text, or write it there."""
    if os.environ.get("VMNET_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_every_format_of_the_command_line_can_be_drawn() -> None:
    for form in set(PLAN_FORMATS) - {"text", "json"}:
        assert drawn(journal("bridge"), form)
