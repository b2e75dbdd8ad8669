"""Journals and notes from anywhere: loaded whole, ignored or refused in one line. Never a traceback."""

from __future__ import annotations

import json
import os
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.extent import amount, seed
from tests.testlib import layouts
from vmnet.agent.recall import Known, held, is_untouched, recall, written
from vmnet.errors import RefusedError
from vmnet.model.codec import encode
from vmnet.model.lease import Lease
from vmnet.model.links import NOTE_PREFIX, Note, Status
from vmnet.model.pod import PodInterface
from vmnet.model.settings import Settings
from vmnet.plumbing.discover import discover
from vmnet.saved.journal import LARGEST_JOURNAL as LARGEST
from vmnet.saved.journal import StateDirectory
from vmnet.saved.schema import SCHEMA, Here, Journal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MUTATED = amount(1_000, 20_000, 200_000)
HERE = Here(42, "b00t")
READS = f"this vmnet reads 1 to {SCHEMA}; use the vmnet version that wrote it"
VALUES: tuple[object, ...] = (None, True, 0, -1, 2**63, 1.5, "", "eth0", "\ud800", [], [[]], {}, {"a": 1})


def _journal(layout: str = "bridge") -> Journal:
    return Journal(
        schema=SCHEMA,
        boot_id=HERE.boot_id,
        netns_cookie=HERE.netns_cookie,
        pod=discover(layouts.status(layout)),
        settings=Settings(owner=107),
        lease=Lease("02:00:00:00:00:01", "10.244.1.2", 24, "169.254.75.10"),
    )


def _without_owner(journal: Journal) -> Journal:
    """As a note is believed where no tap stands."""
    return replace(journal, settings=replace(journal.settings, owner=None))


def _noted(journal: Journal, found: Status) -> Status:
    """The pod as `up` has begun to change it: its note is there."""
    return replace(found, notes=(Note("eth0", written(journal)),))


@pytest.fixture
def found() -> Status:
    return layouts.status("bridge")


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return StateDirectory(str(tmp_path / "vmnet"), HERE.netns_cookie)


def _outcome(state: StateDirectory, now: Status) -> Known | str | None:
    try:
        return recall(state, HERE, "eth0", now)
    except RefusedError as error:
        return _one_line(str(error))


def _one_line(text: str) -> str:
    assert "\n" not in text
    return text


def _spoil(state: StateDirectory, data: bytes) -> None:
    """Without waiting for the disk: that would be most of the time that these tests take."""
    directory = state.make("eth0")
    with directory.open("journal.json", os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as descriptor:
        os.write(descriptor, data)
    directory.close()


def _mutations(text: str, rng: random.Random) -> Iterator[bytes]:
    """Endless: bytes flipped, cut, doubled, and values exchanged for others of any type."""
    while True:
        data = bytearray(text.encode())
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(data))
            how = rng.randrange(4)
            if how == 0:
                data[at] = rng.randrange(256)
            elif how == 1:
                del data[at : at + rng.randrange(1, 200)]
            elif how == 2:
                data[at:at] = data[at : at + rng.randrange(1, 200)]
            else:
                data = data[: at or 1]
            data = data or bytearray(b"{")
        yield bytes(data)
        yield json.dumps(_exchanged(json.loads(text), rng)).encode()


def _exchanged(value: Any, rng: random.Random) -> Any:  # noqa: ANN401 # JSON is of any type
    """Exchange one value somewhere below."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        name = rng.choice(list(value))
        return {**value, name: _exchanged(value[name], rng)}
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = rng.randrange(len(value))
        return [*value[:at], _exchanged(value[at], rng), *value[at + 1 :]]
    return rng.choice(VALUES)


def test_mutated_journals_are_loaded_whole_ignored_or_refused_in_one_line(
    state: StateDirectory, found: Status
) -> None:
    mutations = _mutations(encode(_journal()), random.Random(seed()))  # noqa: S311 # not for secrets
    refused = 0
    for _ in range(MUTATED):
        data = next(mutations)
        _spoil(state, data)
        outcome = _outcome(state, found)
        refused += isinstance(outcome, str)
        if isinstance(outcome, Known):
            assert isinstance(outcome.journal, Journal), data
            assert outcome.directory is not None
            outcome.directory.close()
    assert refused > MUTATED / 2


def test_mutated_notes_are_the_note_or_none(state: StateDirectory, found: Status) -> None:
    rng = random.Random(seed())  # noqa: S311 # not for secrets
    journal = _journal()
    right = written(journal)
    for _ in range(MUTATED):
        names = [*right]
        at = rng.randrange(len(names))
        names[at] = _scratched(names[at], rng)
        if rng.random() < 0.3:
            del names[rng.randrange(len(names))]
        outcome = _outcome(state, replace(found, notes=(Note("eth0", tuple(sorted(names))),)))
        assert outcome is None or outcome == Known(_without_owner(journal), None)


def _scratched(name: str, rng: random.Random) -> str:
    at = rng.randrange(len(NOTE_PREFIX), len(name))
    return f"{name[:at]}{chr(rng.randrange(33, 0x2FF))}{name[at + 1 :]}"


@pytest.mark.parametrize(
    "journal",
    [
        replace(_journal(), boot_id="another boot"),
        replace(_journal(), boot_id="another boot", netns_cookie=7),
        replace(_journal(), boot_id="another boot", schema=SCHEMA + 1),
    ],
)
def test_a_journal_of_another_boot_is_ignored(journal: Journal, state: StateDirectory, found: Status) -> None:
    state.make("eth0").save(journal)
    assert _outcome(state, found) is None


@pytest.mark.parametrize(
    ("journal", "says"),
    [
        (
            replace(_journal(), schema=SCHEMA + 1),
            f"it has schema {SCHEMA + 1}, {READS}",
        ),
        (replace(_journal(), schema=0), f"it has schema 0, {READS}"),
        (replace(_journal(), schema=-1), f"it has schema -1, {READS}"),
        (
            replace(_journal(), netns_cookie=43),
            "it is of another network namespace; remove the directory it is in",
        ),
    ],
)
def test_a_journal_that_is_not_ours_to_read_is_refused_with_what_to_do(
    journal: Journal, says: str, state: StateDirectory, found: Status
) -> None:
    directory = state.make("eth0")
    directory.save(journal)
    assert _outcome(state, found) == f"{directory.path}/journal.json cannot be used: {says}"


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 60_000, b"\xff", b"{}", b"1" * LARGEST])
def test_the_note_speaks_where_the_journal_cannot(data: bytes, state: StateDirectory, found: Status) -> None:
    journal = _journal()
    _spoil(state, data)
    assert "remove the directory it is in" in str(_outcome(state, found))
    known = _outcome(state, _noted(journal, found))
    assert known == Known(_without_owner(journal), None)
    assert isinstance(known, Known)
    assert held(state, known).load(HERE) == _without_owner(journal)


def test_a_journal_that_is_too_large_is_refused_however_right_it_begins(
    state: StateDirectory, found: Status
) -> None:
    text = encode(_journal()).encode()
    _spoil(state, text.ljust(LARGEST))
    assert isinstance(_outcome(state, found), Known)
    _spoil(state, text.ljust(LARGEST + 1))
    assert f"it is larger than {LARGEST} bytes; remove the directory it is in" in str(_outcome(state, found))


def test_a_journal_that_others_can_write_or_that_has_two_names_is_refused(
    state: StateDirectory, found: Status, tmp_path: Path
) -> None:
    directory = state.make("eth0")
    directory.save(_journal())
    os.chmod("journal.json", 0o620, dir_fd=directory.descriptor)
    assert "is not a regular file that only uid" in str(_outcome(state, found))
    os.chmod("journal.json", 0o600, dir_fd=directory.descriptor)
    os.link("journal.json", tmp_path / "second", src_dir_fd=directory.descriptor)
    assert "is not a regular file that only uid" in str(_outcome(state, found))
    (tmp_path / "second").unlink()
    assert isinstance(_outcome(state, found), Known)


@pytest.mark.parametrize("step", ["netns-42", "netns-42/eth0"])
def test_a_link_in_a_directorys_place_is_not_followed(step: str, tmp_path: Path, found: Status) -> None:
    elsewhere = tmp_path / "elsewhere"
    there = StateDirectory(str(elsewhere), HERE.netns_cookie)
    there.make("eth0").save(_journal())
    root = tmp_path / "vmnet"
    (root / step).parent.mkdir(parents=True, mode=0o700)
    (root / step).symlink_to(elsewhere / step)
    state = StateDirectory(str(root), HERE.netns_cookie)
    assert _outcome(state, found) is None
    with pytest.raises(Exception, match="cannot write the state directory"):
        state.make("eth0")
    assert sorted(path.name for path in elsewhere.glob("**/*")) == ["eth0", "journal.json", "netns-42"]


def test_several_bindings_want_a_name_and_a_bad_journal_of_another_one_is_no_hindrance(
    state: StateDirectory, found: Status
) -> None:
    state.make("eth0").save(_journal())
    state.make("net1").write("journal.json", b"bad")
    assert isinstance(_outcome(state, found), Known)
    with pytest.raises(RefusedError, match=r"net1/journal\.json cannot be used: "):
        recall(state, HERE, "", found)
    pod = PodInterface("net1", 7, "02:00:00:00:00:07", 1500)
    state.make("net1").save(replace(_journal(), pod=pod))
    with pytest.raises(RefusedError, match=r"several interfaces are bound here \(eth0, net1\)"):
        recall(state, HERE, "", found)


def test_what_tells_a_pod_in_our_hands_from_an_untouched_one(found: Status) -> None:
    journal = _journal()
    assert is_untouched(found, journal)
    assert not is_untouched(_noted(journal, found), journal)
    nic = found.link("eth0")
    assert nic is not None
    renamed = replace(found, links=(replace(nic, ifname="eth0-nic"),))
    assert not is_untouched(renamed, journal)
    bridge = replace(nic, ifname="k6t-eth0", ifindex=99)
    ours = replace(bridge, mac="02:76:6d:00:00:01")
    assert not is_untouched(replace(found, links=(*found.links, ours)), journal)
    for foreign in (bridge, replace(bridge, ifname="tap0")):  # as KubeVirt's, after an `up` that was cut short
        assert is_untouched(replace(found, links=(*found.links, foreign)), journal)
