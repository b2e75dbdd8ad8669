"""A real kernel in QEMU takes over the pod's identity: guest = pod, fact by fact.

┌ node ───────┐     ┌ pod, after vmnet up ─────────────────────────────┐
│ peer        │     │ eth0-nic ─┐                    ┌ QEMU ─────────┐ │
│ the gateway ├─veth┤           ├ k6t-eth0 ── tap0 ──┤ eth0, udhcpc  │ │
└─────────────┘     │ eth0 (the stand-in)            └───────────────┘ │
                    └──────────────────────────────────────────────────┘
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from testbed.agent import HOSTNAME
from testbed.facts import GuestFacts, differences
from testbed.pods import HEADERS, must_answer
from testbed.qemu import Reach
from testbed.snapshot import difference, snapshot
from tests.extent import chosen

if TYPE_CHECKING:
    from testbed.agent import Agent
    from testbed.pods import Pod
    from testbed.qemu import Guest


@pytest.fixture
def found(pod: Pod) -> str:
    """See the pod as vmnet finds it."""
    return snapshot(pod)


@pytest.mark.parametrize("layout", chosen(["bridge", "calico"], ("calico",).__contains__))
def test_guest_is_what_the_pod_was_and_the_pod_comes_back(
    pod: Pod, before: GuestFacts, found: str, agent: Agent, guest: Guest
) -> None:
    assert differences(before, guest.facts) == ""
    assert guest.facts.hostname == HOSTNAME
    assert guest.facts.lease_time == 86400
    assert guest.pings == (Reach(pod.peer, 56, ok=True), Reach(pod.peer, before.mtu - HEADERS, ok=True))
    must_answer(pod.node, pod.address)
    must_answer(pod.node, pod.address, before.mtu - HEADERS)
    status = agent.status()
    assert (status["state"], status["drift"], status["server"]["lease"]) == ("up", [], "bound")

    guest.power_off()
    agent.down()

    assert difference(found, snapshot(pod)) == ""
    must_answer(pod.netns, pod.peer)
