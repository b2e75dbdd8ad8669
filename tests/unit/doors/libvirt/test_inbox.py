"""Everything that is waited for comes out of one inbox, in order."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from vmnet.doors.libvirt.inbox import Inbox

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def inbox() -> Iterator[Inbox[object]]:
    made: Inbox[object] = Inbox()
    yield made
    made.close()


def _soon() -> float:
    return time.monotonic() + 10


def test_items_come_in_order(inbox: Inbox[object]) -> None:
    inbox.put(1)
    inbox.put(2)
    assert (inbox.next(None), inbox.next(None)) == (1, 2)


def test_nothing_until_the_deadline(inbox: Inbox[object]) -> None:
    assert inbox.next(time.monotonic() + 0.01) is None


def test_another_thread_wakes_who_waits(inbox: Inbox[object]) -> None:
    threading.Timer(0.05, inbox.put, ["late"]).start()
    assert inbox.next(_soon()) == "late"


def test_what_a_blocking_call_returns_is_an_item(inbox: Inbox[object]) -> None:
    inbox.call(lambda: threading.current_thread() is threading.main_thread())
    assert inbox.next(_soon()) is False


def test_signal_becomes_an_item_and_is_given_back(inbox: Inbox[object]) -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with inbox.signals(signal.SIGUSR1, item=lambda number: ("signal", number)):
        os.kill(os.getpid(), signal.SIGUSR1)
        assert inbox.next(_soon()) == ("signal", signal.SIGUSR1)
    assert signal.getsignal(signal.SIGUSR1) is before


def test_signal_wakes_who_waits(inbox: Inbox[object]) -> None:
    with inbox.signals(signal.SIGUSR1, item=lambda number: number):
        main = threading.main_thread().ident
        assert main is not None
        threading.Timer(0.05, signal.pthread_kill, [main, signal.SIGUSR1]).start()
        assert inbox.next(_soon()) == signal.SIGUSR1


def test_readable_descriptor_is_handled_until_it_is_forgotten(inbox: Inbox[object]) -> None:
    read_end, write_end = os.pipe()

    def handle() -> None:
        inbox.put(os.read(read_end, 10))

    inbox.watch(read_end, handle)
    os.write(write_end, b"one")
    assert inbox.next(_soon()) == b"one"
    inbox.forget(read_end)
    inbox.forget(read_end)
    os.write(write_end, b"two")
    assert inbox.next(time.monotonic() + 0.01) is None
    os.close(read_end)
    os.close(write_end)
