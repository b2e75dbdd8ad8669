"""diff: from wherever we are to wherever we want to be, on a kernel in memory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.testlib import layouts
from tests.testlib.fake_kernel import FakeKernel
from vmnet.bindings.bridge import bound, unbound
from vmnet.model.change import (
    AddEntry,
    AlterLink,
    Change,
    CreateLink,
    DeleteCheck,
    DeleteEntry,
    DeleteLink,
    LoadRules,
)
from vmnet.model.links import (
    FOREVER,
    Address,
    FdbEntry,
    Link,
    LinkSpec,
    Neighbour,
    OffloadCheck,
    Route,
    Spec,
    Status,
)
from vmnet.model.settings import ISOLATION_OFF, Settings
from vmnet.plumbing.diff import diff, missing_links
from vmnet.plumbing.discover import discover

_ROUNDS = 4


def _converge(kernel: FakeKernel, spec: Spec, at_most: int | None = None) -> None:
    """Do as the agent does; stop dead after `at_most` changes, as if killed."""
    made = 0
    for _round in range(_ROUNDS):
        changes = diff(kernel.read(), spec)
        if not changes:
            return
        for change in changes:
            if made == at_most:
                return
            kernel.apply(change)
            made += 1
    raise AssertionError(f"does not converge: {[str(change) for change in diff(kernel.read(), spec)]}")


def _comparable(status: Status) -> tuple[object, ...]:
    """Routes in the kernel's table have no order of their own across destinations."""
    return (
        {replace(link, learning=None) for link in status.links},
        status.addresses,
        set(status.routes),
        set(status.neighbours),
        status.fdb,
        status.checks,
    )


def _specs(layout: str) -> tuple[Status, Spec, Spec]:
    status = layouts.status(layout)
    pod = discover(status)
    return status, bound(pod, Settings(), ipv6_settable=True), unbound(pod, Settings())


@pytest.mark.parametrize("layout", layouts.NAMES)
def test_up_then_down_gives_back_exactly_what_was_found(layout: str) -> None:
    found, up, down = _specs(layout)
    kernel = FakeKernel(found)
    _converge(kernel, up)
    assert kernel.read().link("k6t-eth0")
    _converge(kernel, down)
    assert _comparable(kernel.read()) == _comparable(found)


def test_unfinished_frames_are_checked_beside_the_rules_and_no_longer() -> None:
    found, up, down = _specs("bridge")
    kernel = FakeKernel(found)
    _converge(kernel, up)
    bound_now = kernel.read()
    assert {check.ifname for check in bound_now.checks} == {"tap0", "eth0-nic"}
    for missing in bound_now.checks:
        left = tuple(check for check in bound_now.checks if check != missing)
        [again] = diff(replace(bound_now, checks=left), up)
        assert isinstance(again, LoadRules)
    assert [change for change in diff(bound_now, down) if isinstance(change, DeleteCheck)] == [DeleteCheck("eth0")]


def test_a_place_on_which_nothing_hangs_is_given_back_with_the_pod_and_left_alone_before() -> None:
    found, _, down = _specs("bridge")
    open_to_all = bound(discover(found), Settings(isolation=ISOLATION_OFF), ipv6_settable=True)
    kernel = FakeKernel(found)
    _converge(kernel, open_to_all)
    place = replace(kernel.read(), checks=(OffloadCheck("eth0-nic", ""),))
    assert diff(place, open_to_all) == ()
    assert DeleteCheck("eth0") in diff(replace(found, checks=(OffloadCheck("eth0", ""),)), down)


def test_a_place_that_the_pod_had_stays() -> None:
    found = _specs("bridge")[0]
    found = replace(found, checks=(OffloadCheck("eth0", ""),))
    pod = discover(found)
    assert pod.bare_clsact
    down = unbound(pod, Settings())
    ours = replace(found, checks=(OffloadCheck("eth0", "vmnet-1"),))
    assert DeleteCheck("eth0", keep_place=True) in diff(ours, down)
    assert diff(found, down) == ()


def test_where_they_cannot_be_checked_the_rules_stand_alone() -> None:
    found, up, _down = _specs("bridge")
    kernel = FakeKernel(found)
    _converge(kernel, up)
    alone = next(ruleset for ruleset in up.rulesets if not ruleset.checks)
    assert "CAP_BPF" in alone.warning
    assert diff(replace(kernel.read(), checks=(), chains=alone.chains), up) == ()


@pytest.mark.parametrize("layout", layouts.NAMES)
def test_killed_after_any_change_of_up_or_down_one_more_call_converges(layout: str) -> None:
    found, up, down = _specs(layout)
    whole = FakeKernel(found)
    _converge(whole, up)
    golden, changes_up = whole.read(), len(whole.applied)
    _converge(whole, down)
    changes_down = len(whole.applied) - changes_up
    assert changes_up > 15
    assert changes_down > 3

    for killed_at in range(changes_up):
        kernel = FakeKernel(found)
        _converge(kernel, up, at_most=killed_at)
        _converge(kernel, up)
        assert diff(kernel.read(), up) == ()
        assert {link.ifname for link in kernel.read().links} == {link.ifname for link in golden.links}
        _converge(kernel, down)
        assert _comparable(kernel.read()) == _comparable(found), f"up killed after {killed_at}, then up, then down"

    for killed_at in range(changes_down):
        kernel = FakeKernel(golden)
        _converge(kernel, down, at_most=killed_at)
        _converge(kernel, down)
        assert _comparable(kernel.read()) == _comparable(found), f"down killed after {killed_at}"


def test_the_nic_is_renamed_remade_and_joined_in_one_message() -> None:
    found, up, _down = _specs("bridge")
    alterations = [change for change in diff(found, up) if isinstance(change, AlterLink)]
    whole = [change for change in alterations if "ifname" in dict(change.values)]
    assert len(whole) == 1
    assert whole[0].ifname == "eth0"
    assert [field for field, _value in whole[0].values] == ["ifname", "mac", "controller"]
    assert not any(dict(change.values).get("up") is False for change in alterations)


def test_a_link_is_told_never_to_answer_for_others_before_it_is_up_or_has_an_address() -> None:
    found, up, _down = _specs("bridge")
    told: dict[str, int] = {}
    risky: dict[str, int] = {}
    for number, change in enumerate(diff(found, up)):
        if isinstance(change, AlterLink):
            if "arp_ignore" in dict(change.values):
                told[change.ifname] = number
            if "up" in dict(change.values):
                risky.setdefault(change.ifname, number)
        elif isinstance(change, AddEntry) and isinstance(change.entry, Address):
            risky.setdefault(change.entry.ifname, number)
    assert {"k6t-eth0", "eth0"} <= told.keys() & risky.keys()
    assert all(told[ifname] < risky[ifname] for ifname in told)


def test_a_gateway_comes_after_the_route_that_makes_it_reachable() -> None:
    _found, _up, down = _specs("calico")
    bare = Status(links=(Link(2, "eth0", "veth", down.links[0].mac or "", 1480, up=True),))
    routes = [change.entry for change in diff(bare, down) if isinstance(change, AddEntry)]
    gateways = [bool(route.gateway) for route in routes if isinstance(route, Route) and not route.ipv6]
    assert gateways == sorted(gateways)
    assert True in gateways


def test_a_route_that_waits_for_its_ipv6_source_costs_no_other_route() -> None:
    """Where a neighbour says that it has that address, too, the kernel never takes it, and `down` ends there."""
    behind = Route("eth0", "fd02::/64", "fd01::1")
    late = Route("eth0", "fd01::/64", prefsrc="fd00::5")
    sourced = Route("eth0", "::/0", "fe80::1", prefsrc="fd00::5")
    others = (
        Route("eth0", "0.0.0.0/0", "10.0.0.1"),
        Route("eth0", "10.1.0.0/16", "fd01::1"),
        Route("eth0", "fd03::/64", "fe80::1"),
        Route("eth0", "10.0.0.0/24", prefsrc="10.0.0.5"),
    )
    spec = replace(_SPEC, routes=(behind, sourced, *others, late))
    changes = diff(replace(_AS_IT_SHALL_BE, routes=()), spec)
    assert [change.entry for change in changes if isinstance(change, AddEntry)] == [
        others[3],
        others[0],
        others[2],
        late,
        behind,
        sourced,
        others[1],
    ]


_ETH0 = Link(2, "eth0", "veth", "02:00:00:00:00:01", 1500, up=True, addr_gen_mode=0)
_SPEC = Spec(
    links=(LinkSpec("eth0", ifindex=2),),
    addresses=(Address("eth0", "10.0.0.5", 24),),
    routes=(Route("eth0", "0.0.0.0/0", "10.0.0.1"),),
    neighbours=(Neighbour("eth0", "10.0.0.1", "02:00:00:00:00:fe", permanent=True),),
    fdb=(FdbEntry("eth0", "02:00:00:00:00:02"),),
)
_AS_IT_SHALL_BE = Status((_ETH0,), _SPEC.addresses, _SPEC.routes, _SPEC.neighbours, _SPEC.fdb)


def test_nothing_to_do() -> None:
    assert diff(_AS_IT_SHALL_BE, _SPEC) == ()


@pytest.mark.parametrize(
    ("status", "changes"),
    [
        (replace(_AS_IT_SHALL_BE, addresses=()), [AddEntry(_SPEC.addresses[0])]),
        (replace(_AS_IT_SHALL_BE, routes=()), [AddEntry(_SPEC.routes[0])]),
        (replace(_AS_IT_SHALL_BE, neighbours=()), [AddEntry(_SPEC.neighbours[0])]),
        (replace(_AS_IT_SHALL_BE, fdb=()), [AddEntry(_SPEC.fdb[0])]),
        (
            replace(_AS_IT_SHALL_BE, addresses=(*_SPEC.addresses, Address("eth0", "10.9.9.9", 32))),
            [DeleteEntry(Address("eth0", "10.9.9.9", 32))],
        ),
        (
            replace(_AS_IT_SHALL_BE, routes=(replace(_SPEC.routes[0], metric=5),)),
            [DeleteEntry(replace(_SPEC.routes[0], metric=5)), AddEntry(_SPEC.routes[0])],
        ),
        (replace(_AS_IT_SHALL_BE, addresses=(*_SPEC.addresses, Address("net1", "10.9.9.9", 32))), []),
        (replace(_AS_IT_SHALL_BE, neighbours=(*_SPEC.neighbours, Neighbour("eth0", "10.0.0.9", "02::9"))), []),
    ],
    ids=[
        "address missing",
        "route missing",
        "neighbour missing",
        "forwarding entry missing",
        "address too many",
        "route of another metric",
        "another link's address",
        "a neighbour the kernel learnt",
    ],
)
def test_one_difference_is_one_repair(status: Status, changes: list[Change]) -> None:
    assert list(diff(status, _SPEC)) == changes


def test_running_lifetimes_are_no_difference_but_ending_ones_are() -> None:
    spec = Spec(
        links=(LinkSpec("eth0", ifindex=2),),
        addresses=(Address("eth0", "fd00::5", 64, valid_lifetime=600, preferred_lifetime=300),),
    )
    running = Address("eth0", "fd00::5", 64, valid_lifetime=17, preferred_lifetime=3)
    endless = Address("eth0", "fd00::5", 64)
    assert diff(Status((_ETH0,), (running,)), spec) == ()
    assert diff(Status((_ETH0,), (endless,)), spec) == (DeleteEntry(endless), AddEntry(spec.addresses[0]))


def test_a_deprecated_address_is_told_from_an_endless_one_and_not_from_one_that_runs() -> None:
    spec = Spec(
        links=(LinkSpec("eth0", ifindex=2),),
        addresses=(Address("eth0", "fd00::5", 128, preferred_lifetime=0),),
    )
    endless = Address("eth0", "fd00::5", 128)
    assert diff(Status((_ETH0,), (replace(endless, preferred_lifetime=7),)), spec) == ()
    assert diff(Status((_ETH0,), (endless,)), spec) == (DeleteEntry(endless), AddEntry(spec.addresses[0]))


def test_a_route_that_runs_out_is_told_from_an_endless_one() -> None:
    route = Route("eth0", "::/0", "fe80::1", metric=1024, lifetime=1800)
    spec = Spec(links=(LinkSpec("eth0", ifindex=2),), routes=(route,))
    endless = replace(route, lifetime=FOREVER)
    assert diff(Status((_ETH0,), routes=(replace(route, lifetime=12),)), spec) == ()
    assert diff(Status((_ETH0,), routes=(endless,)), spec) == (DeleteEntry(endless), AddEntry(route))


def test_ipv6_addresses_come_back_in_the_order_in_which_they_were() -> None:
    """Whatever of them is left: who is killed half-way has taken away the first."""
    found = tuple(Address("eth0", f"fd00::{number}", 64) for number in range(4))
    away = Spec(links=(LinkSpec("eth0", ifindex=2),))
    back = replace(away, addresses=found)
    for taken_away in range(len(found) + 1):
        kernel = FakeKernel(Status((_ETH0,), found))
        _converge(kernel, away, at_most=taken_away)
        assert kernel.read().addresses == found[taken_away:]
        _converge(kernel, back)
        assert kernel.read().addresses == found


def test_ipv6_settings_are_not_asked_of_a_kernel_without_ipv6() -> None:
    spec = Spec(links=(LinkSpec("eth0", ifindex=2, addr_gen_mode=1, accept_ra=0),))
    assert diff(Status((replace(_ETH0, addr_gen_mode=None),)), spec) == ()
    assert len(diff(Status((_ETH0,)), spec)) == 2


def test_a_tap_of_another_owner_is_made_anew() -> None:
    spec = Spec(links=(LinkSpec("tap0", kind="tun", owner=107),))
    tap = Link(5, "tap0", "tun", "02:00:00:00:00:05", 1500, up=False, owner=0)
    assert [type(change) for change in diff(Status((tap,)), spec)] == [DeleteLink, CreateLink]
    assert diff(Status((replace(tap, owner=107),)), spec) == ()


def test_a_nic_that_is_gone_cannot_be_made_and_is_named() -> None:
    found, up, _down = _specs("bridge")
    without = replace(found, links=tuple(link for link in found.links if link.ifname != "eth0"))
    assert missing_links(without, up) == ("eth0-nic",)
    assert missing_links(found, up) == ()
    assert not any(isinstance(change, CreateLink) and change.link.ifindex for change in diff(without, up))
