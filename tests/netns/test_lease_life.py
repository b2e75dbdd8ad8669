"""What becomes of a lease, with every real client: renewed, rebound, given back, remembered, refused.

┌ pod ─────────────────────────────────────┐        ┌ guest, jailed ──────┐
│ k6t-eth0 ── tap0 ── vmnet-server,        ┼ copier ┤ one client, one pod │
│   started anew while the guest holds on  │        │ each, side by side  │
└──────────────────────────────────────────┘        └─────────────────────┘
"""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from testbed import agent as agents
from testbed import clients, pods
from testbed.eavesdrop import Eavesdropper, eavesdropping
from testbed.facts import GuestFacts, differences, read_pod
from testbed.netns import background, kill
from testbed.pods import must_answer
from testbed.tap_guest import tap_guest
from tests.at_once import at_once
from tests.dhcp_clients import tellable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pytest

    from testbed.agent import Agent
    from testbed.clients import Living
    from testbed.eavesdrop import Message
    from testbed.pods import Pod
    from testbed.tap_guest import TapGuest

LEASE_TIME = 20
"""Seconds: what dhcpcd takes for the shortest, and as long as each of two stories needs."""
LIMITED_BROADCAST = "255.255.255.255"
OTHER_ADDRESS = "10.244.1.3"
NEVER_RELEASE = ("NetworkManager",)
"""NetworkManager 1.42 keeps its lease when it ends."""
INIT_REBOOT = ("dhclient", "dhcpcd", "NetworkManager", "ConnMan")
"""Which ask for the address they remember; the others begin anew."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A pod that was handed over, for one client."""

    pod: Pod
    agent: Agent
    before: GuestFacts
    directory: Path

    def restart(self) -> None:
        """Kill the server and start it again, as when the agent's container dies."""
        for server in self.agent.servers():
            kill(server)
        self.agent.up()

    def shorten_the_lease(self) -> None:
        [journal] = self.agent.state_dir.glob("**/journal.json")
        facts = json.loads(journal.read_bytes())
        facts["lease"]["lease_time"] = LEASE_TIME
        journal.write_text(json.dumps(facts), encoding="ascii")
        self.restart()

    def must_be_the_guests(self, client: str, leased: Living) -> None:
        assert differences(tellable(client, self.before), leased.facts()) == ""

    def events(self) -> dict[str, int]:
        return dict(self.agent.status()["server"]["events"])


@contextmanager
def stage(client: str, directory: Path) -> Iterator[Stage]:
    directory.mkdir()
    with pods.pod("bridge") as pod:
        agent = agents.agent(pod, directory)
        before = read_pod(pod)
        agent.up()
        try:
            yield Stage(pod, agent, before, directory)
        finally:
            agent.clear()


def renewing(message: Message) -> bool:
    return (
        message.kind == "REQUEST" and message.source == message.ciaddr and message.destination != LIMITED_BROADCAST
    )


def rebinding(message: Message) -> bool:
    broadcast = message.destination == LIMITED_BROADCAST
    return message.kind == "REQUEST" and broadcast and not message.options.keys() & {50, 54}


def acknowledged(message: Message) -> bool:
    return message.kind == "ACK"


def renewed(client: str, directory: Path) -> None:
    """At T1 the client asks the server it knows; that one was started anew meanwhile."""
    with stage(client, directory) as mine, tap_guest(mine.pod.netns, mine.pod.mac, directory) as guest:
        mine.shorten_the_lease()
        with eavesdropping(guest.netns, guest.ifname) as ears, clients.living(client, guest) as leased:
            server = IPv4Address(ears.wait_for(acknowledged).options[54])
            mine.restart()
            asked = ears.wait_for(renewing, 2 * LEASE_TIME)
            assert (asked.destination, asked.ciaddr) == (str(server), mine.pod.address)
            assert not asked.options.keys() & {50, 54}
            answered = ears.wait_for(acknowledged)
            assert (answered.destination, answered.ciaddr) == (mine.pod.address, mine.pod.address)
            assert mine.events() == {"ack_renewing": 1}
            must_answer(guest.netns, mine.pod.peer)
            mine.must_be_the_guests(client, leased)


def rebound_and_released(client: str, directory: Path) -> None:
    """The way to the server is lost, so that the client asks everybody at T2; then it gives its lease back."""
    with stage(client, directory) as mine, tap_guest(mine.pod.netns, mine.pod.mac, directory) as guest:
        mine.shorten_the_lease()
        with eavesdropping(guest.netns, guest.ifname) as ears, clients.living(client, guest) as leased:
            lost = f"unreachable {IPv4Address(ears.wait_for(acknowledged).options[54])}"
            guest.netns.ip_batch(f"route add {lost}")
            asked = ears.wait_for(rebinding, 2 * LEASE_TIME)
            assert asked.ciaddr == mine.pod.address
            ears.wait_for(acknowledged)
            assert mine.events()["ack_rebinding"] == 1
            guest.netns.ip_batch(f"route delete {lost}")
            must_answer(guest.netns, mine.pod.peer)
            mine.must_be_the_guests(client, leased)
            released(client, mine, leased)


def released(client: str, mine: Stage, leased: Living) -> None:
    leased.release()
    if client in NEVER_RELEASE:
        return
    [log] = mine.agent.logs()
    with background(["tail", "-n", "+1", "-f", log], mine.directory / "tail.log") as said:
        said.wait_for('"event": ?"release"')
    assert mine.agent.status()["server"]["lease"] == "released"


@contextmanager
def booted(mine: Stage, client: str, number: int) -> Iterator[tuple[Eavesdropper, Living]]:
    """Boot a guest whose disk is the same each time; its /run is empty. It ends as by a power cut."""
    disk = mine.directory / "disk"
    shutil.rmtree(disk / "run", ignore_errors=True)
    disk.mkdir(exist_ok=True)
    logs = mine.directory / f"boot-{number}"
    logs.mkdir()
    with tap_guest(mine.pod.netns, mine.pod.mac, logs) as guest, eavesdropping(guest.netns, guest.ifname) as ears:
        with clients.living(client, guest, disk) as leased:
            yield ears, leased


def remembered(client: str, directory: Path) -> None:
    """A guest boots three times: new, after the server was started anew, after the pod's address was changed."""
    with stage(client, directory) as mine:
        with booted(mine, client, 1) as (ears, leased):
            mine.must_be_the_guests(client, leased)
        mine.restart()
        with booted(mine, client, 2) as (ears, leased):
            assert asked_for(ears) == (mine.pod.address if client in INIT_REBOOT else None)
            assert ("ack_init_reboot" in mine.events()) == (client in INIT_REBOOT)
            mine.must_be_the_guests(client, leased)
        moved = move(mine)
        with booted(moved, client, 3) as (ears, leased):
            assert asked_for(ears) == (mine.pod.address if client in INIT_REBOOT else None)
            assert ("nak_init_reboot" in moved.events()) == (client in INIT_REBOOT)
            assert leased.facts().address == OTHER_ADDRESS
            moved.must_be_the_guests(client, leased)


def asked_for(ears: Eavesdropper) -> str | None:
    """The address that a guest asked for before anybody offered it one."""
    wish = ears.catch_up()[0].options.get(50)
    return str(IPv4Address(wish)) if wish else None


def move(mine: Stage) -> Stage:
    """Take the pod back, give it another address as its CNI might, and hand it over again."""
    pod = mine.pod
    mine.agent.down()
    pod.netns.ip_batch(
        f"address delete {pod.address}/{pod.prefixlen} dev {pod.ifname}",
        f"address add {OTHER_ADDRESS}/{pod.prefixlen} broadcast + dev {pod.ifname}",
        f"route add default via {pod.gateway} dev {pod.ifname}",
    )
    before = read_pod(pod)
    mine.agent.up()
    return replace(mine, before=before)


STORIES = (renewed, rebound_and_released, remembered)


def test_stories_of_a_lease(tmp_path: Path, subtests: pytest.Subtests) -> None:
    """All at once: each client spends nearly all of its time waiting for T1 or T2."""

    def play(scene: tuple[Callable[[str, Path], None], str]) -> None:
        story, client = scene
        story(client, tmp_path / f"{story.__name__}-{client}")

    scenes = [(story, client) for story in STORIES for client in clients.CLIENTS]
    for (story, client), outcome in at_once(scenes, play, len(scenes)).items():
        with subtests.test(story=story.__name__, client=client):
            outcome.get()


def test_only_the_vms_mac_is_served(guest: TapGuest, agent: Agent) -> None:
    """Nmap in the guest asks in a name of its own, DE:AD:C0:DE:CA:FE, until it is told the guest's."""
    clients.lease("udhcpc", guest)  # nmap knows no interface without an address

    assert "Server Identifier" not in discovered(guest, "timeout=1")
    assert agent.status()["server"]["ignored"] == {"foreign_chaddr": 1}

    assert "Server Identifier: 169.254.75.10" in discovered(guest, f"timeout=2,mac={guest.mac}")
    assert agent.status()["server"]["ignored"] == {"foreign_chaddr": 1}


def discovered(guest: TapGuest, arguments: str) -> str:
    script = ("--script", "broadcast-dhcp-discover", "--script-args")
    prefixed = ",".join(f"broadcast-dhcp-discover.{argument}" for argument in arguments.split(","))
    return guest.netns.run("nmap", "-e", guest.ifname, *script, prefixed).stdout
