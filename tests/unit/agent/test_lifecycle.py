"""What up and down do with what was begun before, and what they say where they do not end."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.testlib import layouts
from tests.testlib.place import PLACE
from tests.unit.saved.test_facts import WEAK
from vmnet.agent import begin, lifecycle, place
from vmnet.agent.recall import Known
from vmnet.errors import KernelError, RollbackIncompleteError, UnexpectedError
from vmnet.kernel import firewall
from vmnet.model.settings import Settings
from vmnet.saved import journal
from vmnet.settings.config import Config

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _nft(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firewall, "program", lambda: "/usr/sbin/nft")


def _known(settings: Settings) -> Known:
    begun = begin.begin(PLACE, Config(), layouts.status("bridge"))
    return Known(replace(begun, settings=settings), None)


def test_what_a_note_is_not_believed_is_the_callers_to_say() -> None:
    said = Settings(owner=7, group=8, sandbox=True, server_user=9, server_group=10)
    noted = Settings(tap="tap5", sandbox=False, server_user=666)
    assert lifecycle._with_callers(_known(noted), Config(settings=said)).journal.settings == replace(
        said, tap="tap5"
    )
    kept = lifecycle._with_callers(
        _known(replace(noted, owner=5, group=6)), Config(settings=said)
    ).journal.settings
    assert (kept.owner, kept.group) == (5, 6)
    by_default = lifecycle._with_callers(_known(noted), Config()).journal.settings
    assert (by_default.owner, by_default.sandbox, by_default.server_user) == (0, True, None)


@pytest.mark.parametrize(
    ("netns", "said", "sandbox", "user"),
    [("", True, True, 1000), ("", False, False, 1000), ("pod", True, True, None), ("pod", False, False, None)],
)
def test_no_journal_alone_leaves_the_sandbox_out(netns: str, said: bool, sandbox: bool, user: int | None) -> None:
    config = Config(netns=netns, settings=Settings(sandbox=said))
    settings = lifecycle._server_settings(_known(WEAK).journal, config)
    assert (settings.sandbox, settings.server_user) == (sandbox, user)
    assert replace(settings, sandbox=WEAK.sandbox, server_user=1000, server_group=1000) == WEAK


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Known:
    """A binding that is up, as far as `up` and `down` are told."""
    directory = journal.StateDirectory(str(tmp_path), 42).make("eth0")
    known = replace(_known(Settings()), directory=directory)
    directory.save(known.journal)
    monkeypatch.setattr(lifecycle, "alone_at", lambda _config: contextlib.nullcontext(PLACE))
    monkeypatch.setattr(lifecycle, "read", lambda _netlink: layouts.status("bridge"))
    for room in (lifecycle, place):
        monkeypatch.setattr(room, "recall", lambda *_words: known)
        monkeypatch.setattr(room, "is_untouched", lambda *_words: False)
    return known


def test_a_journal_that_cannot_be_written_anew_keeps_no_guest_unserved(
    begun: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older vmnet wrote it, and the disk is full by now."""
    assert begun.directory

    def full(_name: str, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    begun.directory.write("journal.json", b"as an older vmnet wrote it")
    monkeypatch.setattr(begun.directory, "write", full)
    monkeypatch.setattr(lifecycle, "_bring_up", lambda *_words: True)
    outcome = lifecycle.up(Config(resume=True))
    assert outcome.changed
    assert outcome.warnings == (
        f"the journal in {begun.directory.path} stays as an older vmnet wrote it: No space left on device; see "
        "that it can be written, then run `vmnet up`",
    )


@pytest.mark.parametrize(
    "error",
    [KernelError(16, "delete tap0"), UnexpectedError("this is still to do: delete tap0")],
    ids=lambda error: type(error).__name__,
)
def test_a_down_that_does_not_end_says_where_the_facts_are(
    begun: Known, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_words: object) -> None:
        raise error

    monkeypatch.setattr(lifecycle, "_restore", fail)
    assert begun.directory
    with pytest.raises(RollbackIncompleteError) as raised:
        lifecycle.down(Config(force=True))
    assert str(raised.value) == (
        f"{error}; the pod's configuration is saved in {begun.directory.path}; run `vmnet down` to finish"
    )
