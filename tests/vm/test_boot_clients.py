"""The DHCP clients of a boot: iPXE in the NIC's firmware, and `ip=dhcp` in an initramfs.

┌ pod ─────────────────────────────────────────────┐
│ eth0-nic ─┐                    ┌ QEMU ─────────┐ │
│           ├ k6t-eth0 ── tap0 ──┤ iPXE, or a    │ │
│                            │   │ kernel        │ │
│                            ear └───────────────┘ │
└──────────────────────────────────────────────────┘
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from testbed import agent as agents
from testbed import pods, qemu
from testbed.agent import HOSTNAME
from testbed.eavesdrop import eavesdropping
from testbed.facts import GuestFacts, differences, read_pod
from testbed.ipxe import ipxe
from testbed.pods import must_answer
from tests.at_once import at_once
from tests.dhcp_clients import CLIENTS, Before, Leased, options, tellable
from tests.extent import chosen

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from testbed.pods import Pod

LAYOUTS = ("bridge", "ptp", "calico", "cilium")


def by_ipxe(pod: Pod, directory: Path) -> GuestFacts:
    with ipxe(pod, directory) as booted:
        facts = booted.lease()
        must_answer(pod.node, pod.address)
        return facts


def by_ipconfig(pod: Pod, directory: Path) -> GuestFacts:
    with qemu.guest(pod, directory, cmdline="ip=dhcp") as booted:
        must_answer(pod.node, pod.address)
        assert all(reach.ok for reach in booted.pings)
        return booted.facts


BOOTS = {"iPXE": by_ipxe, "ipconfig": by_ipconfig}


@pytest.mark.parametrize("client", chosen(BOOTS, ("iPXE",).__contains__))
def test_guest_is_what_the_pod_was(client: str, tmp_path: Path, subtests: pytest.Subtests) -> None:
    outcomes = at_once(LAYOUTS, lambda layout: leased(layout, BOOTS[client], tmp_path / layout), len(LAYOUTS))

    for layout, outcome in outcomes.items():
        with subtests.test(layout=layout):
            before, found = outcome.get()
            assert differences(tellable(client, before.facts), found.facts) == ""
            assert (found.facts.hostname, found.facts.lease_time) == (HOSTNAME, 86400)
    with subtests.test("options"):
        all_before = {layout: outcome.get()[0] for layout, outcome in outcomes.items()}
        assert options(all_before, {at: outcome.get()[1] for at, outcome in outcomes.items()}) == CLIENTS[client]


def leased(layout: str, boot: Callable[[Pod, Path], GuestFacts], directory: Path) -> tuple[Before, Leased]:
    """Hand a pod over to a machine that boots from it, and hear what they say."""
    directory.mkdir()
    with pods.pod(layout) as pod, agents.cleared(pod, directory) as agent:
        before = Before(read_pod(pod))
        agent.up()
        with eavesdropping(pod.netns, "tap0") as ears:
            facts = boot(pod, directory)
            asked, *_, answered = ears.catch_up()
        return before, Leased(facts, asked, answered)
