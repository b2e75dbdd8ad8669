"""What arrives on a terminal, and in a file."""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import termios
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from vmnet.show.outline import Node, plain
from vmnet.show.screen import show

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO

OUTLINE = (
    Node(
        "doctor",
        "title",
        (Node("tap0 has no carrier, since nobody has opened it: the VM has not been started yet", "warning"),),
    ),
    Node("1 warning \x1b[31m", "bad"),
)


def shown_on_terminal(columns: int) -> str:
    """Show the outline on a terminal of that width, and say what arrived on it."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    original = sys.stdout, sys.__stdout__
    with os.fdopen(theirs, "w", encoding="utf-8") as stdout:
        sys.stdout, sys.__stdout__ = stdout, stdout  # type: ignore[misc] # the size is asked of the latter
        try:
            show(OUTLINE)
        finally:
            sys.stdout, sys.__stdout__ = original  # type: ignore[misc]
    with os.fdopen(ours, "rb", buffering=0) as arrived:
        return b"".join(_until_hangup(arrived)).decode().replace("\r\n", "\n")


def _until_hangup(arrived: FileIO) -> Iterator[bytes]:
    with suppress(OSError):  # EIO: the other end is closed (pty(7))
        while True:
            yield arrived.read(4096)


@pytest.fixture(autouse=True)
def usual_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("columns", [100, 60])
def test_a_terminal_is_shown_colours_at_its_width(columns: int) -> None:
    text = shown_on_terminal(columns)
    for style in ("1m", "33m", "1;31m"):  # ECMA-48 §8.3.117: bold, yellow, bold red
        assert f"\x1b[{style}" in text
    assert _without_colour(text) == plain(OUTLINE, columns) + "\n"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb"), ("TERM", "")])
def test_a_terminal_whose_user_wants_no_colour(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert shown_on_terminal(60) == plain(OUTLINE, 60) + "\n"


def test_a_terminal_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert shown_on_terminal(60) == plain(OUTLINE, 60) + "\n"


def test_a_file_is_given_plain_text_and_rich_is_not_imported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    show(OUTLINE)
    assert capsys.readouterr().out == plain(OUTLINE, 1000) + "\n"


def test_a_file_is_as_wide_as_columns_says(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    show(OUTLINE)
    assert capsys.readouterr().out == plain(OUTLINE, 40) + "\n"


def _without_colour(text: str) -> str:
    """Take out SGR (ECMA-48 §8.3.117): all that may be there of escape sequences."""
    first, *others = text.split("\x1b[")
    return first + "".join(other.partition("m")[2] for other in others)


def test_a_file_gets_whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    show((Node("word " * 100),))
    assert capsys.readouterr().out == f"{('word ' * 100).rstrip()}\n"
