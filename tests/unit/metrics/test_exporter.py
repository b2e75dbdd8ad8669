"""The exporter without its sockets: heads of requests, one text for many, addresses that are none."""

from __future__ import annotations

import time
from typing import Any

import pytest

from vmnet.errors import UsageError
from vmnet.metrics import exporter
from vmnet.metrics.exporter import Shared, head, listening


class Connection:
    """A client that sends these parts, each after so many seconds; then it is silent, or gone."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *parts: bytes, seconds: float = 0, gone: bool = False
    ) -> None:
        self.parts, self.seconds, self.gone = list(parts), seconds, gone
        self.now, self.patience, self.read = 100.0, 0.0, 0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def settimeout(self, seconds: float) -> None:
        assert seconds > 0
        self.patience = seconds

    def recv(self, size: int) -> bytes:
        self.now += min(self.seconds, self.patience)
        if not self.parts and self.gone:
            return b""
        if not self.parts or self.seconds > self.patience:
            raise TimeoutError
        part, rest = self.parts[0][:size], self.parts[0][size:]
        self.parts[:1] = [rest] if rest else []
        self.read += len(part)
        return part


GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("parts", [[GET], [GET[:10], GET[10:]], [b"GET / HTTP/1.0\n\n"], [GET + b"more"]])
def test_a_head_is_read_whole(monkeypatch: pytest.MonkeyPatch, parts: list[bytes]) -> None:
    connection: Any = Connection(monkeypatch, *parts)
    assert head(connection) == b"".join(parts)


def test_a_slow_client_has_five_seconds_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    connection: Any = Connection(monkeypatch, *(bytes((octet,)) for octet in GET), seconds=0.9)
    assert head(connection) == b""
    assert connection.now == pytest.approx(105)
    assert connection.read == 5


def test_an_endless_head_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    connection: Any = Connection(monkeypatch, *[b"x" * 1000] * 100)
    assert head(connection) == b""
    assert connection.read == 8192


def test_a_client_that_leaves_has_asked_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    connection: Any = Connection(monkeypatch, GET[:-1], gone=True)
    assert head(connection) == b""


class Queue:
    """Stands for the lock: while we wait for it, another thread makes a text and is done."""

    def __init__(self, shared: Shared, began: float) -> None:
        self.shared, self.began = shared, began

    def __enter__(self) -> None:
        self.shared._began, self.shared._text = self.began, b"theirs"

    def __exit__(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(("began", "text"), [(99.9, b"ours"), (100.1, b"theirs")])
def test_a_text_is_for_all_who_asked_before_it_was_begun(
    monkeypatch: pytest.MonkeyPatch, began: float, text: bytes
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    shared = Shared(lambda: b"ours")
    monkeypatch.setattr(shared, "_lock", Queue(shared, began))
    assert shared.text() == text


def test_a_text_that_could_not_be_made_is_made_anew() -> None:
    outcomes: list[Any] = [b"old", ValueError("a bug"), b"new"]

    def make() -> bytes:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return bytes(outcome)

    shared = Shared(make)
    assert shared.text() == b"old"
    with pytest.raises(ValueError, match="a bug"):
        shared.text()
    assert shared.text() == b"new"


@pytest.mark.parametrize(
    "address", ["", "9431", "localhost", "localhost:", "localhost:x", "::1", ":-1", "127.0.0.1:65536"]
)
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(UsageError, match="name unix:PATH or HOST:PORT"):
        listening(address)


def test_it_says_what_a_bug_was_and_nothing_of_those_who_left(capsys: pytest.CaptureFixture[str]) -> None:
    made: Any = object.__new__(exporter._Exporter)
    for error in (BrokenPipeError(), TimeoutError(), ValueError("a bug")):
        try:
            raise error
        except (OSError, ValueError):
            made.handle_error(None, None)
    [line] = capsys.readouterr().err.splitlines()
    assert "ValueError: a bug" in line
