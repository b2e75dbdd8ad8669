"""Real clients of IPv6 configure themselves over the real tap: the guest ends up with what the pod had.

┌ node ───────┐     ┌ pod, after vmnet up ────────────┐        ┌ guest, jailed ──────────────┐
│ peers       │     │ eth0-nic ─┐                     │        │ networkd, dhclient, dhcpcd, │
│ the gateway ├─veth┤           ├ k6t-eth0 ── tap0 ───┤ copier ┤ NetworkManager, the kernel  │
└─────────────┘     │ eth0 (the stand-in)             │        │ alone        on eth0        │
                    └─────────────────────────────────┘        └─────────────────────────────┘

Each layout has one pod, in which one client after the other has a guest; all layouts are side by side. Who speaks
both families is shown with both.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass, replace
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet6 import ICMPv6ND_NS, IPv6
from scapy.layers.l2 import Ether

from testbed import pods
from testbed.clients6 import CLIENTS6, Living6, living6
from testbed.eavesdrop import eavesdropping6
from testbed.facts import GuestFacts, differences, read_pod
from testbed.facts6 import Facts6, differences6, read_pod6
from testbed.netns import TestbedError
from testbed.pods import HEADERS6, must_answer, ping
from testbed.snapshot import describe
from testbed.tcp import must_carry
from tests.at_once import at_once
from tests.dhcp_clients import tellable
from tests.extent import chosen, some, turn
from tests.netns import forked
from tests.netns.stage import stage, standing_still

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from testbed.agent import Agent
    from testbed.eavesdrop import Message6
    from testbed.netns import Netns
    from testbed.pods import Pod
    from testbed.tap_guest import RawTap

LAYOUTS = ("bridge-dual", "ptp-dual", "calico-dual", "cilium", "ipv6-only")
PLAYED: dict[str, list[str]] = {client: turn(LAYOUTS, number, 2) for number, client in enumerate(CLIENTS6)}
"""The layouts on which a client configures a guest."""
OF_DHCPV6 = tuple(client for client in CLIENTS6 if client != "kernel")
LEASE_TIME = 120
"""Seconds: T1 is half of it."""
NEIGHBOUR_ADVERTISEMENT = 136
"""RFC 4861 §4.4."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A pod that was handed over, what it had before, and where its guests leave their files."""

    pod: Pod
    agent: Agent
    before: Facts6
    before4: GuestFacts | None
    """None where there is no IPv4."""
    directory: Path


@pytest.fixture(scope="module")
def ready(_room: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Ready]]:
    """A pod of every layout, up: what one client leaves of itself is gone with its guest."""
    directories = {layout: tmp_path_factory.mktemp(layout) for layout in LAYOUTS}
    with ExitStack() as stack:
        outcomes = at_once(LAYOUTS, lambda layout: handed_over(layout, directories[layout], stack), len(LAYOUTS))
        yield {layout: outcome.get() for layout, outcome in outcomes.items()}


def handed_over(layout: str, directory: Path, stack: ExitStack) -> Ready:
    pod = stack.enter_context(pods.pod(layout))
    agent = forked.agent(pod, directory)
    stack.callback(agent.clear)
    before4 = read_pod(pod) if pod.nameservers else None
    made = Ready(pod, agent, read_pod6(pod), before4, directory)
    agent.up()
    return made


@dataclass(frozen=True, slots=True)
class Found:
    """What a guest has."""

    facts6: Facts6
    facts: GuestFacts | None
    """None where its client does not speak IPv4, or the pod does not."""


@pytest.mark.parametrize("client", CLIENTS6)
def test_guest_is_what_the_pod_was(ready: Mapping[str, Ready], client: str, subtests: pytest.Subtests) -> None:
    outcomes = at_once(PLAYED[client], lambda layout: found(ready[layout], client), len(LAYOUTS))
    for layout, outcome in outcomes.items():
        with subtests.test(layout=layout):
            guest, mine = outcome.get(), ready[layout]
            assert differences6(tellable6(client, mine.before), guest.facts6) == ""
            if guest.facts and mine.before4:
                assert differences(tellable(client, mine.before4), guest.facts) == ""


def tellable6(client: str, before: Facts6) -> Facts6:
    """What of the pod's facts a client can be told: the kernel has no use for names."""
    return replace(before, nameservers=(), search=()) if client == "kernel" else before


def found(mine: Ready, client: str) -> Found:
    """Let a client configure a guest of its own, which then has to be reached and to reach."""
    directory = mine.directory / client
    directory.mkdir()
    with living6(client, mine.pod, directory) as guest:
        try:
            must_reach_both_ways(guest, mine.before.mtu)
            speaks_ipv4 = guest.client.bound4 and mine.before4
            return Found(guest.facts6(), guest.facts() if speaks_ipv4 else None)
        except Exception as error:
            error.add_note(f"{describe(guest.netns)}\n{describe(mine.pod.netns)}\n{describe(mine.pod.node)}")
            raise


def must_reach_both_ways(guest: Living6, mtu: int) -> None:
    """Ping and TCP through the real gateway, none of it in fragments."""
    pod = guest.pod
    for size in (56, mtu - HEADERS6):
        must_answer(guest.netns, pod.peer6, size)
        must_answer(pod.node, pod.address6, size)
    must_carry(guest.netns, pod.node, pod.peer6)
    must_carry(pod.node, guest.netns, pod.address6)
    if guest.client.bound4 and pod.nameservers:
        must_answer(guest.netns, pod.peer)
        must_answer(pod.node, pod.address)
    assert (fragments(guest.netns), fragments(pod.node)) == (0, 0)


def fragments(namespace: Netns) -> int:
    """How many were made of what was too long."""
    [number] = re.findall(
        r"^Ip6FragCreates\s+(\d+)$", namespace.run("cat", "/proc/net/snmp6").stdout, re.MULTILINE
    )
    return int(number)


@pytest.mark.parametrize("layout", chosen(LAYOUTS, ("bridge-dual", "calico-dual").__contains__))
def test_nobody_but_a_guest_answers_for_the_pods_addresses(ready_pod: Pod, raw_tap: RawTap) -> None:
    """The stand-in bears them, but would fail a guest's duplicate address detection if it said so."""
    ready_pod.node.run("ip", "-6", "neighbour", "flush", "all")
    assert not ping(ready_pod.node, ready_pod.address6, timeout=1)
    [link] = ready_pod.netns.ip("-6", "address", "show", "dev", ready_pod.ifname)
    for address in {ready_pod.address6, *(entry["local"] for entry in link["addr_info"])}:
        raw_tap.send(probe(ready_pod.mac, address))
    with pytest.raises(TestbedError, match="no such frame"):
        raw_tap.receive(lambda frame: frame[12:14] == b"\x86\xdd" and frame[54] == NEIGHBOUR_ADVERTISEMENT, 1)


def probe(mac: str, address: str) -> bytes:
    """What duplicate address detection sends (RFC 4862 §5.4.2)."""
    group = IPv6Address(int(IPv6Address("ff02::1:ff00:0")) | int(IPv6Address(address)) & 0xFFFFFF)
    to = f"33:33:{group.packed[12:].hex(':')}"
    return bytes(Ether(src=mac, dst=to) / IPv6(src="::", dst=str(group), hlim=255) / ICMPv6ND_NS(tgt=address))


def renewing(message: Message6) -> bool:
    return message.kind == "RENEW"


def replied(message: Message6) -> bool:
    return message.kind == "REPLY"


def renewed(client: str, layout: str, directory: Path) -> None:
    """At T1 the client asks the server it knows; that one was started anew meanwhile."""
    with (
        stage(directory, layout, "--lease-time", str(LEASE_TIME)) as mine,
        living6(client, mine.pod, directory) as guest,
    ):
        with eavesdropping6(guest.netns, guest.guest.ifname) as ears:
            with standing_still(guest.netns):
                mine.restart()
            ears.wait_for(renewing)
            ears.wait_for(replied)
        assert mine.agent.status()["server"]["ipv6"]["events"]["reply_renew"] >= 1
        must_answer(guest.netns, mine.pod.peer6)
        assert guest.facts6().addresses == (mine.pod.address6,)


SCENES = [(client, layout) for client in OF_DHCPV6 for layout in ("bridge-dual", "calico-dual")]


def test_a_lease_is_renewed_by_a_server_that_was_started_anew(tmp_path: Path, subtests: pytest.Subtests) -> None:
    """All at once: each client spends nearly all of its time waiting for T1."""

    def play(scene: tuple[str, str]) -> None:
        client, layout = scene
        renewed(client, layout, tmp_path / f"{client}-{layout}")

    for (client, layout), outcome in at_once(some(SCENES, 3), play, len(SCENES)).items():
        with subtests.test(client=client, layout=layout):
            outcome.get()
