"""A guest stays reachable by IPv6: whoever has forgotten a neighbour finds it again, whatever else goes on.

┌ node ──────────────────────────────┐      ┌ pod, after vmnet up ──────┐        ┌ guest ────────┐
│ uplink0  the peer                  │      │ eth0-nic ─┐               │        │ the kernel's  │
│ cni0     the gateway, MLD querier, ├─veth─┤           ├ k6t-eth0 ─    │        │ own IPv6      │
│          with MLD snooping         │      │           └ tap0 ─────────┼ copier ┤ on eth0       │
└────────────────────────────────────┘      └───────────────────────────┘        └───────────────┘
"""

from __future__ import annotations

import re
import socket
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet6 import ICMPv6MLQuery, IPv6, IPv6ExtHdrHopByHop, RouterAlert
from scapy.layers.l2 import Ether

from testbed.clients6 import configured6, living6
from testbed.netns import background, entered
from testbed.patience import PATIENCE, wait_until_so
from testbed.pods import must_answer, ping
from testbed.tap_guest import tap_guest
from testbed.watch import RTMGRP_NEIGH, wait_for_ip
from tests import figures
from tests.extent import amount, chosen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.agent import Agent
    from testbed.clients6 import Living6
    from testbed.netns import Netns
    from testbed.pods import Pod

FORGETFUL = (
    "mcast_query_interval 100 mcast_startup_query_interval 100 mcast_query_response_interval 20 "
    "mcast_membership_interval 220"
)
"""Of a bridge, in hundredths of a second: it asks each second, the least there is; a group that none has reported
twice is forgotten."""
QUERIES = amount(4, 8)
REPORTS_LOST = """\
table netdev lost {
    chain out {
        type filter hook egress device "eth0" priority 0;
        icmpv6 type { mld-listener-report, mld2-listener-report } drop;
    }
}
"""
CYCLES = amount(10, 60)
"""There are at most 40 in ten minutes: the kernel's 30 s vary by half (RFC 4861 §6.3.2)."""
HASTENED = {"base_reachable_time_ms": 300, "delay_first_probe_time": 0, "retrans_time_ms": 250}
"""A neighbour is asked whether it is there some hundred times as often as the kernel would."""
FOLLOWING = ("bridge-dual", "ptp-dual", "calico-dual", "cilium")
PINGS, INTERVAL = amount(40, 100), 0.1
GATEWAY, SECOND = "fd00:10:246:1::1", "fd00:10:246:1::fe"
OURS, OURS_SECOND = "fe80::766d:6e65:7401", "fe80::766d:6e65:7402"
"""Of the pod, and the routers that the guest knows them by."""
NEW_MAC, NEW_PORT_MAC = "7a:b4:0c:b9:b4:99", "7a:b4:0c:b9:b4:98"


@pytest.fixture
def layout() -> str:
    return "bridge-dual"


@pytest.fixture
def lively(ready_pod: Pod, tmp_path: Path) -> Iterator[Living6]:
    """A guest that reaches the peer, and is reached."""
    with living6("kernel", ready_pod, tmp_path) as guest:
        must_reach_both_ways(guest)
        yield guest


def must_reach_both_ways(guest: Living6) -> None:
    must_answer(guest.netns, guest.pod.peer6)
    must_answer(guest.pod.node, guest.pod.address6)


def solicited(namespace: Netns) -> int:
    """How many neighbour solicitations were sent."""
    counters = namespace.run("cat", "/proc/net/snmp6").stdout
    return int(re.findall(r"^Icmp6OutNeighborSolicits\s+(\d+)$", counters, re.MULTILINE)[0])


def heard_queries(namespace: Netns) -> int:
    """How often it was asked which groups it listens to."""
    counters = namespace.run("cat", "/proc/net/snmp6").stdout
    return int(re.findall(r"^Icmp6InGroupMembQueries\s+(\d+)$", counters, re.MULTILINE)[0])


def must_be_found_again(guest: Living6, queries: int = 0) -> None:
    """Each time that everybody has forgotten everybody; and until the guest has heard so many queries more."""
    cycles, enough = 0, heard_queries(guest.netns) + queries
    while cycles < CYCLES or heard_queries(guest.netns) < enough:
        for namespace in (guest.pod.node, guest.netns):
            namespace.run("ip", "-6", "neighbour", "flush", "all")
        must_reach_both_ways(guest)
        cycles += 1


def query(node: Netns) -> None:
    """Let the node's bridge ask for listeners, and believe what it hears from then on."""
    node.ip_batch(
        f"link set cni0 type bridge {FORGETFUL}", "link set cni0 type bridge mcast_snooping 1 mcast_querier 1"
    )


def test_a_guest_is_found_again_where_the_network_asks_for_listeners(ready_pod: Pod, tmp_path: Path) -> None:
    """Its reports have to pass, or the node's bridge sends it no more neighbour solicitations."""
    query(ready_pod.node)
    with living6("kernel", ready_pod, tmp_path) as guest:
        must_be_found_again(guest, QUERIES)


def test_a_guest_that_reports_nothing_is_found_again_too(ready_pod: Pod, tmp_path: Path) -> None:
    """The network asks, but sends everything to everybody all the same; so must the pod's bridge."""
    ready_pod.node.ip_batch("link set cni0 type bridge mcast_snooping 0")
    with tap_guest(ready_pod.netns, ready_pod.mac, tmp_path, accept_ra=2) as plugged:
        plugged.netns.run("nft", "-f", "-", stdin=REPORTS_LOST)
        with configured6("kernel", plugged, ready_pod) as guest:
            ask_for_listeners(ready_pod.node)
            must_be_found_again(guest)


def ask_for_listeners(node: Netns) -> None:
    """Ask once (RFC 2710 §3): bridges believe for minutes that somebody does."""
    [link] = node.ip("-6", "address", "show", "dev", "cni0", "scope", "link")
    [source] = [entry["local"] for entry in link["addr_info"] if "local" in entry]
    ipv6 = IPv6(src=source, dst="ff02::1", hlim=1) / IPv6ExtHdrHopByHop(options=[RouterAlert()])
    frame = Ether(src=node.ip("link", "show", "cni0")[0]["address"], dst="33:33:00:00:00:01") / ipv6
    with entered(node), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind(("cni0", 0))
        wire.send(bytes(frame / ICMPv6MLQuery(mrd=100)))


def test_no_ping_is_lost_while_neighbours_are_verified_behind_a_querier(lively: Living6) -> None:
    node, pod = lively.pod.node, lively.pod
    query(node)
    hasten(node, "cni0")
    hasten(lively.netns, lively.guest.ifname)
    for namespace in (node, lively.netns):  # what is known already is known for as long as it was to be before
        namespace.run("ip", "-6", "neighbour", "flush", "all")
    before = solicited(node), solicited(lively.netns)
    with ExitStack() as stack:
        runs = [
            stack.enter_context(
                background(pinging(namespace, address), lively.guest.directory / f"to-{address}.log")
            )
            for namespace, address in ((node, pod.address6), (lively.netns, pod.peer6))
        ]
        for run in runs:
            run.wait(PATIENCE)
            assert f"{PINGS} packets transmitted, {PINGS} packets received, 0% packet loss" in run.text
    assert solicited(node) - before[0] > PINGS * INTERVAL
    assert solicited(lively.netns) - before[1] > PINGS * INTERVAL


def hasten(namespace: Netns, ifname: str) -> None:
    for name, value in HASTENED.items():
        namespace.sysctl(f"ipv6/neigh/{ifname}/{name}", value)


def pinging(namespace: Netns, address: str) -> list[str]:
    return namespace.command("busybox", "ping", "-c", str(PINGS), "-i", str(INTERVAL), address)


@pytest.mark.parametrize("layout", chosen(FOLLOWING, ("bridge-dual", "cilium").__contains__))
@pytest.mark.parametrize("announced", [True, False], ids=["announced", "silent"])
def test_a_gateway_with_another_mac_is_followed(lively: Living6, announced: bool) -> None:
    """It says so itself (RFC 4861 §7.2.6), or is only heard when it looks for the guest."""
    node, bridged = lively.pod.node, lively.pod.layout == "bridge-dual"
    gateway = "cni0" if bridged else lively.pod.host_ifname
    node.sysctl(f"ipv6/conf/{gateway}/ndisc_notify", int(announced))

    if bridged:  # it answers at the MACs of its ports, too
        node.ip_batch(f"link set {lively.pod.host_ifname} address {NEW_PORT_MAC}")
    node.ip_batch(f"link set {gateway} address {NEW_MAC}")

    if not announced:
        ping(node, lively.pod.address6, timeout=1)  # the answer may still go to the old MAC
    with figures.timed("a gateway with another MAC is followed", at_most=5):
        wait_until_so(lambda: ping(lively.netns, lively.pod.peer6, timeout=1), "the guest to reach the peer again")
    [default] = lively.netns.ip("-6", "route", "show", "default")
    [router] = lively.netns.ip("-6", "neighbour", "show", default["gateway"])
    assert router["lladdr"] == NEW_MAC


@contextmanager
def asking_the_peer(guest: Living6) -> Iterator[None]:
    """The guest has something to send all the time, and doubts its neighbours soon."""
    hasten(guest.netns, guest.guest.ifname)
    words = ("busybox", "ping", "-i", str(INTERVAL), guest.pod.peer6)
    with background(guest.netns.command(*words), guest.guest.directory / "asking.log"):
        yield


def wait_for_neighbour(namespace: Netns, address: str, *states: str) -> None:
    """Wait until a neighbour is in one of these states."""
    wait_for_ip(
        namespace,
        RTMGRP_NEIGH,
        f"-6 neighbour show {address}",
        lambda entries: bool(entries) and entries[0]["state"][0] in states,
    )


def test_a_gateway_that_is_gone_is_gone_to_the_guest_until_it_is_back(lively: Living6, agent: Agent) -> None:
    """As it would be to the pod: the guest's own doubts find it out. And doctor says so."""
    [default] = lively.netns.ip("-6", "route", "show", "default")
    with asking_the_peer(lively):
        lively.pod.node.ip_batch(f"address delete {GATEWAY}/64 dev cni0")
        wait_for_neighbour(lively.netns, default["gateway"], "FAILED", "INCOMPLETE")
        wait_until_so(lambda: is_missed(agent), "doctor to miss the gateway")

        lively.pod.node.ip_batch(f"address add {GATEWAY}/64 dev cni0 nodad")
        wait_for_neighbour(lively.netns, default["gateway"], "REACHABLE")
    must_reach_both_ways(lively)
    assert not is_missed(agent)


def is_missed(agent: Agent) -> bool:
    """Whether doctor says that the gateway is gone."""
    return "VMN-404" in agent.run("doctor", "--listen", "0", check=False).stdout


def test_of_two_gateways_the_guest_takes_the_one_that_is_there(pod: Pod, agent: Agent, tmp_path: Path) -> None:
    pod.node.ip_batch(f"address add {SECOND}/64 dev cni0 nodad")
    pod.netns.ip_batch(f"route add default via {SECOND} dev {pod.ifname} metric 2048")
    agent.up()
    with living6("kernel", pod, tmp_path) as guest, asking_the_peer(guest):
        must_reach_both_ways(guest)
        assert route_to_peer(guest) == OURS

        pod.node.ip_batch(f"address delete {GATEWAY}/64 dev cni0")
        wait_for_neighbour(guest.netns, OURS, "FAILED", "INCOMPLETE")
        wait_until_so(lambda: ping(guest.netns, pod.peer6, timeout=1), "the other gateway to be taken")
        assert route_to_peer(guest) == OURS_SECOND


def route_to_peer(guest: Living6) -> str:
    """By which router the guest sends to the peer now."""
    [route] = guest.netns.ip("-6", "route", "get", guest.pod.peer6)
    return str(route["gateway"])
