"""What is decided before anything is touched, on a kernel that only shows a pod."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.testlib import layouts
from tests.testlib.place import HERE, PLACE
from vmnet.agent import begin
from vmnet.agent.recall import written
from vmnet.errors import RefusedError
from vmnet.kernel import firewall
from vmnet.model.links import Neighbour, Route, Status
from vmnet.model.settings import Settings
from vmnet.plumbing.discover import discover
from vmnet.plumbing.node_signs import HOST_IP, POD_IP
from vmnet.saved import journal
from vmnet.saved.facts import text_of, understood
from vmnet.settings import resolver
from vmnet.settings.config import Config


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


def test_the_environment_tells_of_the_namespace_that_we_were_started_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of an agent with `hostNetwork: true` names the node's address twice, and none of a pod it enters."""
    for name in (HOST_IP, POD_IP):
        monkeypatch.setenv(name, "172.18.0.2")
    ours, theirs = Config(), Config(netns="pod")
    assert begin.node_signs(Status(()), ours, "eth0") == ("the pod's address is the node's, 172.18.0.2",)
    assert begin.node_signs(Status(()), resolver.within(ours), "eth0") != ()
    for config in (theirs, resolver.within(theirs), replace(ours, on_node=True)):
        assert begin.node_signs(Status(()), config, "eth0") == ()
