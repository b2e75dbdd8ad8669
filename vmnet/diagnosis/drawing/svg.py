"""A picture as SVG that stands for itself: no script, no font, nothing from elsewhere; in the reader's colours.

Sizes are user units, which are pixels where nobody scales the drawing.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

from vmnet.diagnosis.drawing.lettering import BOLD, MONOSPACE, SANS, broken
from vmnet.diagnosis.drawing.picture import SERVER, TAP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.diagnosis.drawing.picture import Box, Panel, Picture
    from vmnet.lease.facts import Fact

WIDTH = 1000
_MARGIN, _PADDING, _GAP = 20, 14, 28
_INSET = 16
"""From a half's edge to its boxes."""
_FOUND, _COLUMN, _BESIDE = 288, 324, 240
"""Widths of the boxes."""
_RIGHT = _MARGIN + _INSET + _FOUND + _INSET + _MARGIN
"""Where the right half begins."""
_TOP = 56
"""Where the pod begins, below the halves' titles."""
_ROW = 17
_TITLE, _TEXT, _FACT = 14, 12, 12
"""Sizes of the letters."""
_BELOW_TITLE = 4
_BESIDE_LOCK = 16
_BEFORE_ASIDE = 10
_STYLE = """\
.ground { fill: #ffffff } .pod { fill: #f6f8fa; stroke: #8c959f; stroke-dasharray: 5 4 }
rect { stroke-width: 1.2 } .network, .stand_in { fill: #ffffff; stroke: #8c959f }
.nic, .bridge, .tap { fill: #ddf4ff; stroke: #0969da } .vm { fill: #dafbe1; stroke: #1a7f37 }
.server { fill: #fff8c5; stroke: #9a6700 } .wire { stroke: #57606a; stroke-width: 2; fill: none }
.says { stroke: #9a6700; stroke-width: 2; stroke-dasharray: 3 3; fill: none }
.lock { fill: #bc4c00; stroke: none } .shackle { fill: none; stroke: #bc4c00; stroke-width: 1.5 }
text { fill: #1f2328; font-family: ui-sans-serif, system-ui, "DejaVu Sans", sans-serif; font-size: 12px }
.head { font-size: 17px; font-weight: 600 } .name { font-size: 14px; font-weight: 600 }
.small, .word { fill: #57606a } .small { font-size: 12px; font-weight: 400 }
.word, .fact { font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace }
@media (prefers-color-scheme: dark) {
.ground { fill: #0d1117 } .pod { fill: #151b23; stroke: #656c76 }
.network, .stand_in { fill: #0d1117; stroke: #656c76 }
.nic, .bridge, .tap { fill: #121d2f; stroke: #4493f8 } .vm { fill: #12261e; stroke: #3fb950 }
.server { fill: #272115; stroke: #d29922 } .wire { stroke: #9198a1 } .says { stroke: #d29922 }
.lock { fill: #f0883e } .shackle { stroke: #f0883e } text { fill: #f0f6fc } .small, .word { fill: #9198a1 }
}
"""


@dataclass(frozen=True, slots=True)
class _Text:
    """A line of a box: `style` is a class of the style sheet."""

    style: str
    text: str
    indent: float = 0
    """From the box's left edge, within its padding."""
    opens: bool = False
    """Whether this is a new row; else it stands in the row of the text before."""
    lock: bool = False
    aside: str = ""
    """What follows in smaller letters."""


@dataclass(frozen=True, slots=True)
class _Placed:
    """A box with its place."""

    box: Box
    texts: tuple[_Text, ...]
    x: float
    y: float
    width: float

    @property
    def height(self) -> float:
        rows = sum(text.opens for text in self.texts) - 1
        return 2 * _PADDING + _TITLE + _ROW * rows + _BELOW_TITLE * bool(rows)

    @property
    def bottom(self) -> float:
        return self.y + self.height

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


def svg(picture: Picture) -> str:
    """Return the picture as one SVG document."""
    top = _TOP + _INSET
    found = _stacked(picture.before.column, _MARGIN + _INSET, _FOUND, top)
    column = _stacked(picture.after.column, _RIGHT + _INSET, _COLUMN, top)
    tap = next(placed for placed in column if placed.box.kind == TAP)
    beside = _stacked(picture.after.beside, WIDTH - _MARGIN - _INSET - _BESIDE, _BESIDE, tap.y)
    bottom = max(placed.bottom for placed in (column[-2], beside[-1], found[-2])) + _INSET
    column, found = _ending_at(bottom + _GAP, column), _ending_at(bottom + _GAP, found)
    height = column[-1].bottom + _MARGIN
    halves = (
        (picture.before, _MARGIN, _RIGHT - 2 * _MARGIN),
        (picture.after, _RIGHT, WIDTH - _RIGHT - _MARGIN),
    )
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:g}" '
            f'viewBox="0 0 {WIDTH} {height:g}" role="img" aria-labelledby="title">',
            f'<title id="title">{escape(picture.title)}</title>',
            f"<style>\n{_STYLE}</style>",
            f'<rect class="ground" width="{WIDTH}" height="{height:g}"/>',
            *(line for half in halves for line in _half(*half, bottom - _TOP)),
            *_wires(found),
            *_wires(column),
            *(_answers(placed, tap) for placed in beside if placed.box.kind == SERVER),
            *(line for placed in (*found, *column, *beside) for line in _box(placed)),
            *_legend(picture.locked, beside[-1].x, column[-1].y),
            "</svg>",
            "",
        )
    )


def _stacked(boxes: tuple[Box, ...], x: float, width: float, y: float) -> list[_Placed]:
    """Place boxes below each other."""
    stack: list[_Placed] = []
    for box in boxes:
        stack.append(_Placed(box, tuple(_texts(box, width - 2 * _PADDING)), x, y, width))
        y = stack[-1].bottom + _GAP
    return stack


def _ending_at(y: float, stack: list[_Placed]) -> list[_Placed]:
    """Move the last of the boxes, which is outside of the pod, to where the other half has it, too."""
    *inside, last = stack
    return [*inside, _Placed(last.box, last.texts, last.x, y, last.width)]


def _texts(box: Box, width: float) -> Iterator[_Text]:
    yield from _titles(box, width)
    begin = _FACT * MONOSPACE * (1 + max((len(word) for word, _ in box.facts), default=0))
    for fact in box.facts:
        yield from _fact(fact, begin, width)
    for fact in box.locks:
        yield from _lock(fact, width)


def _titles(box: Box, width: float) -> Iterator[_Text]:
    """Put the note beside the title, or below where it has no place there."""
    *above, last = broken(box.title, int(width / (_TITLE * BOLD)))
    for line in above:
        yield _Text("name", line, opens=True)
    fits = len(last) * _TITLE * BOLD + _BEFORE_ASIDE + len(box.note) * _TEXT * SANS <= width
    yield _Text("name", last, opens=True, aside=box.note if fits else "")
    for line in broken(box.note, int(width / (_TEXT * SANS))) if not fits else ():
        yield _Text("small", line, opens=True)


def _fact(fact: Fact, begin: float, width: float) -> Iterator[_Text]:
    word, phrase = fact
    yield _Text("word", word, opens=True)
    for number, line in enumerate(broken(phrase, int((width - begin) / (_FACT * MONOSPACE)))):
        yield _Text("fact", line, begin, opens=number > 0)


def _lock(fact: Fact, width: float) -> Iterator[_Text]:
    for number, line in enumerate(broken(": ".join(fact), int((width - _BESIDE_LOCK) / (_TEXT * SANS)))):
        yield _Text("small", line, _BESIDE_LOCK, opens=True, lock=not number)


def _half(panel: Panel, x: float, width: float, height: float) -> tuple[str, ...]:
    return (
        f'<text class="head" x="{x:g}" y="36">{escape(panel.title)}</text>',
        f'<rect class="pod" x="{x:g}" y="{_TOP}" width="{width:g}" height="{height:g}" rx="10"/>',
    )


def _wires(column: list[_Placed]) -> Iterator[str]:
    for upper, lower in pairwise(column):
        yield f'<path class="wire" d="M{upper.middle:g} {upper.bottom:g} V{lower.y:g}"/>'


def _answers(server: _Placed, tap: _Placed) -> str:
    y = tap.y + _PADDING + _TITLE / 2
    return f'<path class="says" d="M{tap.x + tap.width:g} {y:g} H{server.x:g}"/>'


def _box(placed: _Placed) -> Iterator[str]:
    size = f'width="{placed.width:g}" height="{placed.height:g}" rx="8"'
    yield f'<rect class="{placed.box.kind}" x="{placed.x:g}" y="{placed.y:g}" {size}/>'
    y = placed.y + _PADDING + _TITLE - 3
    rows = 0
    for text in placed.texts:
        rows += text.opens
        row = y + _ROW * (rows - 1) + _BELOW_TITLE * (rows > 1)
        if text.lock:
            yield from _padlock(placed.x + _PADDING, row)
        x = placed.x + _PADDING + text.indent
        aside = f'<tspan class="small" dx="{_BEFORE_ASIDE}">{escape(text.aside)}</tspan>' if text.aside else ""
        yield f'<text class="{text.style}" x="{x:g}" y="{row:g}">{escape(text.text)}{aside}</text>'


def _legend(locked: str, x: float, y: float) -> Iterator[str]:
    """Say what the locks are, under the boxes that stand beside."""
    lines = broken(locked, int((_BESIDE - _BESIDE_LOCK) / (_TEXT * SANS)))
    yield from _padlock(x, y + _ROW)
    for number, line in enumerate(lines, 1):
        yield f'<text class="small" x="{x + _BESIDE_LOCK:g}" y="{y + _ROW * number:g}">{escape(line)}</text>'


def _padlock(x: float, y: float) -> Iterator[str]:
    yield f'<path class="shackle" d="M{x + 2:g} {y - 5:g} v-2 a3 3 0 0 1 6 0 v2"/>'
    yield f'<rect class="lock" x="{x:g}" y="{y - 5:g}" width="10" height="7" rx="1"/>'
