"""What `vmnet launch` makes of a server that dies and cannot be started again."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from vmnet.agent import lifecycle
from vmnet.control import call, processes
from vmnet.doors.libvirt.inbox import Inbox
from vmnet.doors.libvirt.served import Served
from vmnet.errors import RefusedError, RollbackIncompleteError
from vmnet.kernel import inotify
from vmnet.saved.journal import StateDirectory
from vmnet.server import lease_state
from vmnet.settings.config import Config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from vmnet.saved.schema import Journal

JOURNAL = cast("Journal", SimpleNamespace(netns_cookie=42, pod=SimpleNamespace(ifname="eth0")))


class World:
    """A binding whose server lives no more, and what is to be done later."""

    def __init__(self, state_dir: Path) -> None:
        self.directory = StateDirectory(str(state_dir), 42).make("eth0")
        self.directory.write("journal.json", b"{}")
        self.directory.write("server.log", b"")
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.inbox: Inbox[object] = Inbox()
        self.config = Config(state_dir=str(state_dir))

    def served(self) -> Served:
        return Served(self.inbox, self.config, JOURNAL, lambda seconds, act: self.later.append((seconds, act)))

    def wait(self, served: Served) -> None:
        """Let the next attempt to start a server be made."""
        [attempt] = [act for _, act in self.later if act == served._revive]
        self.later.clear()
        attempt()

    def is_to_try_again(self, served: Served) -> bool:
        return any(act == served._revive for _, act in self.later)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(processes, "server_pid", lambda _directory: None)
    monkeypatch.setattr(call, "ask_server", lambda _directory: None)
    made = World(tmp_path)
    yield made
    made.inbox.close()


@pytest.mark.parametrize(
    "error",
    [RefusedError("cannot write the state directory: No space left on device"), RollbackIncompleteError("busy")],
    ids=lambda error: type(error).__name__,
)
def test_a_server_that_cannot_be_started_now_is_started_later(
    world: World, error: Exception, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(_config: Config) -> None:
        raise error

    monkeypatch.setattr(lifecycle, "up", refuse)
    served = world.served()
    world.wait(served)
    assert world.is_to_try_again(served)
    assert not served.taken_down
    assert f"{error}: starting another" in capfd.readouterr().err


def test_where_the_facts_are_gone_somebody_ran_down_and_means_it(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(_config: Config) -> None:
        raise RefusedError("nothing to resume")

    monkeypatch.setattr(lifecycle, "up", refuse)
    served = world.served()
    world.directory.remove()
    world.wait(served)
    assert served.taken_down
    assert not world.is_to_try_again(served)
    assert "taken-down" in capfd.readouterr().err


def test_where_no_watch_is_left_the_guest_is_looked_at_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(_path: str) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(inotify, "watch_file", refuse)
    served = world.served()
    said = SimpleNamespace(families=[SimpleNamespace(lease=lease_state.BOUND)])
    monkeypatch.setattr(call, "ask_server", lambda _directory: said)
    monkeypatch.setattr(processes, "server_pid", lambda _directory: os.getpid())
    served._watch_server()
    served._look()
    served.close()
    assert "the guest has its lease" in capfd.readouterr().err
