"""The drawings by a second renderer: librsvg, which GNOME and wikis use."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from testbed.netns import run
from tests.need import need
from tests.testlib import layouts
from tests.testlib.journals import IPV6_ONLY, journal
from vmnet.diagnosis.drawing import drawn
from vmnet.diagnosis.drawing.svg import WIDTH

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("layout", [*layouts.NAMES, IPV6_ONLY])
def test_librsvg_draws_it(layout: str, tmp_path: Path) -> None:
    need("rsvg-convert", "librsvg2-bin", "readers")
    path, png = tmp_path / "pod.svg", tmp_path / "pod.png"
    path.write_text(drawn(journal(layout), "svg"), encoding="utf-8")
    said = run(["rsvg-convert", "--output", png, path])
    assert (said.stdout, said.stderr) == ("", "")
    width, height = struct.unpack_from(">II", png.read_bytes(), 16)  # PNG §11.2.1
    assert width == WIDTH
    assert height > 400
    assert png.stat().st_size > 20_000, "there is hardly anything on it"
