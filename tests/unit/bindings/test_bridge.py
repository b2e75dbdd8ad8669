"""The bridge binding as a Spec: what each object of the table in docs/design.md must be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.testlib import layouts
from vmnet.bindings.bridge import bound, unbound
from vmnet.model.links import FdbEntry, LinkSpec
from vmnet.model.settings import Settings
from vmnet.plumbing.discover import discover


def _links(layout: str = "bridge", settings: Settings | None = None) -> dict[str, LinkSpec]:
    pod = discover(layouts.status(layout))
    return {link.ifname: link for link in bound(pod, settings or Settings(), ipv6_settable=True).links}


def test_the_four_links_and_nothing_else() -> None:
    assert list(_links()) == ["k6t-eth0", "tap0", "eth0-nic", "eth0"]


def test_the_bridge_never_speaks_for_the_vm_and_never_listens_to_its_router_advertisements() -> None:
    bridge = _links()["k6t-eth0"]
    assert (bridge.kind, bridge.up, bridge.stp, bridge.mcast_snooping) == ("bridge", True, False, False)
    assert (bridge.arp_ignore, bridge.accept_ra, bridge.addr_gen_mode) == (1, 0, 1)


def test_the_ports_take_no_ipv6_of_their_own() -> None:
    """What is addressed to 01:80:c2:00:00:0e goes up on the port itself."""
    links = _links("bridge-dual")
    assert (links["tap0"].disable_ipv6, links["eth0-nic"].accept_ra) == (1, 0)
    pod = discover(layouts.status("bridge-dual"))
    given_back = unbound(replace(pod, accept_ra=2), Settings()).links[0]
    assert (given_back.accept_ra, given_back.disable_ipv6) == (2, None)


def test_what_was_not_saved_of_the_nic_is_not_changed() -> None:
    """An older vmnet's journal knows no accept_ra."""
    pod = replace(discover(layouts.status("bridge")), accept_ra=None)
    assert bound(pod, Settings(), ipv6_settable=True).links[2].accept_ra is None
    assert unbound(pod, Settings()).links[0].accept_ra is None


def test_ipv6_settings_are_left_alone_where_they_cannot_be_set() -> None:
    pod = discover(layouts.status("bridge"))
    links = bound(pod, Settings(), ipv6_settable=False).links
    assert {(link.accept_ra, link.disable_ipv6) for link in links} == {(None, None)}


def test_both_ports_learn_nothing_and_only_the_stand_in_bears_the_pods_mac() -> None:
    links = _links()
    pod = discover(layouts.status("bridge"))
    assert [link.learning for link in links.values()] == [None, False, False, None]
    assert [link.controller for link in links.values()] == [None, "k6t-eth0", "k6t-eth0", None]
    assert [link.mac == pod.mac for link in links.values()] == [False, False, False, True]
    assert links["eth0-nic"].ifindex == pod.ifindex


def test_the_stand_in_holds_an_ipv6_address_without_its_peer_to_whom_the_kernel_would_make_a_route() -> None:
    pod = discover(layouts.status("bridge-dual"))
    with_peers = replace(pod, addresses=tuple(replace(address, peer="peer") for address in pod.addresses))
    parked = bound(with_peers, Settings(), ipv6_settable=True).addresses
    assert [(address.ipv6, address.peer) for address in parked] == [(False, "peer"), (True, "")]


def test_every_link_has_the_nics_mtu() -> None:
    assert {link.mtu for link in _links("bridge").values()} == {1450}


def test_the_tap_is_the_owners() -> None:
    tap = _links(settings=Settings(tap="vm0", owner=107, group=108))["vm0"]
    assert (tap.kind, tap.owner, tap.group, tap.up) == ("tun", 107, 108, True)


@pytest.mark.parametrize("multi_queue", [False, True])
def test_the_tap_has_queues_if_asked(multi_queue: bool) -> None:
    assert _links(settings=Settings(multi_queue=multi_queue))["tap0"].multi_queue is multi_queue


@pytest.mark.parametrize("layout", layouts.NAMES)
def test_the_stand_in_holds_the_addresses_quietly(layout: str) -> None:
    pod = discover(layouts.status(layout))
    spec = bound(pod, Settings(), ipv6_settable=True)
    parked = {(address.local, address.prefixlen) for address in spec.addresses}
    assert parked == {(a.local, a.prefixlen) for a in pod.addresses if not a.local.startswith("fe80")}
    for address in spec.addresses:
        assert address.ifname == "eth0"
        assert address.flags & 0x200, "no connected route"
        assert bool(address.flags & 0x02) == address.ipv6, "no duplicate address detection"
    assert not spec.routes
    assert not spec.neighbours


def test_frames_for_the_vm_go_to_the_tap() -> None:
    pod = discover(layouts.status("bridge"))
    assert bound(pod, Settings(), ipv6_settable=True).fdb == (FdbEntry("tap0", pod.mac),)
    other = Settings(tap="vm0", mac="52:54:00:00:00:01")
    assert bound(pod, other, ipv6_settable=True).fdb == (FdbEntry("vm0", "52:54:00:00:00:01"),)


def test_unbound_is_the_pod_and_none_of_ours() -> None:
    pod = discover(layouts.status("bridge-dual"))
    spec = unbound(pod, Settings(tap="vm0"))
    assert (spec.addresses, spec.routes, spec.neighbours) == (pod.addresses, pod.routes, pod.neighbours)
    assert set(spec.absent) == {"eth0", "vm0", "k6t-eth0", "eth0-nic"}
    (nic,) = spec.links
    assert (nic.ifindex, nic.ifname, nic.mac, nic.controller) == (pod.ifindex, "eth0", pod.mac, "")
