"""INFORM by a real client: dhcpcd has its address from elsewhere and asks for all the rest.

┌ pod, after vmnet up ─┐        ┌ guest ───────────────┐
│ vmnet-server         │        │ its address, set     │
│ k6t-eth0 ── tap0 ────┼ copier ┤ dhcpcd --inform      │
└──────────────────────┘        └──────────────────────┘
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from testbed import clients
from testbed.eavesdrop import eavesdropping
from testbed.jailed import Jail, hostname
from testbed.netns import background
from testbed.patience import PATIENCE
from testbed.pods import must_answer
from testbed.watch import wait_for_default_route

if TYPE_CHECKING:
    from testbed.agent import Agent
    from testbed.facts import GuestFacts
    from testbed.pods import Pod
    from testbed.tap_guest import TapGuest

TIMES = {51, 58, 59}


@pytest.mark.parametrize("layout", ["bridge", "calico"])
def test_dhcpcd_asks_for_more(ready_pod: Pod, before: GuestFacts, guest: TapGuest, agent: Agent) -> None:
    """It is told all but an address and times, by unicast, and the lease state does not move."""
    jail = Jail(guest, Path(tempfile.mkdtemp(dir=guest.directory)))
    *words, ifname = clients.dhcpcd(jail)
    argv = [*words, "--inform", ifname]
    guest.netns.ip_batch(f"address add {ready_pod.address}/{ready_pod.prefixlen} dev {guest.ifname}")
    with eavesdropping(guest.netns, guest.ifname) as ears, background(jail.command(*argv), jail.log) as running:
        running.wait_for("^hooks done: INFORM$", PATIENCE)
        wait_for_default_route(guest.netns, PATIENCE)
        must_answer(guest.netns, ready_pod.peer)
        told = jail.resolver()
        assert (told.nameservers, told.search) == (before.nameservers, before.search)
        assert hostname(running).partition(".")[0] == "vm-1"
        asked, answered = ears.catch_up()
    assert (asked.kind, asked.ciaddr) == ("INFORM", ready_pod.address)
    assert (answered.kind, answered.destination, answered.yiaddr) == ("ACK", ready_pod.address, "0.0.0.0")  # noqa: S104
    assert not answered.options.keys() & TIMES
    agent.run("wait", "--for", "bound", "--timeout", str(PATIENCE / 2))  # its ARP is looked at five times a second
    server = agent.status()["server"]
    assert (server["events"], server["lease"]) == ({"ack_inform": 1}, "static")
