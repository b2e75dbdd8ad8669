"""Somebody in the pod network answers ARP for the pod's address: real clients decline it, and it is told loudly.

┌ node ──────────────────────┐     ┌ pod, after vmnet up ─┐        ┌ guest ────────────┐
│ cni0 bears the pod's       │     │ vmnet-server         │        │ udhcpc or dhcpcd, │
│ address, too               ├─veth┤ k6t-eth0 ── tap0 ────┼ copier ┤ looking first     │
└────────────────────────────┘     └──────────────────────┘        └───────────────────┘
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from testbed import clients
from testbed.jailed import Jail
from testbed.netns import background
from testbed.patience import PATIENCE
from testbed.tap_guest import tap_guest
from tests.at_once import at_once
from tests.netns.stage import stage

if TYPE_CHECKING:
    import pytest


def udhcpc(jail: Jail) -> list[str | Path]:
    """It asks by ARP only when it is told to."""
    return [*clients.udhcpc(jail), "-a500"]


def dhcpcd(jail: Jail) -> list[str | Path]:
    """It does so unless it is told not to."""
    return [word for word in clients.dhcpcd(jail) if word != "-A"]


CLIENTS = {"udhcpc": udhcpc, "dhcpcd": dhcpcd}
"""Those whose DECLINE leaves the guest: systemd-networkd 252 sends it when it has no way to the server left."""


def declined(client: str, directory: Path) -> None:
    """Lease while somebody else bears the address, and once more when nobody does."""
    with stage(directory) as mine, tap_guest(mine.pod.netns, mine.pod.mac, directory) as guest:
        conflict = f"ADDRESS CONFLICT: the guest declined {mine.pod.address}"
        mine.pod.node.ip_batch(f"address add {mine.pod.address}/32 dev cni0")
        jail = Jail(guest, Path(tempfile.mkdtemp(dir=directory)))
        with background(jail.command(*CLIENTS[client](jail)), jail.log):
            [log] = mine.agent.logs()
            with background(["tail", "-n", "+1", "-f", log], directory / "tail.log") as said:
                said.wait_for('"level": ?"error", ?"event": ?"decline", ?"message": ?"ADDRESS CONFLICT', PATIENCE)
            status = json.loads(mine.agent.run("status", "--json").stdout)
        assert status["server"]["lease"] == "declined"
        [warning] = status["warnings"]
        assert warning.startswith(conflict)
        assert f"the pod knew {mine.pod.gateway}" in warning
        assert warning in " ".join(mine.agent.run("status").stdout.split())

        mine.pod.node.ip_batch(f"address delete {mine.pod.address}/32 dev cni0")
        assert clients.lease("udhcpc", guest).address == mine.pod.address
        assert mine.agent.status()["warnings"] == []


def test_a_declined_address_is_a_warning_of_status_until_it_is_leased(
    tmp_path: Path, subtests: pytest.Subtests
) -> None:
    outcomes = at_once(CLIENTS, lambda client: declined(client, tmp_path / client), len(CLIENTS))
    for client, outcome in outcomes.items():
        with subtests.test(client=client):
            outcome.get()
