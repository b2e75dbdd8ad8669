"""A picture as a Mermaid flowchart, for the Markdown of forges and wikis."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from vmnet.diagnosis.drawing.picture import NETWORK, SERVER, TAP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.diagnosis.drawing.picture import Box, Panel, Picture

_ENTITIES = {"#": "#35;", '"': "#quot;", "&": "#amp;", "<": "#lt;", ">": "#gt;", "`": "#96;", "%": "#37;"}
"""Mermaid's own, which it makes HTML's of; a backtick would begin its Markdown, two percent signs a comment."""
_CLASSES = (
    "classDef link fill:#ddf4ff,stroke:#0969da,color:#1f2328",
    "classDef vm fill:#dafbe1,stroke:#1a7f37,color:#1f2328",
    "classDef server fill:#fff8c5,stroke:#9a6700,color:#1f2328",
    "classDef idle fill:#ffffff,stroke:#8c959f,color:#1f2328",
)
"""Each with the colour of its letters, for a page may be light or dark."""
_CLASS_OF = {
    "network": "idle",
    "nic": "link",
    "bridge": "link",
    "tap": "link",
    "vm": "vm",
    "server": "server",
    "stand_in": "idle",
}


def mermaid(picture: Picture) -> str:
    """Return the picture as one flowchart."""
    lines = (
        "flowchart LR",
        f"accTitle: {_text(picture.title)}",
        *_panel("before", picture.before),
        *_panel("after", picture.after),
        *_CLASSES,
    )
    return "\n".join((*lines, ""))


def _panel(prefix: str, panel: Panel) -> Iterator[str]:
    yield f'subgraph {prefix}["{_text(panel.title)}"]'
    yield "  direction TB"
    for box in (*panel.column, *panel.beside):
        yield f"  {_box(prefix, box)}"
    for upper, lower in pairwise(panel.column):
        yield f"  {prefix}_{upper.kind} --- {prefix}_{lower.kind}"
    if any(box.kind == SERVER for box in panel.beside):
        yield f"  {prefix}_{TAP} -.- {prefix}_{SERVER}"
    yield "end"


def _box(prefix: str, box: Box) -> str:
    rows = (
        f"<b>{_text(box.title)}</b> {_text(box.note)}",
        *(f"{_text(word)} {_text(phrase)}" for word, phrase in box.facts),
        *(f"🔒 {_text(name)}: {_text(what)}" for name, what in box.locks),
    )
    opening, closing = ("([", "])") if box.kind == NETWORK else ("[", "]")
    label = "<br/>".join(rows)
    return f'{prefix}_{box.kind}{opening}"{label}"{closing}:::{_CLASS_OF[box.kind]}'


def _text(text: str) -> str:
    return "".join(_ENTITIES.get(character, character) for character in text)
