"""Mermaid itself reads the drawings, and finds in them what was drawn."""

from __future__ import annotations

import html
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from testbed.netns import run
from tests.need import need
from tests.testlib import layouts
from tests.testlib.journals import IPV6_ONLY, journal, of_pod
from vmnet.diagnosis.drawing import drawn
from vmnet.diagnosis.drawing.picture import picture

if TYPE_CHECKING:
    from vmnet.saved.schema import Journal

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


@dataclass(frozen=True)
class Drawings:
    """Journals, and what Mermaid makes of their drawings."""

    pods: list[tuple[Journal, dict[str, Any]]]
    """Of each layout."""
    awkward: list[tuple[str, dict[str, Any]]]
    """Of interfaces with awkward names."""


@pytest.fixture(scope="module")
def drawings(parser: Path, tmp_path_factory: pytest.TempPathFactory) -> Drawings:
    """Let Mermaid read all of them at once: its start takes longer than what it reads."""
    pods = [journal(layout) for layout in (*layouts.NAMES, IPV6_ONLY)]
    pod = journal("bridge").pod
    awkward = [of_pod(replace(pod, ifname=name)) for name in AWKWARD]
    found = read(parser, tmp_path_factory.mktemp("drawings"), [drawn(one, "mermaid") for one in (*pods, *awkward)])
    return Drawings(
        list(zip(pods, found[: len(pods)], strict=True)), list(zip(AWKWARD, found[len(pods) :], strict=True))
    )


@pytest.mark.timeout(1200)
def test_mermaid_finds_what_was_drawn(drawings: Drawings) -> None:
    for saved, seen in drawings.pods:
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
def test_what_means_something_to_mermaid_is_text(drawings: Drawings) -> None:
    for name, seen in drawings.awkward:
        assert len(seen["nodes"]) == 9, name
        assert shown(dict(seen["nodes"])["after_stand_in"]).startswith(f"<b>{name}</b>"), name


def shown(text: str) -> str:
    """What is put on the page: Mermaid keeps entities in a spelling of its own until then (decodeEntities)."""
    return html.unescape(text.replace("ﬂ°°", "&#").replace("ﬂ°", "&").replace("¶ß", ";"))
