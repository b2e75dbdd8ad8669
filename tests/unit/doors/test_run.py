"""What `vmnet run` makes of a binding that it has brought up and cannot take charge of."""

from __future__ import annotations

import errno
import fcntl
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from vmnet.agent import lifecycle
from vmnet.agent.lifecycle import Outcome
from vmnet.doors import run
from vmnet.errors import RefusedError
from vmnet.saved.journal import StateDirectory
from vmnet.settings.config import Config

if TYPE_CHECKING:
    from vmnet.saved.schema import Journal

JOURNAL = cast("Journal", SimpleNamespace(netns_cookie=42, pod=SimpleNamespace(ifname="eth0")))


class World:
    """A pod that `up` hands over, and what is done to it."""

    def __init__(self, state_dir: Path, *, changed: bool) -> None:
        self.config = Config(state_dir=str(state_dir))
        self.directory = StateDirectory(str(state_dir), 42).make("eth0")
        self.changed = changed
        self.verbs: list[str] = []
        self.supervised: list[list[str]] = []
        """The supervisors' arguments."""

    def up(self, _config: Config) -> Outcome:
        self.verbs.append("up")
        return Outcome(JOURNAL, changed=self.changed)

    def down(self, _config: Config) -> None:
        self.verbs.append("down")

    def run(self, job: run.Job) -> None:
        run.run(self.config, job, run.Tell(ready=lambda _outcome: None, given_back=lambda _journal: None))


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path, changed=getattr(request, "param", True))
    monkeypatch.setattr(lifecycle, "up", made.up)
    monkeypatch.setattr(lifecycle, "down", made.down)
    monkeypatch.setattr(run, "_note_signals", list)
    monkeypatch.setattr(run, "_become_supervisor", lambda arguments, _held: made.supervised.append(arguments))
    monkeypatch.setattr(signal, "pthread_sigmask", lambda *_words: None)
    return made


@pytest.mark.parametrize("world", [True, False], indirect=True, ids=["began it", "found it"])
@pytest.mark.parametrize("keep", [False, True], ids=["", "keep"])
def test_who_cannot_take_charge_of_what_it_began_gives_it_back(
    world: World, keep: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_descriptor: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(RefusedError, match=r"cannot take charge .* No locks available"):
        world.run(run.Job(("true",), keep=keep))
    assert world.verbs == (["up", "down"] if world.changed and not keep else ["up"])


def test_who_finds_another_in_charge_takes_nothing_from_it(world: World) -> None:
    fcntl.flock(world.directory.descriptor, fcntl.LOCK_EX)
    with pytest.raises(RefusedError, match="another `vmnet run` already manages this binding"):
        world.run(run.Job(("true",)))
    assert world.verbs == ["up"]


def test_to_take_charge_needs_no_room(world: World) -> None:
    world.run(run.Job(("true",)))
    [[path, keep, _, *command]] = world.supervised
    assert (path, keep, command) == (world.directory.path, "", ["true"])
    assert list(Path(path).iterdir()) == []
