"""The rooms that docs/design.md shows are those of the tree, and none is empty or without a word on what it is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
ROOMS = {path.parent.name: path for path in (REPOSITORY / "vmnet").glob("*/__init__.py")}


def test_the_page_shows_each_room_and_no_other() -> None:
    page = (REPOSITORY / "docs" / "design.md").read_text(encoding="utf-8")
    shown = re.findall(r"^  ([a-z_]+)/ ", page.partition("## Rooms")[2], re.MULTILINE)
    assert sorted(shown) == sorted(ROOMS)


def test_nothing_stands_beside_the_rooms_but_the_errors() -> None:
    flat = {path.name for path in (REPOSITORY / "vmnet").glob("*.py")}
    assert flat == {"__init__.py", "__main__.py", "errors.py"}


def test_each_room_says_what_it_is_and_nothing_else() -> None:
    """What a package's own file holds is imported with each of its modules."""
    for path in (REPOSITORY / "vmnet").glob("**/__init__.py"):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        if path.parent.name not in ("vmnet", "drawing"):
            assert [type(node).__name__ for node in body] == ["Expr"], path
