"""What the agent decides before it touches anything, on a kernel that only shows a pod."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest

from tests.testlib import layouts
from tests.unit.saved.test_facts import WEAK
from vmnet.agent import begin, lifecycle, place
from vmnet.agent.recall import Known, written
from vmnet.errors import KernelError, RefusedError, RollbackIncompleteError, UnexpectedError
from vmnet.kernel import firewall
from vmnet.model.links import Neighbour, Route, Status
from vmnet.model.settings import Settings
from vmnet.plumbing.discover import discover
from vmnet.plumbing.node_signs import HOST_IP, POD_IP
from vmnet.saved import journal
from vmnet.saved.facts import text_of, understood
from vmnet.saved.schema import Here
from vmnet.settings import resolver
from vmnet.settings.config import Config

if TYPE_CHECKING:
    from pathlib import Path

    from vmnet.agent.place import Place

HERE = Here(42, "b00t")
PLACE = cast(
    "Place", type("Place", (), {"netlink": None, "here": HERE, "state": journal.StateDirectory("/dev/null", 42)})
)


@pytest.fixture(autouse=True)
def _nft(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firewall, "program", lambda: "/usr/sbin/nft")


def _of_many(routes: int) -> Status:
    found = layouts.status("bridge")
    more = (Route("eth0", f"11.{at >> 8 & 255}.{at & 255}.0/24", "10.244.1.1") for at in range(routes))
    return replace(found, routes=(*found.routes, *more))


def test_what_is_begun_can_be_read_back() -> None:
    begun = begin.begin(PLACE, Config(default_hostname="vm_1"), _of_many(700))
    text = text_of(begun, HERE)
    assert len(text) > 64 * 1024
    assert understood(text, HERE) == begun


def test_facts_that_are_too_many_are_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "LARGEST_SAVED", 64 * 1024)
    begin.begin(PLACE, Config(), _of_many(200))
    with pytest.raises(
        RefusedError, match=r"of eth0 are too many to keep: \d+ bytes, 65536 at most; give the pod"
    ):
        begin.begin(PLACE, Config(), _of_many(700))


def test_ten_thousand_routes_are_kept_and_the_guest_is_told_what_fits() -> None:
    begun = begin.begin(PLACE, Config(), _of_many(10_000))
    assert len(begun.pod.routes) > 10_000
    assert begun.lease
    assert len(begun.lease.classless_routes) < 1010
    assert begun.lease.classless_routes[-1].dst == "0.0.0.0/0"
    assert any("9000 routes more than 1000" in warning for warning in begun.lease.warnings)
    assert len(written(begun)) == 1


@pytest.mark.parametrize("name", ["_eth", "e+h", "é0"])
def test_a_nic_whose_name_no_journal_may_hold_is_refused(name: str) -> None:
    """The kernel takes such names; they could not be told from hostile ones when they are read."""
    found = layouts.status("bridge")
    renamed = replace(
        found,
        links=tuple(replace(link, ifname=name) if link.ifname == "eth0" else link for link in found.links),
        addresses=tuple(replace(entry, ifname=name) for entry in found.addresses),
        routes=tuple(replace(entry, ifname=name) for entry in found.routes),
        neighbours=(),
    )
    with pytest.raises(RefusedError, match=r"cannot be handed over: Journal\.pod\.ifname .* is not a link name"):
        begin.begin(PLACE, Config(), renamed)


@pytest.mark.parametrize("name", ["\udce9t\udce9", "a b", "x\n", "-"])
def test_an_odd_name_of_the_uts_namespace_is_said_and_not_saved(name: str) -> None:
    begun = begin.begin(PLACE, Config(default_hostname=name), layouts.status("bridge"))
    assert begun.settings.hostname == ""
    assert any("is not one that DHCP can carry" in warning for warning in begun.leases.warnings)


@pytest.mark.parametrize("tap", ["eth0-nic", "k6t-eth0"])
def test_a_tap_of_a_name_that_is_ours_is_refused(tap: str) -> None:
    with pytest.raises(RefusedError, match=r"two of the links .* would have one name"):
        begin.begin(PLACE, Config(settings=Settings(tap=tap), tap_is_named=True), layouts.status("bridge"))


def test_neighbours_that_a_packet_can_make_are_not_kept() -> None:
    found = layouts.status("bridge")
    gateway = Neighbour("eth0", "10.244.1.1", "02:00:00:00:00:01")
    permanent = Neighbour("eth0", "10.244.1.77", "02:00:00:00:00:77", permanent=True)
    learned = Neighbour("eth0", "10.244.1.78", "02:00:00:00:00:78", flags=0x10)
    filled = tuple(
        Neighbour("eth0", f"10.244.{at >> 8}.{at & 255}", "02:00:00:00:00:02") for at in range(512, 1312)
    )
    pod = discover(replace(found, neighbours=(*filled, permanent, gateway, learned)))
    assert set(pod.neighbours) == {permanent, gateway, learned}


def _known(settings: Settings) -> Known:
    begun = begin.begin(PLACE, Config(), layouts.status("bridge"))
    return Known(replace(begun, settings=settings), None)


def test_the_environment_tells_of_the_namespace_that_we_were_started_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of an agent with `hostNetwork: true` names the node's address twice, and none of a pod it enters."""
    for name in (HOST_IP, POD_IP):
        monkeypatch.setenv(name, "172.18.0.2")
    ours, theirs = Config(), Config(netns="pod")
    assert begin.node_signs(Status(()), ours, "eth0") == ("the pod's address is the node's, 172.18.0.2",)
    assert begin.node_signs(Status(()), resolver.within(ours), "eth0") != ()
    for config in (theirs, resolver.within(theirs), replace(ours, on_node=True)):
        assert begin.node_signs(Status(()), config, "eth0") == ()


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
