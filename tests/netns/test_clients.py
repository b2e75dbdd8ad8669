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
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from testbed import clients, pods
from testbed.agent import HOSTNAME
from testbed.eavesdrop import eavesdropping
from testbed.facts import differences, read_pod
from testbed.pods import HEADERS, must_answer
from testbed.snapshot import describe, difference, snapshot
from testbed.tap_guest import tap_guest
from tests.at_once import at_once
from tests.dhcp_clients import CLIENTS, Before, Leased, options, tellable
from tests.extent import chosen, turn
from tests.netns import forked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from testbed.agent import Agent
    from testbed.netns import Netns
    from testbed.pods import Pod

LAYOUTS = ("bridge", "ptp", "calico", "cilium", "ovn", "cni-bridge", "cni-ptp")
PLAYED = {client: ("bridge", *turn(LAYOUTS[1:], number, 2)) for number, client in enumerate(clients.CLIENTS)}
"""The layouts on which a client leases."""
SIDE_BY_SIDE = 4


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
    before: Before
    directory: Path


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Ready]]:
    """A pod of every layout, up: what one client leaves of itself is gone with its guest."""
    directories = {layout: tmp_path_factory.mktemp(layout) for layout in LAYOUTS}
    with ExitStack() as stack:
        outcomes = at_once(LAYOUTS, lambda layout: handed_over(layout, directories[layout], stack), SIDE_BY_SIDE)
        yield {layout: outcome.get() for layout, outcome in outcomes.items()}


def handed_over(layout: str, directory: Path, stack: ExitStack) -> Ready:
    pod = stack.enter_context(pods.pod(layout))
    agent = forked.agent(pod, directory)
    stack.callback(agent.clear)
    before = Before(read_pod(pod), broadcast_address(pod.netns))
    agent.up()
    return Ready(pod, agent, before, directory)


def broadcast_address(namespace: Netns) -> str:
    [link] = namespace.ip("-4", "address", "show", "dev", "eth0")
    return str(link["addr_info"][0].get("broadcast", ""))


@pytest.mark.parametrize("client", clients.CLIENTS)
def test_guest_is_what_the_pod_was(ready: Mapping[str, Ready], client: str, subtests: pytest.Subtests) -> None:
    outcomes = at_once(PLAYED[client], lambda layout: leased(ready[layout], client), SIDE_BY_SIDE)

    for layout, outcome in outcomes.items():
        with subtests.test(layout=layout):
            found = outcome.get()
            assert differences(tellable(client, ready[layout].before.facts), found.facts) == ""
            assert found.facts.hostname in (HOSTNAME, f"{HOSTNAME}.{ready[layout].pod.search[0]}")
            assert found.facts.lease_time == (86400 if 51 in CLIENTS[client]["uses"] else None)
    with subtests.test("options"):
        before = {layout: ready[layout].before for layout in outcomes}
        assert options(before, {at: outcome.get() for at, outcome in outcomes.items()}) == CLIENTS[client]


def leased(mine: Ready, client: str) -> Leased:
    """Let a client lease in a guest of its own, and ping both ways."""
    directory = mine.directory / client
    directory.mkdir()
    with (
        tap_guest(mine.pod.netns, mine.pod.mac, directory) as guest,
        eavesdropping(guest.netns, guest.ifname) as ears,
    ):
        try:
            facts = clients.lease(client, guest)
            must_answer(guest.netns, mine.pod.peer)
            must_answer(guest.netns, mine.pod.peer, mine.before.facts.mtu - HEADERS)
            must_answer(mine.pod.node, mine.pod.address)
        except Exception as error:
            heard = "\n".join(map(str, ears.catch_up()))
            error.add_note(f"{heard}\n{describe(guest.netns)}\n{describe(mine.pod.netns)}")
            raise
        asked, *_, answered = ears.catch_up()
        return Leased(facts, asked, answered, broadcast_address(guest.netns))


@pytest.mark.parametrize("layout", chosen(LAYOUTS, ("calico", "cni-bridge").__contains__))
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
