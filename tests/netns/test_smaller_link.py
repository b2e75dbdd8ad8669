"""What the pod reached by its gateway the guest reaches by it, too, whatever the prefix of its address says.

┌ node ────────────────────────────────┐      ┌ pod ───────────────────────────────┐
│ 10.244.1.77, which answers no ARP    ├─veth─┤ eth0 10.244.1.2/24, no route to    │
│ on the pod's link                    │      │ 10.244.1.0/24; all by 169.254.1.1  │
└──────────────────────────────────────┘      └────────────────────────────────────┘
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from testbed import clients
from testbed.pods import must_answer
from testbed.snapshot import difference, snapshot
from testbed.tap_guest import tap_guest

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.agent import Agent
    from testbed.pods import Pod

BEHIND = "10.244.1.77"


def transparent(pod: Pod) -> None:
    """Leave the pod as Azure's CNI does in transparent mode."""
    [link] = pod.node.ip("link", "show", "dev", "cni0")
    pod.node.ip_batch(f"address add {BEHIND}/32 dev uplink0", f"route add {pod.address}/32 dev cni0")
    pod.node.sysctl("ipv4/conf/cni0/arp_ignore", 1)
    pod.netns.ip_batch(
        "route del default",
        "route del 10.244.1.0/24 dev eth0",
        "route add 169.254.1.1 dev eth0 scope link",
        f"neighbour add 169.254.1.1 lladdr {link['address']} nud permanent dev eth0",
        "route add default via 169.254.1.1 dev eth0",
    )


def test_the_guest_reaches_by_the_gateway_what_the_pod_did(pod: Pod, agent: Agent, tmp_path: Path) -> None:
    transparent(pod)
    must_answer(pod.netns, BEHIND)
    found = snapshot(pod)
    agent.up()
    assert json.loads(agent.run("plan", "--json").stdout)["lease"]["prefixlen"] == 32
    with tap_guest(pod.netns, pod.mac, tmp_path) as guest:
        leased = clients.lease("udhcpc", guest)
        assert (leased.address, leased.gateway) == (pod.address, "169.254.1.1")
        must_answer(guest.netns, BEHIND)
        must_answer(guest.netns, pod.peer)
    agent.down()
    assert difference(found, snapshot(pod)) == ""
