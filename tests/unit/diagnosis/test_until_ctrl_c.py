"""Ctrl-C ends what runs until then, wherever Python is at that moment."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from vmnet.diagnosis.until_ctrl_c import until_ctrl_c

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Interrupted:
    """What is raised in here is printed and forgotten."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def _as_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let Ctrl-C be heard, which a job in the background does not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr("sys.unraisablehook", lambda _: None)
    yield
    signal.signal(signal.SIGINT, before)


def test_it_ends_the_block() -> None:
    reached = []
    with until_ctrl_c():
        reached.append("the block")
        signal.raise_signal(signal.SIGINT)
        reached.append("what follows")
    assert reached == ["the block"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_one_that_a_finalizer_has_lost_ends_the_loop() -> None:
    rounds = 0
    with until_ctrl_c() as goes_on:
        while goes_on():
            rounds += 1
            _Interrupted()
    assert rounds == 1


def test_whoever_ignores_it_goes_on() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with until_ctrl_c() as goes_on:
        signal.raise_signal(signal.SIGINT)
        assert goes_on()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
