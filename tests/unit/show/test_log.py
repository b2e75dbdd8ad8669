"""What goes to stderr: one line, whatever is in it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from vmnet.show.log import escape, say

if TYPE_CHECKING:
    import pytest


def test_machines_get_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    say("warning", "drift", "two\nlines \x1b[31m", link="tap0")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line) == {
        "level": "warning",
        "event": "drift",
        "message": "two\\nlines \\x1b[31m",
        "link": "tap0",
    }


def test_people_get_one_sentence(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda descriptor: descriptor == 2)
    say("info", "ready", "ready: all is well")
    say("error", "refused", "no such thing", code=3)
    assert capsys.readouterr().err == "vmnet: ready: all is well\nvmnet: error: no such thing\n"


def test_control_characters_are_shown_instead_of_sent() -> None:
    assert escape("eth0\x1b[2J\r\n") == "eth0\\x1b[2J\\r\\n"
    assert escape("Straße → ok") == "Straße → ok"
