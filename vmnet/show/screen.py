"""Showing outlines: in colour where stdout is a terminal, as plain text else.

The colours are rich's, which comes with the extra `terminal`; without it the text is the same.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from typing import TYPE_CHECKING

from vmnet.show.outline import lines, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.text import Text

    from vmnet.show.outline import Node

_USUAL_SIZE = (100, 24)
"""Columns and rows of a terminal that does not say."""
_NO_END = 1 << 16
"""Columns of what is no terminal: who searches a file or a pipe wants whole lines."""
_COLOURS = {
    "": "",
    "title": "bold",
    "good": "green",
    "warning": "yellow",
    "bad": "bold red",
    "dim": "dim",
}


def show(nodes: Sequence[Node], *, again: bool = False) -> None:
    """Print the outline to stdout; `again` sets it off from the one before."""
    gap = "\n" if again else ""
    if not (_takes_colour() and _show_coloured(nodes, _width())):
        print(f"{gap}{plain(nodes, _width())}", flush=True)  # noqa: T201 # what was asked for goes to stdout


def is_terminal() -> bool:
    """Whether somebody looks on who sees a text renewed in its place."""
    return sys.stdout.isatty() and (os.environ.get("TERM") or "dumb") != "dumb"


@contextlib.contextmanager
def live() -> Iterator[Callable[[Sequence[Node]], None]]:
    """Give what renews an outline in its place on a terminal; without rich, each follows the one before."""
    try:
        from rich.console import Console
        from rich.live import Live
    except ModuleNotFoundError:
        yield lambda nodes: show(nodes, again=True)
        return
    console = Console(width=_width(), highlight=False, no_color=not _takes_colour())
    with Live(console=console, auto_refresh=False) as shown:
        yield lambda nodes: shown.update(_coloured(nodes, _width()), refresh=True)


def _width() -> int:
    if not sys.stdout.isatty() and "COLUMNS" not in os.environ:
        return _NO_END
    return shutil.get_terminal_size(_USUAL_SIZE).columns


def _takes_colour() -> bool:
    """Whether stdout is a terminal that can, and nobody asked for no colour (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and (os.environ.get("TERM") or "dumb") != "dumb"


def _show_coloured(nodes: Sequence[Node], width: int) -> bool:
    """Print the outline in colour; False where rich is not installed."""
    try:
        from rich.console import Console
    except ModuleNotFoundError:
        return False
    Console(width=width, highlight=False).print(_coloured(nodes, width), overflow="ignore", crop=False)
    return True


def _coloured(nodes: Sequence[Node], width: int) -> Text:
    """The outline with its colours."""
    from rich.text import Text

    drawn = (
        Text.assemble((line.branches, "dim"), (line.text, _COLOURS[line.style])) for line in lines(nodes, width)
    )
    return Text("\n", no_wrap=True, overflow="ignore").join(drawn)
