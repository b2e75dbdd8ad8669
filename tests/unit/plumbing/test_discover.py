"""discover: what it finds in the layouts CNI plugins leave, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.testlib import layouts
from vmnet.errors import NotYetError, RefusedError
from vmnet.model.links import Address, Link, Route, Status
from vmnet.plumbing.discover import better_interface, discover, refuse_names_taken, refuse_orphans


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
        ({"controller": "br0"}, "a port of br0 already, which vmnet has not made; .*--interface"),
        ({"ethernet": False}, "not an Ethernet interface"),
        ({"loopback": True}, "not an Ethernet interface"),
        ({"kind": "bridge"}, "eth0 is a bridge, which cannot be a port of another one"),
        ({"kind": "vrf"}, "eth0 is a VRF"),
        ({"mtu": 65535}, "an MTU of 65535, and a tap can have 68 to 65521"),
        ({"mtu": 65522}, "an MTU of 65522"),
        ({"mtu": 67}, "an MTU of 67"),
    ],
)
def test_what_cannot_be_bridged_is_refused_with_the_reason(change: dict[str, object], says: str) -> None:
    with pytest.raises(RefusedError, match=says) as caught:
        discover(_with(layouts.status("bridge"), **change))
    assert not caught.value.retryable


def test_macvlan_in_passthru_mode_is_taken() -> None:
    assert discover(_with(layouts.status("bridge"), kind="macvlan", mode="passthru")).ifname == "eth0"


@pytest.mark.parametrize("mtu", [68, 65521])
def test_the_mtus_that_a_tap_can_have_are_taken(mtu: int) -> None:
    assert discover(_with(layouts.status("bridge"), mtu=mtu)).mtu == mtu


def _beside(*links: Link) -> Status:
    status = layouts.status("bridge")
    return replace(status, links=(*status.links, *links))


@pytest.mark.parametrize("kind", ["vlan", "macvlan", "macvtap", "ipvlan", "macsec", "xfrm", "hsr"])
def test_an_interface_that_another_link_stands_on_is_refused(kind: str) -> None:
    upper = Link(9, "up0", kind, "02:00:00:00:00:09", 1500, up=True, lower="eth0")
    with pytest.raises(RefusedError, match=rf"up0 \({kind}\) stands on eth0.*--interface"):
        discover(_beside(upper))


def test_a_veths_peer_and_what_stands_on_other_links_are_nothing_to_it() -> None:
    peer = Link(8, "peer0", "veth", "02:00:00:00:00:08", 1500, up=True, lower="eth0")
    other = Link(9, "up0", "vlan", "02:00:00:00:00:09", 1500, up=True, lower="net1")
    assert discover(_beside(peer, other)).ifname == "eth0"


@pytest.mark.parametrize(
    "route",
    [
        Route("net1", "10.9.0.0/16", prefsrc="10.244.1.2"),
        Route("lo", "fd00:9::/64", prefsrc="fd00::2"),
        Route("lo", "fd00:9::/64", prefsrc="fd00::2", table=100),
    ],
)
def test_a_route_elsewhere_that_would_go_with_an_address_is_refused(route: Route) -> None:
    status = layouts.status("bridge")
    address = Address("eth0", "fd00::2", 64)
    status = replace(status, routes=(*status.routes, route), addresses=(*status.addresses, address))
    with pytest.raises(RefusedError, match=f"{route.ifname} has a route {route.dst} with the source"):
        discover(status)
    elsewhere = (replace(entry, ifname="net1") for entry in status.addresses if entry.ifname == "eth0")
    assert discover(replace(status, addresses=(*status.addresses, *elsewhere))).routes


NET1 = Link(9, "net1", "veth", "02:00:00:00:00:09", 1500, up=True)


def _with_default_on_net1(metric: int, own_metric: int | None = None) -> Status:
    """The layout bridge beside another NIC; without a metric of its own eth0 has no default route."""
    status = _beside(NET1)
    kept = (route for route in status.routes if own_metric is not None or not route.is_default)
    own = tuple(replace(route, metric=own_metric or 0) for route in kept)
    return replace(status, routes=(*own, Route("net1", "0.0.0.0/0", "10.9.0.1", metric=metric)))


def test_a_default_route_on_another_interface_is_named() -> None:
    status = _with_default_on_net1(100)
    said = better_interface(status, discover(status))
    assert said == "eth0 has no default route; net1 has one: --interface net1 hands that over instead"


def test_a_better_default_route_on_another_interface_is_named() -> None:
    status = _with_default_on_net1(50, own_metric=200)
    assert "eth0 has a default route of metric 200; net1 has a better one" in better_interface(
        status, discover(status)
    )


@pytest.mark.parametrize("metric", [200, 300])
def test_another_default_route_that_is_no_better_is_not_named(metric: int) -> None:
    status = _with_default_on_net1(metric, own_metric=200)
    assert better_interface(status, discover(status)) == ""


def test_what_could_not_be_given_back_is_refused() -> None:
    status = replace(
        layouts.status("bridge"), not_restorable=(("eth0", "route 10.9.0.0/16 with several next hops"),)
    )
    with pytest.raises(RefusedError, match="several next hops, which vmnet") as refused:
        discover(status)
    said = "eth0 has a route 10.9.0.0/16 with several next hops, which vmnet did not make and could not restore, "
    assert str(refused.value).startswith(f"{said}so nothing was touched; ")
    assert not {"remove", "delete"} & set(str(refused.value).split())


def test_another_interfaces_strange_routes_are_none_of_ours() -> None:
    status = replace(layouts.status("bridge"), not_restorable=(("net1", "route with several next hops"),))
    assert discover(status).ifname == "eth0"


@pytest.mark.parametrize("name", ["tap0", "k6t-eth0", "eth0-nic"])
def test_names_of_ours_that_others_bear_are_refused(name: str) -> None:
    status = layouts.status("bridge")
    pod = discover(status)
    taken = replace(status, links=(*status.links, Link(9, name, "dummy", "02:00:00:00:00:09", 1500, up=True)))
    refuse_names_taken(status, pod, "tap0", {})
    with pytest.raises(RefusedError, match=f"{name} is a link of kind dummy that vmnet has not made") as refused:
        refuse_names_taken(taken, pod, "tap0", {})
    assert "remove" not in str(refused.value)
    assert "del" not in str(refused.value)


def test_a_binding_without_its_journal_is_refused() -> None:
    status = layouts.status("bridge")
    bridge = Link(8, "k6t-eth0", "bridge", "02:76:6d:00:00:08", 1500, up=True)
    port = Link(9, "eth0-nic", "veth", "02:00:00:00:00:09", 1500, up=True, controller="k6t-eth0")
    orphaned = replace(status, links=(*status.links, bridge, port))
    refuse_orphans(replace(status, links=(*status.links, bridge)))
    refuse_orphans(orphaned, "net1")
    for ifname in ("", "eth0"):
        with pytest.raises(RefusedError, match="k6t-eth0 joins eth0-nic, which vmnet has made"):
            refuse_orphans(orphaned, ifname)
