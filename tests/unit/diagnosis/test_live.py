"""`status --watch` on a pipe: what is printed when."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.testlib.sights import journal, server, sight
from vmnet.diagnosis.live import _Changes

if TYPE_CHECKING:
    import pytest

SILENT, LATER = sight(journal(), server(), received=1), sight(journal(), server(lease_seconds=9.0), received=5)
BOUND = sight(journal(), server("bound"))


def test_only_changes_are_printed_a_line_of_json_each(capsys: pytest.CaptureFixture[str]) -> None:
    show = _Changes(as_json=True)
    for seen in (SILENT, LATER, BOUND, BOUND):
        show((seen,))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["guest"]["families"]["ipv4"]["state"] for line in lines] == ["silent", "bound"]


def test_blocks_of_text_are_set_off_from_each_other(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    show = _Changes(as_json=False)
    for seen in (SILENT, LATER, BOUND):
        show((seen,))
    first, second = capsys.readouterr().out.split("\n\n")
    assert "IPv4 10.244.1.2/24: silent" in first
    assert "IPv4 10.244.1.2/24: bound" in second
