"""Finding bindings under state directories: which there are, which cannot be trusted, and whose server is gone."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.unit.saved.test_journal import HERE, JOURNAL
from vmnet.control import call
from vmnet.control.report import FamilyReport, ServerReport
from vmnet.metrics import scrape
from vmnet.metrics.text import Binding
from vmnet.saved.journal import StateDirectory, namespaces

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from vmnet.saved.journal import BindingDirectory

ANSWER = ServerReport("serving", FamilyReport("silent"))
LINE = b'{"state": "serving", "lease": "silent"}\n'


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Let every server answer but those whose directory's last two steps are in the set."""
    none: set[str] = set()

    def ask(directories: Sequence[BindingDirectory]) -> list[bytes]:
        return [b"" if "/".join(one.path.split("/")[-2:]) in none else LINE for one in directories]

    monkeypatch.setattr(call, "answers_of", ask)
    monkeypatch.setattr(scrape, "boot_id", lambda: HERE.boot_id)
    return none


def begin(root: Path, cookie: int = 42, ifname: str = "eth0", boot_id: str = HERE.boot_id) -> BindingDirectory:
    """Make a binding's directory as `up` does."""
    directory = StateDirectory(str(root), cookie).make(ifname)
    directory.save(replace(JOURNAL, netns_cookie=cookie, boot_id=boot_id))
    return directory


def found(*patterns: object) -> list[Binding]:
    """The bindings, in an order of their own: which are the first is tested where it matters."""
    bindings, _ = scrape.scraped([str(pattern) for pattern in patterns])
    return sorted(bindings, key=lambda one: (one.state_dir, one.netns, one.interface))


def test_all_namespaces_and_interfaces_of_all_places(silent: set[str], tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    begin(first, 42, "eth0"), begin(first, 42, "net1"), begin(first, 7), begin(second, 42)
    silent.add("netns-42/net1")
    assert found(first, second, tmp_path / "none") == [
        Binding("eth0", 7, str(first), ANSWER),
        Binding("eth0", 42, str(first), ANSWER),
        Binding("net1", 42, str(first), None),
        Binding("eth0", 42, str(second), ANSWER),
    ]


def test_the_step_that_a_star_stands_for_is_the_name(silent: set[str], tmp_path: Path) -> None:
    for pod in ("uid-1", "uid-2"):
        begin(tmp_path / pod / "volumes" / "vmnet-state")
    (tmp_path / "uid-3" / "volumes").mkdir(parents=True)
    (tmp_path / "file").touch()
    assert [binding.state_dir for binding in found(tmp_path / "*" / "volumes" / "vmnet-state")] == [
        "uid-1",
        "uid-2",
    ]
    assert found(tmp_path / "none" / "*") == []
    assert not silent


def test_what_down_or_an_earlier_boot_left_is_no_binding(silent: set[str], tmp_path: Path) -> None:
    begin(tmp_path, 1, boot_id="00000000-0000-4000-8000-000000000000")
    StateDirectory(str(tmp_path), 2).make("eth0")
    begin(tmp_path, 3)
    silent |= {f"netns-{cookie}/eth0" for cookie in (1, 2, 3)}
    assert found(tmp_path) == [Binding("eth0", 3, str(tmp_path), None)]


def test_a_binding_is_down_whose_journal_is_damaged(silent: set[str], tmp_path: Path) -> None:
    begin(tmp_path, 5).write("journal.json", b"{")
    silent.add("netns-5/eth0")
    assert found(tmp_path) == [Binding("eth0", 5, str(tmp_path), None)]


def test_what_cannot_be_trusted_is_counted_and_hides_nothing(silent: set[str], tmp_path: Path) -> None:
    begin(tmp_path, 6)
    (tmp_path / "netns-6" / "eth0").chmod(0o755)
    begin(tmp_path, 7)
    (tmp_path / "netns-7").chmod(0o777)
    begin(tmp_path, 8)
    bindings, told = scrape.scraped([str(tmp_path)])
    assert bindings == [Binding("eth0", 8, str(tmp_path), ANSWER)]
    assert told.untrusted == 2
    assert not silent


@pytest.mark.parametrize(
    "name", ["netns-", "netns-x", "netns-007", "netns-²", "netns--1", f"netns-{'9' * 21}", "a"]
)
def test_other_names_are_no_namespaces(name: str, silent: set[str], tmp_path: Path) -> None:
    (tmp_path / name).mkdir(mode=0o700)
    (tmp_path / "netns-1").symlink_to(tmp_path / name)
    assert namespaces(str(tmp_path), 10) == ([], False)
    assert found(tmp_path) == []
    assert not silent


def test_names_that_no_link_has_and_links_are_passed_over(silent: set[str], tmp_path: Path) -> None:
    begin(tmp_path, 1)
    for name in ("a b", "x" * 16, "\n", "-"):
        (tmp_path / "netns-1" / name).mkdir(mode=0o700)
    (tmp_path / "netns-1" / "eth1").symlink_to("eth0")
    assert [binding.interface for binding in found(tmp_path)] == ["eth0"]
    assert not silent


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a state directory of the node have 6 bindings, a pod's 3, all together 8."""
    for name, number in {"_OF_A_NODE": 6, "_OF_A_POD": 3, "_IN_ALL": 8}.items():
        monkeypatch.setattr(scrape, name, number)


@pytest.mark.usefixtures("small")
def test_a_pod_has_few_bindings_and_a_node_many(silent: set[str], tmp_path: Path) -> None:
    """A state directory that a pattern finds is a pod's; the newest namespaces have the largest cookies."""
    for cookie in range(1, 6):
        begin(tmp_path / "crowd", cookie)
    for cookie in range(1, 4):
        begin(tmp_path / "full", cookie)
    bindings, told = scrape.scraped([str(tmp_path / "*")])
    assert sorted(binding.netns for binding in bindings) == [1, 2, 3, 3, 4, 5]
    assert (told.crowded, told.left_out) == (1, 0)
    bindings, told = scrape.scraped([str(tmp_path / "crowd")])
    assert len(bindings) == 5
    assert (told.crowded, told.left_out) == (0, 0)
    assert not silent


@pytest.mark.usefixtures("small")
def test_a_namespace_with_many_interfaces_is_a_crowd_too(silent: set[str], tmp_path: Path) -> None:
    for number in range(5):
        begin(tmp_path / "pod", 1, f"eth{number}")
    bindings, told = scrape.scraped([str(tmp_path / "*")])
    assert [binding.interface for binding in bindings] == ["eth0", "eth1", "eth2"]
    assert told.crowded == 1
    assert not silent


@pytest.mark.usefixtures("small")
def test_what_cannot_be_trusted_has_a_limit_too(silent: set[str], tmp_path: Path) -> None:
    for cookie in range(1, 6):
        begin(tmp_path / "pod", cookie)
        (tmp_path / "pod" / f"netns-{cookie}").chmod(0o777)
    bindings, told = scrape.scraped([str(tmp_path / "*")])
    assert (bindings, told.untrusted, told.crowded) == ([], 3, 1)
    assert not silent


@pytest.mark.parametrize(
    ("inside", "name"), [(".", "netns-{}"), (".", "other{}"), ("netns-1", "eth{}"), ("netns-1", "a b{}")]
)
@pytest.mark.usefixtures("small")
def test_of_a_huge_directory_the_beginning_is_read(
    inside: str, name: str, silent: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of namespaces, of interfaces, and of what is neither."""
    begin(tmp_path / "pod", 1)
    for number in range(2, 102):
        (tmp_path / "pod" / inside / name.format(number)).mkdir(mode=0o700)
    read = 0

    class Counting:
        """os.scandir that counts what is taken of it."""

        def __init__(self, where: str | int) -> None:
            self.entries = scandir(where)

        def __enter__(self) -> Counting:
            return self

        def __exit__(self, *_: object) -> None:
            self.entries.close()

        def __iter__(self) -> Counting:
            return self

        def __next__(self) -> os.DirEntry[str]:
            nonlocal read
            entry: os.DirEntry[str] = next(self.entries)
            read += 1
            return entry

    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", Counting)
    _, told = scrape.scraped([str(tmp_path / "*")])
    assert told.crowded == 1
    assert 13 <= read < 40
    assert not silent


@pytest.mark.usefixtures("small")
def test_a_pod_takes_no_other_s_place(silent: set[str], tmp_path: Path) -> None:
    """All together have a limit: a second binding is left out before any first one."""
    for pod in range(6):
        for cookie in (1, 2):
            begin(tmp_path / f"pod{pod}", cookie)
    bindings, told = scrape.scraped([str(tmp_path / "*")])
    assert len(bindings) == 8
    assert {binding.state_dir for binding in bindings} == {f"pod{pod}" for pod in range(6)}
    assert (told.crowded, told.left_out) == (0, 4)
    assert not silent


def test_the_longest_reports_are_not_read_where_all_are_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pod in "abc":
        begin(tmp_path / pod, 1)
    long = LINE[:-2] + b', "x": "' + b"x" * 100 + b'"}\n'
    monkeypatch.setattr(call, "answers_of", lambda _: [long, long, LINE])
    monkeypatch.setattr(scrape, "_MOST_OCTETS", 200)
    bindings, told = scrape.scraped([str(tmp_path / "*")])
    assert [(binding.state_dir, binding.report) for binding in bindings] == [("c", ANSWER), ("a", ANSWER)]
    assert told.left_out == 1


def test_a_crowd_of_pods_is_looked_at_in_part(
    silent: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrape, "_MOST_PODS", 3)
    for pod in range(5):
        begin(tmp_path / f"pod{pod}", 1)
    bindings, told = scrape.scraped([str(tmp_path / "*")])
    assert (len(bindings), told.crowded) == (3, 1)
    assert not silent


def test_a_directory_that_is_named_twice_is_there_once(silent: set[str], tmp_path: Path) -> None:
    begin(tmp_path, 1)
    assert len(found(tmp_path, tmp_path)) == 1
    assert not silent


def test_a_journal_s_depth_is_survived(silent: set[str], tmp_path: Path) -> None:
    begin(tmp_path, 5).write("journal.json", json.dumps({"boot_id": 1}).encode()[:-1] + b"," + b"[" * 60_000)
    silent.add("netns-5/eth0")
    assert [binding.report for binding in found(tmp_path)] == [None]
