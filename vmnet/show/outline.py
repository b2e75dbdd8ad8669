"""What the interactive verbs show: an outline, drawn as lines of at most a width. Pure."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmnet.show.log import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

STYLES = ("", "title", "good", "warning", "bad", "dim")
_NARROWEST = 20
"""Columns that a text has however deep it stands: below that, lines are longer than the width."""


@dataclass(frozen=True, slots=True)
class Node:
    """A text and what belongs to it. The style is one of `STYLES`; without it the text says all, too."""

    text: str
    style: str = ""
    children: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """A line as it is shown: the tree's branches, then the text."""

    branches: str
    text: str
    style: str


def plain(nodes: Sequence[Node], width: int) -> str:
    """Draw the outline without colour."""
    return "\n".join(f"{line.branches}{line.text}".rstrip() for line in lines(nodes, width))


def lines(nodes: Sequence[Node], width: int) -> Iterator[Line]:
    """Draw the outline, control characters escaped, long texts wrapped with a hanging indent."""
    for node in nodes:
        yield from _drawn(node, width, "", "")


def _drawn(node: Node, width: int, first: str, rest: str) -> Iterator[Line]:
    """Draw a node whose own line begins with the branches `first`, and all below it with `rest`."""
    # Where a text goes on, the branch to what stands below it goes past.
    hanging = f"{rest}│ " if node.children else f"{rest}  "
    branches = first
    for line in _wrapped(node.text, width, first, hanging):
        yield Line(branches, line[len(branches) :], node.style)
        branches = hanging
    for left, child in zip(reversed(range(len(node.children))), node.children, strict=True):
        yield from _drawn(child, width, f"{rest}{'├─ ' if left else '└─ '}", f"{rest}{'│  ' if left else '   '}")


def _wrapped(text: str, width: int, first: str, hanging: str) -> list[str]:
    return textwrap.wrap(
        escape(text),
        max(width, len(hanging) + _NARROWEST),
        initial_indent=first,
        subsequent_indent=hanging,
        break_on_hyphens=False,  # options and device names are searched for and pasted
    ) or [first]
