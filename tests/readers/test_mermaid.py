"""Mermaid itself reads the drawings, and finds in them what was drawn."""

from __future__ import annotations

import html
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from testbed.netns import run
from tests.need import need
from tests.unit import layouts
from tests.unit.journals import IPV6_ONLY, journal, of_pod
from vmnet.drawing import drawn
from vmnet.drawing.picture import picture

if TYPE_CHECKING:
    from vmnet.schema import Journal

PARSER = Path(__file__).parents[2] / "testbed" / "mermaid"
AWKWARD = ('"end"', "a;b", "#quot;", "<i>&amp;", "`x`", "%%{init: x}%%", "end", "--> x", "1. x", "a\\nb")
"""Names that no link has; each would be something else to Mermaid, were it not written as text."""
CACHE = Path(__file__).parents[2] / ".cache" / "mermaid"


@pytest.fixture(scope="session")
def parser() -> Path:
    """Mermaid, from the registry at the versions of the lock, which holds the packages' checksums."""
    for program in ("node", "npm"):
        need(program, "nodejs npm", "readers")
    for name in ("package.json", "package-lock.json", "parse.mjs"):
        CACHE.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PARSER / name, CACHE / name)
    if not (CACHE / "node_modules" / "mermaid").exists():
        run(["npm", "ci", "--prefix", CACHE, "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts"])
    return CACHE / "parse.mjs"


def read(parser: Path, directory: Path, drawings: list[str]) -> list[dict[str, Any]]:
    paths = [directory / f"{number}.mermaid" for number in range(len(drawings))]
    for path, text in zip(paths, drawings, strict=True):
        path.write_text(text, encoding="utf-8")
    said = run(["node", parser, *paths]).stdout
    return [json.loads(line) for line in said.splitlines()]


@pytest.mark.timeout(1200)
def test_mermaid_finds_what_was_drawn(parser: Path, tmp_path: Path) -> None:
    journals: list[Journal] = [journal(layout) for layout in (*layouts.NAMES, IPV6_ONLY)]
    found = read(parser, tmp_path, [drawn(saved, "mermaid") for saved in journals])
    for saved, seen in zip(journals, found, strict=True):
        drawing = picture(saved)
        nodes = dict(seen["nodes"])
        before, after = drawing.before, drawing.after
        assert set(nodes) == {
            *(f"before_{box.kind}" for box in before.column),
            *(f"after_{box.kind}" for box in (*after.column, *after.beside)),
        }
        assert len(seen["edges"]) == len(before.column) - 1 + len(after.column) - 1 + 1
        for box in after.column:
            assert all(f"{word} {phrase}" in nodes[f"after_{box.kind}"] for word, phrase in box.facts)
        assert seen["title"] == drawing.title


@pytest.mark.timeout(1200)
def test_what_means_something_to_mermaid_is_text(parser: Path, tmp_path: Path) -> None:
    pod = journal("bridge").pod
    drawings = [drawn(of_pod(replace(pod, ifname=name)), "mermaid") for name in AWKWARD]
    for name, seen in zip(AWKWARD, read(parser, tmp_path, drawings), strict=True):
        assert len(seen["nodes"]) == 9, name
        assert shown(dict(seen["nodes"])["after_stand_in"]).startswith(f"<b>{name}</b>"), name


def shown(text: str) -> str:
    """What is put on the page: Mermaid keeps entities in a spelling of its own until then (decodeEntities)."""
    return html.unescape(text.replace("ﬂ°°", "&#").replace("ﬂ°", "&").replace("¶ß", ";"))
