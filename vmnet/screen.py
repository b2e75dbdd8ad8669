"""Showing outlines: in colour where stdout is a terminal, as plain text else.

The colours are rich's, which comes with the extra `terminal`; without it the text is the same.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

from vmnet.outline import lines, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vmnet.outline import Node

_USUAL_SIZE = (100, 24)
"""Columns and rows where there is no terminal and no COLUMNS."""
_COLOURS = {
    "": "",
    "title": "bold",
    "good": "green",
    "warning": "yellow",
    "bad": "bold red",
    "dim": "dim",
}


def show(nodes: Sequence[Node]) -> None:
    """Print the outline to stdout."""
    width = shutil.get_terminal_size(_USUAL_SIZE).columns
    if not (_takes_colour() and _show_coloured(nodes, width)):
        print(plain(nodes, width))  # noqa: T201 # what was asked for goes to stdout


def _takes_colour() -> bool:
    """Whether stdout is a terminal that can, and nobody asked for no colour (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and (os.environ.get("TERM") or "dumb") != "dumb"


def _show_coloured(nodes: Sequence[Node], width: int) -> bool:
    """Print the outline in colour; False where rich is not installed."""
    try:
        from rich.console import Console
        from rich.text import Text
    except ModuleNotFoundError:
        return False
    console = Console(width=width, highlight=False)
    for line in lines(nodes, width):
        text = Text.assemble((line.branches, "dim"), (line.text, _COLOURS[line.style]))
        console.print(text, no_wrap=True, overflow="ignore", crop=False)
    return True
