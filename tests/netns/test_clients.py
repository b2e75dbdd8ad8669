"""Real DHCP clients lease through the real tap: the guest ends up with what the pod had.

┌ node ───────┐     ┌ pod, after vmnet up ────────────┐        ┌ guest, jailed ───┐
│ peer        │     │ eth0-nic ─┐                     │        │ udhcpc, dhclient │
│ the gateway ├─veth┤           ├ k6t-eth0 ── tap0 ───┤ copier ┤ dhcpcd, networkd │
└─────────────┘     │ eth0 (the stand-in)             │        │ eth0             │
                    └─────────────────────────────────┘        └──────────────────┘
"""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from testbed import clients
from testbed.agent import HOSTNAME
from testbed.facts import GuestFacts, differences
from testbed.pods import HEADERS, must_answer
from testbed.snapshot import difference, snapshot
from testbed.tap_guest import tap_guest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.agent import Agent
    from testbed.pods import Pod
    from testbed.tap_guest import TapGuest

LAYOUTS = ("bridge", "ptp", "calico", "cilium", "ovn", "cni-bridge", "cni-ptp")


def of_the_machine() -> tuple[str, str]:
    """What a client that breaks out would change first."""
    return hashlib.sha256(Path("/etc/resolv.conf").read_bytes()).hexdigest(), socket.gethostname()


@pytest.fixture(autouse=True)
def _machine_untouched() -> Iterator[None]:
    found = of_the_machine()
    yield
    assert of_the_machine() == found


@pytest.mark.parametrize("client", clients.CLIENTS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_guest_is_what_the_pod_was(ready_pod: Pod, before: GuestFacts, guest: TapGuest, client: str) -> None:
    leased = clients.lease(client, guest)

    assert differences(before, leased) == ""
    assert leased.hostname == HOSTNAME
    assert leased.lease_time == 86400
    must_answer(guest.netns, ready_pod.peer)
    must_answer(guest.netns, ready_pod.peer, before.mtu - HEADERS)
    must_answer(ready_pod.node, ready_pod.address)


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
