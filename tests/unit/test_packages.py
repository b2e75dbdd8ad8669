"""What a test needs, `make` installs, and `.ci/run` demands: a tool that is missing is an error there, no skip."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from testbed.requirements import TOOLS

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[2]
INSTALLED = {
    line.split()[0]
    for path in REPOSITORY.glob("testbed/*-packages.txt")
    for line in path.read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
}
ESSENTIAL = {"bash"}
"""Every Debian has it."""
DEMANDED = re.findall(r"^export VMNET_REQUIRE=(\S+)$", (REPOSITORY / ".ci" / "run").read_text(), re.MULTILINE)


def calls() -> Iterator[tuple[str, list[str], str]]:
    """Where a test says that it needs a program: the file, the packages that bring it, and the room."""
    for path in sorted(REPOSITORY.glob("tests/*/*.py")):
        text = path.read_text(encoding="utf-8")
        if "need(" not in text:
            continue
        tree = ast.parse(text)
        names = {
            node.targets[0].id: str(node.value.value)
            for node in tree.body
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "need":
                said = [
                    names[word.id] if isinstance(word, ast.Name) else ast.literal_eval(word)
                    for word in node.args[1:]
                ]
                yield path.name, said[0].split(), said[1] if len(said) > 1 else "netns"


NEEDS = sorted({(file, *packages, room) for file, packages, room in calls()})


@pytest.mark.parametrize("needed", NEEDS, ids=" ".join)
def test_what_one_test_needs_is_installed_and_demanded(needed: tuple[str, ...]) -> None:
    _, *packages, room = needed
    assert set(packages) <= INSTALLED | ESSENTIAL
    assert room in DEMANDED[0].split(",")


@pytest.mark.parametrize("room", TOOLS)
def test_what_a_room_needs_is_installed_and_demanded(room: str) -> None:
    assert {tool.package for tool in TOOLS[room]} <= INSTALLED
    assert room in DEMANDED[0].split(",")
