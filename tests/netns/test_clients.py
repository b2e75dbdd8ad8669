"""Real DHCP clients lease through the real tap: the guest ends up with what the pod had.

┌ node ───────┐     ┌ pod, after vmnet up ────────────┐        ┌ guest, jailed ───────────────┐
│ peer        │     │ eth0-nic ─┐                     │        │ udhcpc, dhclient, dhcpcd,    │
│ the gateway ├─veth┤           ├ k6t-eth0 ── tap0 ───┤ copier ┤ networkd, NetworkManager,    │
└─────────────┘     │ eth0 (the stand-in)             │        │ ConnMan      on eth0         │
                    └─────────────────────────────────┘        └──────────────────────────────┘

Each layout has one pod, in which one client leases after the other; all layouts are side by side. Which options a
client asks for and which of them are found in the guest afterwards stands in tests/data/dhcp-clients.json.
"""

from __future__ import annotations

import hashlib
import json
import socket
from contextlib import ExitStack
from dataclasses import dataclass, replace
from ipaddress import ip_interface
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from testbed import agent as agents
from testbed import clients, pods
from testbed.agent import HOSTNAME
from testbed.eavesdrop import eavesdropping
from testbed.facts import DEFAULT, GuestFacts, RouteFact, differences, read_pod
from testbed.pods import HEADERS, must_answer
from testbed.snapshot import describe, difference, snapshot
from testbed.tap_guest import tap_guest
from tests.netns.at_once import at_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from testbed.agent import Agent
    from testbed.eavesdrop import Message
    from testbed.netns import Netns
    from testbed.pods import Pod

LAYOUTS = ("bridge", "ptp", "calico", "cilium", "ovn", "cni-bridge", "cni-ptp")
SIDE_BY_SIDE = 4
CLIENTS: dict[str, dict[str, list[int]]] = json.loads(
    (Path(__file__).parents[1] / "data" / "dhcp-clients.json").read_text(encoding="ascii")
)
"""What each client asks for, sends of itself, and uses."""


def of_the_machine() -> tuple[str, str]:
    """What a client that breaks out would change first."""
    return hashlib.sha256(Path("/etc/resolv.conf").read_bytes()).hexdigest(), socket.gethostname()


@pytest.fixture(autouse=True)
def _machine_untouched() -> Iterator[None]:
    found = of_the_machine()
    yield
    assert of_the_machine() == found


@dataclass(frozen=True, slots=True)
class Ready:
    """A pod that was handed over, what it had before, and where its guests leave their files."""

    pod: Pod
    agent: Agent
    before: GuestFacts
    broadcast: str
    directory: Path


@dataclass(frozen=True, slots=True)
class Leased:
    """What a guest has after its client leased, and the first message and the last answer."""

    facts: GuestFacts
    broadcast: str
    asked: Message
    answered: Message


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Ready]]:
    """A pod of every layout, up: what one client leaves of itself is gone with its guest."""
    directories = {layout: tmp_path_factory.mktemp(layout) for layout in LAYOUTS}
    with ExitStack() as stack:
        outcomes = at_once(LAYOUTS, lambda layout: handed_over(layout, directories[layout], stack), SIDE_BY_SIDE)
        yield {layout: outcome.get() for layout, outcome in outcomes.items()}


def handed_over(layout: str, directory: Path, stack: ExitStack) -> Ready:
    pod = stack.enter_context(pods.pod(layout))
    agent = agents.agent(pod, directory)
    stack.callback(agent.clear)
    before, broadcast = read_pod(pod), broadcast_address(pod.netns)
    agent.up()
    return Ready(pod, agent, before, broadcast, directory)


def broadcast_address(namespace: Netns) -> str:
    [link] = namespace.ip("-4", "address", "show", "dev", "eth0")
    return str(link["addr_info"][0].get("broadcast", ""))


@pytest.mark.parametrize("client", clients.CLIENTS)
def test_guest_is_what_the_pod_was(ready: Mapping[str, Ready], client: str, subtests: pytest.Subtests) -> None:
    outcomes = at_once(LAYOUTS, lambda layout: leased(ready[layout], client), SIDE_BY_SIDE)

    for layout, outcome in outcomes.items():
        with subtests.test(layout=layout):
            found = outcome.get()
            assert differences(tellable(client, ready[layout].before), found.facts) == ""
            assert found.facts.hostname in (HOSTNAME, f"{HOSTNAME}.{ready[layout].pod.search[0]}")
            assert found.facts.lease_time == (86400 if 51 in CLIENTS[client]["uses"] else None)
    with subtests.test("options"):
        assert options(ready, {at: outcome.get() for at, outcome in outcomes.items()}) == CLIENTS[client]


def leased(mine: Ready, client: str) -> Leased:
    """Let a client lease in a guest of its own, and ping both ways."""
    directory = mine.directory / client
    directory.mkdir()
    with tap_guest(mine.pod.netns, mine.pod.mac, directory) as guest, eavesdropping(guest) as ears:
        try:
            facts = clients.lease(client, guest)
            must_answer(guest.netns, mine.pod.peer)
            must_answer(guest.netns, mine.pod.peer, mine.before.mtu - HEADERS)
            must_answer(mine.pod.node, mine.pod.address)
        except Exception as error:
            heard = "\n".join(map(str, ears.catch_up()))
            error.add_note(f"{heard}\n{describe(guest.netns)}\n{describe(mine.pod.netns)}")
            raise
        asked, *_, answered = ears.catch_up()
        return Leased(facts, broadcast_address(guest.netns), asked, answered)


def tellable(client: str, before: GuestFacts) -> GuestFacts:
    """What of the pod's facts a client can be told: one that does not know all the options gets by with others."""
    used = CLIENTS[client]["uses"]
    if 119 not in used:  # the domain name is the first of the search list
        before = replace(before, search=before.search[:1])
    if 121 not in used and before.prefixlen < 32:  # who has a subnet takes all of it for a neighbour
        subnet = str(ip_interface(f"{before.address}/{before.prefixlen}").network)
        ways = (RouteFact(subnet), RouteFact(f"{before.gateway}/32"), RouteFact(DEFAULT, before.gateway))
        before = replace(before, routes=ways)
    return before


SHOWS: dict[int, Callable[[Ready, Leased], bool]] = {
    1: lambda mine, got: got.facts.prefixlen == mine.before.prefixlen,
    3: lambda mine, got: got.facts.gateway == mine.before.gateway,
    6: lambda mine, got: got.facts.nameservers == mine.before.nameservers,
    12: lambda _mine, got: got.facts.hostname.partition(".")[0] == HOSTNAME,
    15: lambda mine, got: got.facts.search == mine.before.search[:1],
    26: lambda mine, got: got.facts.mtu == mine.before.mtu,
    28: lambda mine, got: got.broadcast == mine.broadcast or not mine.broadcast,
    51: lambda _mine, got: got.facts.lease_time == 86400,
    80: lambda _mine, got: 80 in got.answered.options,
    119: lambda mine, got: got.facts.search == mine.before.search,
    121: lambda mine, got: "route:" not in differences(mine.before, got.facts),
}
"""How it shows in a guest that an option was used."""
UNASKED = (51, 80)
"""What is told without being on the request list."""


def options(ready: Mapping[str, Ready], found: Mapping[str, Leased]) -> dict[str, list[int]]:
    """Which options a client asked for, which it sent, and which it used in every layout."""
    asked = found["bridge"].asked.options
    uses = [
        code
        for code, shows in SHOWS.items()
        if (code in asked[55] or code in UNASKED) and all(shows(ready[at], found[at]) for at in LAYOUTS)
    ]
    if 121 in uses:
        uses.remove(3)  # RFC 3442: who knows 121 must not look at 3, and it says the same
    return {"asks": list(asked[55]), "sends": sorted(asked.keys() - {53, 55}), "uses": uses}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pod_comes_back_after_a_guest(pod: Pod, agent: Agent, tmp_path: Path) -> None:
    found = snapshot(pod)
    agent.up()
    with tap_guest(pod.netns, pod.mac, tmp_path) as guest:
        clients.lease("udhcpc", guest)
        assert agent.status()["drift"] == []

    agent.down()

    assert difference(found, snapshot(pod)) == ""
    must_answer(pod.netns, pod.peer)
    must_answer(pod.node, pod.address)
