"""What is to be seen of a binding, before anybody draws it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.testlib import layouts
from tests.testlib.journals import IPV6_ONLY, SETTINGS, journal, of_pod
from vmnet.bindings.bridge import bound
from vmnet.diagnosis.drawing.picture import BRIDGE, NETWORK, NIC, SERVER, STAND_IN, TAP, VM, Box, Panel, picture
from vmnet.model.settings import Settings, Told
from vmnet.plumbing.discover import discover


def box(panel: Panel, kind: str) -> Box:
    """The one box of that kind."""
    [found] = [box for box in (*panel.column, *panel.beside) if box.kind == kind]
    return found


def after(layout: str, settings: Settings = SETTINGS) -> Panel:
    return picture(journal(layout, settings)).after


def test_the_guest_s_end_is_up_and_the_network_s_down() -> None:
    seen = picture(journal("bridge"))
    assert [box.kind for box in seen.before.column] == [NIC, NETWORK]
    assert [box.kind for box in seen.after.column] == [VM, TAP, BRIDGE, NIC, NETWORK]
    assert [box.kind for box in seen.after.beside] == [SERVER, STAND_IN]


@pytest.mark.parametrize("layout", layouts.NAMES)
def test_every_link_of_the_spec_is_a_box_of_its_name(layout: str) -> None:
    saved = journal(layout)
    links = bound(saved.pod, saved.settings, ipv6_settable=True).links
    panel = picture(saved).after
    named = {box.title for box in (*panel.column, *panel.beside)}
    assert {link.ifname for link in links} <= named


@pytest.mark.parametrize("layout", layouts.NAMES)
def test_every_chain_is_a_lock_of_the_link_it_stands_at(layout: str) -> None:
    saved = journal(layout)
    chains = bound(saved.pod, saved.settings, ipv6_settable=True).rulesets[0].chains
    panel = picture(saved).after
    locks = {(box.title, name) for box in panel.column for name, _ in box.locks}
    assert locks == {(chain.device or "k6t-eth0", chain.name) for chain in chains}


def test_before_are_the_facts_of_the_pod_without_what_the_kernel_makes() -> None:
    assert box(picture(journal("bridge-dual")).before, NIC).facts == (
        ("address", "10.246.1.2/24"),
        ("address", "fd00:10:246:1::2/64"),
        ("MAC", "8e:da:d3:ea:cd:07"),
        ("route", "default via 10.246.1.1"),
        ("route", "default via fd00:10:246:1::1 metric 1024"),
        ("MTU", "1500"),
        ("DNS", "10.96.0.10"),
        ("DNS", "fd00:10:96::a"),
        ("search", "vms.svc.cluster.local, svc.cluster.local, cluster.local"),
    )


def test_a_permanent_neighbour_is_a_fact_of_the_pod() -> None:
    assert ("neighbour", "169.254.1.1 at 1e:8a:53:c2:07:44") in box(picture(journal("aws")).before, NIC).facts


def test_a_resolver_that_is_configured_is_none_of_the_pod_s() -> None:
    told = Told(nameservers=("9.9.9.9",), domain_search=("example",))
    seen = picture(journal("bridge", Settings(told=told)))
    assert not {"DNS", "search"} & {word for word, _ in box(seen.before, NIC).facts}
    assert ("DNS", "9.9.9.9") in box(seen.after, VM).facts


def test_the_vm_has_both_families_and_the_router_that_is_played_for_it() -> None:
    facts = box(after("bridge-dual"), VM).facts
    assert ("address", "10.246.1.2/24") in facts
    assert ("address", "fd00:10:246:1::2") in facts
    assert ("gateway", "fe80::766d:6e65:7401 for fd00:10:246:1::1") in facts
    assert len(facts) == len(set(facts)), "the same said twice"


def test_a_pod_without_ipv4_is_served_no_dhcpv4() -> None:
    panel = after(IPV6_ONLY)
    assert {word for word, _ in box(panel, SERVER).facts} == {"RA", "DHCPv6"}
    assert ("address", "fd00:10:246:1::2/64") in box(panel, STAND_IN).facts


@pytest.mark.parametrize(
    ("dhcp", "facts"), [("off", (("DHCP", "none"),)), ("external", (("DHCP", "from the network"),))]
)
def test_who_else_answers_the_guest(dhcp: str, facts: tuple[tuple[str, str], ...]) -> None:
    assert box(after("bridge-dual", Settings(dhcp=dhcp)), SERVER).facts == facts


def test_the_locks_say_what_the_isolation_keeps() -> None:
    strict, weaker = after("bridge"), after("bridge", Settings(isolation="dhcp-only", dhcp="external"))
    assert box(strict, TAP).locks == (("guest", "only the VM's MAC and addresses"),)
    assert box(strict, NIC).locks == (("network", "no other DHCP or router"),)
    assert box(weaker, TAP).locks == (("guest", "neither DHCP server nor router"),)
    assert box(weaker, NIC).locks == (("network", "no redirects"),)
    assert picture(journal("bridge")).locked == "chains of the nftables table vmnet_eth0"


def test_without_isolation_there_is_no_lock() -> None:
    seen = picture(journal("bridge", Settings(isolation="off")))
    assert not any(box.locks for box in (*seen.after.column, *seen.after.beside))
    assert seen.locked == "isolation is off: no filter"


def test_the_tap_says_who_may_open_it_and_how_often() -> None:
    panel = after("bridge", Settings(tap="vm0", multi_queue=True))
    assert (box(panel, TAP).title, box(panel, TAP).facts) == (
        "vm0",
        (("opened by", "root alone"), ("queues", "several")),
    )
    assert box(after("bridge"), TAP).facts == (("opened by", "uid 107"),)


def test_names_are_escaped_once_for_whatever_draws_them() -> None:
    pod = replace(discover(layouts.status("bridge")), ifname="eth\x1b")
    assert box(picture(of_pod(pod)).before, NIC).title == r"eth\x1b"
