"""A binding as a drawing: what is to be seen (`picture`), and how it is written (`mermaid`, `svg`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmnet.diagnosis.drawing.mermaid import mermaid
from vmnet.diagnosis.drawing.picture import picture
from vmnet.diagnosis.drawing.svg import svg

if TYPE_CHECKING:
    from vmnet.saved.schema import Journal

_FORMATS = {"mermaid": mermaid, "svg": svg}


def drawn(journal: Journal, form: str) -> str:
    """Return the drawing of a binding in that format."""
    return _FORMATS[form](picture(journal))
