"""A real kernel in QEMU takes over the pod's IPv6 identity: routers by the kernel, addresses by dhcpcd.

┌ node ───────┐     ┌ pod, after vmnet up ─────────────────────────────┐
│ peers       │     │ eth0-nic ─┐                    ┌ QEMU ─────────┐ │
│ the gateway ├─veth┤           ├ k6t-eth0 ── tap0 ──┤ eth0, Linux,  │ │
└─────────────┘     │ eth0 (the stand-in)            │ dhcpcd        │ │
                    └────────────────────────────────┴───────────────┴─┘
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from testbed import agent as agents
from testbed import pods, qemu
from testbed.facts import differences, read_pod
from testbed.facts6 import differences6, read_pod6
from testbed.pods import HEADERS, HEADERS6, must_answer
from testbed.qemu import Reach
from testbed.tcp import echoing, must_echo
from tests.at_once import at_once
from tests.extent import some

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

LAYOUTS = ("calico-dual", "bridge-dual")
"""A gateway by an address of the link alone is the harder one."""


def test_guest_is_what_the_pod_was(tmp_path: Path, subtests: pytest.Subtests) -> None:
    layouts = some(LAYOUTS, len(LAYOUTS))
    outcomes = at_once(layouts, lambda layout: handed_over(layout, tmp_path / layout), len(layouts))
    for layout, outcome in outcomes.items():
        with subtests.test(layout=layout):
            outcome.get()


def handed_over(layout: str, directory: Path) -> None:
    directory.mkdir()
    with pods.pod(layout) as pod, agents.cleared(pod, directory) as agent:
        before, before6 = read_pod(pod), read_pod6(pod)
        agent.up()
        with qemu.guest(pod, directory) as guest:
            assert guest.facts6 is not None
            assert differences(before, guest.facts) == ""
            assert differences6(before6, guest.facts6) == ""
            assert guest.pings == (
                Reach(pod.peer, 56, ok=True),
                Reach(pod.peer, before.mtu - HEADERS, ok=True),
                Reach(pod.peer6, 56, ok=True),
                Reach(pod.peer6, before6.mtu - HEADERS6, ok=True),
            )
            must_answer(pod.node, pod.address6, before6.mtu - HEADERS6)
            must_echo(pod.node, pod.address6, qemu.ECHO)
            with echoing(pod.node, pod.peer6) as port:
                assert guest.tcp(pod.peer6, port)
