"""The places of an SVG's boxes and lines, the lines' by the estimate of their letters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmnet.diagnosis.drawing.lettering import BOLD, MONOSPACE, SANS

if TYPE_CHECKING:
    from xml.etree import ElementTree as ET

NS = "{http://www.w3.org/2000/svg}"
SIZES = {"name": 14, "head": 17, "small": 12, "word": 12, "fact": 12}
ADVANCES = {"name": BOLD, "head": BOLD, "small": SANS, "word": MONOSPACE, "fact": MONOSPACE}
BOXES = frozenset({"network", "nic", "bridge", "tap", "vm", "server", "stand_in"})


def advance(style: str) -> float:
    """How far a letter of that style is reckoned to go."""
    return SIZES[style] * ADVANCES[style]


@dataclass(frozen=True, slots=True)
class Area:
    """A rectangle."""

    name: str
    x: float
    y: float
    right: float
    bottom: float

    def meets(self, other: Area) -> bool:
        """Whether they have a point in common."""
        return self.x < other.right and other.x < self.right and self.y < other.bottom and other.y < self.bottom

    def holds(self, other: Area) -> bool:
        """Whether the other is all within."""
        return (
            self.x <= other.x and other.right <= self.right and self.y <= other.y and other.bottom <= self.bottom
        )


def rectangle(element: ET.Element) -> Area:
    """The place of a `rect`."""
    x, y, width, height = (float(element.get(name, "0")) for name in ("x", "y", "width", "height"))
    return Area(element.get("class", ""), x, y, x + width, y + height)


def written(element: ET.Element) -> Area:
    """The place that a line of text takes, by the estimate of its letters."""
    x, y = (float(element.get(name, "")) for name in ("x", "y"))
    width = sum(float(part.get("dx", "0")) + reckoned(part) for part in element.iter())
    return Area("".join(element.itertext()), x, y - SIZES[style_of(element)], x + width, y + 3)


def reckoned(part: ET.Element) -> float:
    """How wide a text is by the estimate, without what stands in it."""
    return len(part.text or "") * advance(style_of(part))


def style_of(element: ET.Element) -> str:
    """The class of the style sheet."""
    return element.get("class", "")


def boxes(root: ET.Element) -> list[Area]:
    """The places of a drawing's boxes."""
    return [area for element in root.iter(f"{NS}rect") if (area := rectangle(element)).name in BOXES]
