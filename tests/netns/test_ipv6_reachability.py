"""A guest stays reachable by IPv6: whoever has forgotten a neighbour finds it again, whatever else goes on.

┌ node ──────────────────────────────┐      ┌ pod, after vmnet up ──────┐        ┌ guest ────────┐
│ uplink0  the peer                  │      │ eth0-nic ─┐               │        │ the kernel's  │
│ cni0     the gateway, MLD querier, ├─veth─┤           ├ k6t-eth0 ─    │        │ own IPv6      │
│          with MLD snooping         │      │           └ tap0 ─────────┼ copier ┤ on eth0       │
└────────────────────────────────────┘      └───────────────────────────┘        └───────────────┘
"""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from testbed.clients6 import living6
from testbed.netns import background
from testbed.pods import must_answer, ping

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.clients6 import Living6
    from testbed.netns import Netns
    from testbed.pods import Pod

QUERIER = (
    "mcast_snooping 1 mcast_querier 1 mcast_query_interval 50 mcast_startup_query_interval 20 "
    "mcast_query_response_interval 20 mcast_membership_interval 150"
)
"""Of a bridge, in hundredths of a second: who has not reported for 1.5 s gets no more of its groups."""
CYCLES = 60
"""There are at most 40 in ten minutes: the kernel's 30 s vary by half (RFC 4861 §6.3.2)."""
HASTENED = {"base_reachable_time_ms": 300, "delay_first_probe_time": 0, "retrans_time_ms": 250}
"""A neighbour is asked whether it is there some hundred times as often as the kernel would."""
PINGS, INTERVAL = 100, 0.1
SOON = 5.0
"""Seconds."""
NEW_MAC = "7a:b4:0c:b9:b4:99"


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


@pytest.mark.parametrize("querier", [False, True], ids=["quiet", "querier"])
def test_a_guest_is_found_again_each_time_it_was_forgotten(lively: Living6, querier: bool) -> None:
    if querier:
        lively.pod.node.ip_batch(f"link set cni0 type bridge {QUERIER}")
    for _ in range(CYCLES):
        for namespace in (lively.pod.node, lively.netns):
            namespace.run("ip", "-6", "neighbour", "flush", "all")
        must_reach_both_ways(lively)


def test_no_ping_is_lost_while_neighbours_are_verified_behind_a_querier(lively: Living6) -> None:
    node, pod = lively.pod.node, lively.pod
    node.ip_batch(f"link set cni0 type bridge {QUERIER}")
    for namespace, ifname in ((node, "cni0"), (lively.netns, lively.guest.ifname)):
        for name, value in HASTENED.items():
            namespace.sysctl(f"ipv6/neigh/{ifname}/{name}", value)
    before = solicited(node), solicited(lively.netns)
    with ExitStack() as stack:
        runs = [
            stack.enter_context(
                background(pinging(namespace, address), lively.guest.directory / f"to-{address}.log")
            )
            for namespace, address in ((node, pod.address6), (lively.netns, pod.peer6))
        ]
        for run in runs:
            run.wait(PINGS * INTERVAL + 20)
            assert f"{PINGS} packets transmitted, {PINGS} packets received, 0% packet loss" in run.text
    assert solicited(node) - before[0] > PINGS * INTERVAL
    assert solicited(lively.netns) - before[1] > PINGS * INTERVAL


def pinging(namespace: Netns, address: str) -> list[str]:
    return namespace.command("busybox", "ping", "-c", str(PINGS), "-i", str(INTERVAL), address)


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "silent"])
def test_a_gateway_with_another_mac_is_followed(lively: Living6, announced: bool) -> None:
    """It says so itself (RFC 4861 §7.2.6), or is only heard when it looks for the guest."""
    node = lively.pod.node
    node.sysctl("ipv6/conf/cni0/ndisc_notify", int(announced))

    node.ip_batch(f"link set cni0 address {NEW_MAC}")

    if not announced:
        must_answer(node, lively.pod.address6)
    began = time.monotonic()
    while not ping(lively.netns, lively.pod.peer6, timeout=1):
        assert time.monotonic() - began < SOON
    [default] = lively.netns.ip("-6", "route", "show", "default")
    [router] = lively.netns.ip("-6", "neighbour", "show", default["gateway"])
    assert router["lladdr"] == NEW_MAC
