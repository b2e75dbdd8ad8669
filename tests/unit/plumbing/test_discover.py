"""discover: what it finds in the layouts CNI plugins leave, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit import layouts
from vmnet.errors import NotYetError, RefusedError
from vmnet.model import Link, Settings, Status
from vmnet.plumbing.discover import discover, refuse_names_taken, refuse_orphans


def _with(status: Status, **changes: object) -> Status:
    """Change eth0."""
    links = tuple(
        replace(link, **changes) if link.ifname == "eth0" else link  # type: ignore[arg-type] # fields of Link
        for link in status.links
    )
    return replace(status, links=links)


@pytest.mark.parametrize("layout", layouts.NAMES)
def test_every_layout_is_found_whole(layout: str) -> None:
    status = layouts.status(layout)
    eth0 = status.link("eth0")
    assert eth0 is not None

    pod = discover(status)

    assert (pod.ifname, pod.ifindex, pod.mac, pod.mtu) == ("eth0", eth0.ifindex, eth0.mac, eth0.mtu)
    assert pod.addresses == tuple(address for address in status.addresses if address.ifname == "eth0")
    assert pod.routes == tuple(route for route in status.routes if route.ifname == "eth0")
    assert pod.routes
    assert pod.addresses


def test_the_interface_with_the_best_default_route_is_taken_where_there_is_no_eth0() -> None:
    status = layouts.status("bridge")
    renamed = replace(
        status,
        links=tuple(replace(link, ifname="net1") if link.ifname == "eth0" else link for link in status.links),
        addresses=tuple(replace(entry, ifname="net1") for entry in status.addresses if entry.ifname == "eth0"),
        routes=tuple(replace(entry, ifname="net1") for entry in status.routes),
    )
    assert discover(renamed).ifname == "net1"


def test_a_missing_interface_names_those_that_are_there_and_may_come_later() -> None:
    with pytest.raises(NotYetError, match=r"no interface net7 .*there is: eth0.*--interface") as caught:
        discover(layouts.status("bridge"), "net7")
    assert caught.value.retryable


def test_no_address_yet_may_come_later() -> None:
    status = replace(layouts.status("bridge"), addresses=())
    with pytest.raises(NotYetError, match="eth0 has neither an IPv4 nor a global IPv6 address"):
        discover(status)


def test_a_link_that_is_down_may_come_up_later() -> None:
    with pytest.raises(NotYetError, match="eth0 is down"):
        discover(_with(layouts.status("bridge"), up=False))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "ipvlan"}, "ipvlan.*give the pod a veth"),
        ({"kind": "macvlan", "mode": "bridge"}, "macvlan interface in bridge mode.*passthru"),
        ({"kind": "macvtap", "mode": "vepa"}, "macvtap interface in vepa mode"),
        ({"controller": "br0"}, "already a port of br0.*nomaster"),
        ({"ethernet": False}, "no Ethernet interface"),
        ({"loopback": True}, "no Ethernet interface"),
    ],
)
def test_what_cannot_be_bridged_is_refused_with_the_reason(change: dict[str, object], says: str) -> None:
    with pytest.raises(RefusedError, match=says) as caught:
        discover(_with(layouts.status("bridge"), **change))
    assert not caught.value.retryable


def test_macvlan_in_passthru_mode_is_taken() -> None:
    assert discover(_with(layouts.status("bridge"), kind="macvlan", mode="passthru")).ifname == "eth0"


def test_what_could_not_be_given_back_is_refused() -> None:
    status = replace(
        layouts.status("bridge"), not_restorable=(("eth0", "route 10.9.0.0/16 with several next hops"),)
    )
    with pytest.raises(RefusedError, match="several next hops, which vmnet could not give back"):
        discover(status)


def test_another_interfaces_strange_routes_are_none_of_ours() -> None:
    status = replace(layouts.status("bridge"), not_restorable=(("net1", "route with several next hops"),))
    assert discover(status).ifname == "eth0"


@pytest.mark.parametrize("name", ["tap0", "k6t-eth0", "eth0-nic"])
def test_names_of_ours_that_others_bear_are_refused(name: str) -> None:
    status = layouts.status("bridge")
    pod = discover(status)
    taken = replace(status, links=(*status.links, Link(9, name, "dummy", "02:00:00:00:00:09", 1500, up=True)))
    refuse_names_taken(status, pod, Settings())
    with pytest.raises(RefusedError, match=f"{name} exists already"):
        refuse_names_taken(taken, pod, Settings())


def test_a_binding_without_its_journal_is_refused() -> None:
    status = layouts.status("bridge")
    bridge = Link(8, "k6t-eth0", "bridge", "02:00:00:00:00:08", 1500, up=True)
    port = Link(9, "eth0-nic", "veth", "02:00:00:00:00:09", 1500, up=True, controller="k6t-eth0")
    orphaned = replace(status, links=(*status.links, bridge, port))
    refuse_orphans(replace(status, links=(*status.links, bridge)))
    refuse_orphans(orphaned, "net1")
    for ifname in ("", "eth0"):
        with pytest.raises(RefusedError, match="k6t-eth0 joins a NIC and a tap already"):
            refuse_orphans(orphaned, ifname)
