"""How the SVG looks: what a real renderer makes of it, and whether it can be read on light and on dark pages."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import resvg_py
from PIL import Image, ImageChops, ImageFont

from tests.testlib import layouts
from tests.testlib.geometry import BOXES, NS, SIZES, reckoned, style_of, written
from tests.testlib.journals import IPV6_ONLY, journal
from vmnet.diagnosis.drawing import drawn
from vmnet.diagnosis.drawing.svg import WIDTH

FONTS = Path("/usr/share/fonts/truetype/dejavu")
LIGHT, DARK = "light", "dark"


def colours(text: str, ground: str) -> dict[str, dict[str, str]]:
    """The colours of each class, as a reader of light or dark pages gets them."""
    dark = r"@media \(prefers-color-scheme: dark\) \{\n(.*?)\}\n</style>"
    style = re.search(rf"<style>\n(.*?){dark}", text, re.DOTALL)
    assert style
    found: dict[str, dict[str, str]] = {}
    for part in style.groups()[: 1 if ground == LIGHT else 2]:
        for names, body in re.findall(r"([^{}]+)\{([^}]*)\}", part):
            for name in names.split(","):
                declared = dict(re.findall(r"(fill|stroke): (#[0-9a-f]{6})", body))
                found[name.strip()] = {**found.get(name.strip(), {}), **declared}
    return found


def luminance(colour: str) -> float:
    """WCAG 2.2's relative luminance."""
    parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("ground", [LIGHT, DARK])
def test_all_texts_can_be_read_on_their_boxes(ground: str) -> None:
    found = colours(drawn(journal("bridge-dual"), "svg"), ground)
    fills = {found[f".{name}"]["fill"] for name in (*BOXES, "pod", "ground")}
    texts = {found["text"]["fill"], found[".small"]["fill"], found[".word"]["fill"]}
    for text in texts:
        for fill in fills:
            assert contrast(text, fill) >= 4.5, (text, fill)  # WCAG 2.2 §1.4.3
    lines = {found[".wire"]["stroke"], found[".says"]["stroke"], found[".lock"]["fill"]}
    for line in lines:
        assert contrast(line, found[".pod"]["fill"]) >= 3, line  # WCAG 2.2 §1.4.11


FACES = {
    "name": "DejaVuSans-Bold",
    "head": "DejaVuSans-Bold",
    "small": "DejaVuSans",
    "word": "DejaVuSansMono",
    "fact": "DejaVuSansMono",
}


def need_fonts() -> None:
    if not FONTS.exists():
        pytest.skip("this needs: apt-get install fonts-dejavu-core")


@pytest.mark.parametrize("layout", [*layouts.NAMES, IPV6_ONLY])
def test_in_the_widest_font_in_use_no_line_is_wider_than_the_estimate(layout: str) -> None:
    need_fonts()
    faces = {style: ImageFont.truetype(FONTS / f"{FACES[style]}.ttf", size) for style, size in SIZES.items()}
    for element in ET.fromstring(drawn(journal(layout), "svg")).iter(f"{NS}text"):  # noqa: S314 # our own
        for part in element.iter():
            words = part.text or ""
            assert faces[style_of(part)].getlength(words) <= reckoned(part), words


@pytest.mark.parametrize("layout", ["bridge-dual", IPV6_ONLY])
def test_drawn_by_a_renderer_every_letter_is_where_it_was_reckoned(layout: str) -> None:
    need_fonts()
    text = drawn(journal(layout), "svg")
    areas = [written(element) for element in ET.fromstring(text).iter(f"{NS}text")]  # noqa: S314 # our own
    image = rendered(text.replace(".small, .word { fill: #57606a }", "").replace("#1f2328", "#ff00ff"))
    assert image.size == (WIDTH, int(re.findall(r'height="(\d+)"', text)[0]))
    red, green, blue, _ = image.split()
    magenta = ImageChops.darker(ImageChops.darker(red, blue), ImageChops.invert(green))
    ink = magenta.point([0] * 200 + [255] * 56)
    assert ink.histogram()[255] > 5000, "the letters were not drawn"
    for area in areas:
        box = (int(area.x) - 1, int(area.y), int(area.right) + 1, int(area.bottom) + 1)
        assert not area.name or ink.crop(box).getbbox(), f"{area.name} was not drawn"
        ink.paste(0, box)
    assert ink.getbbox() is None, f"letters at {ink.getbbox()}"


def rendered(text: str) -> Image.Image:
    """What resvg makes of an SVG."""
    png = resvg_py.svg_to_bytes(
        svg_string=text,
        skip_system_fonts=True,
        font_dirs=[str(FONTS)],
        monospace_family="DejaVu Sans Mono",
        sans_serif_family="DejaVu Sans",
    )
    return Image.open(BytesIO(png))
