"""What becomes of a lease, with every real client: renewed, rebound, given back, remembered, refused.

┌ pod ─────────────────────────────────────┐        ┌ guest, jailed ──────┐
│ k6t-eth0 ── tap0 ── vmnet-server,        ┼ copier ┤ one client, one pod │
│   started anew while the guest holds on  │        │ each, side by side  │
└──────────────────────────────────────────┘        └─────────────────────┘
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from testbed import clients
from testbed.eavesdrop import Eavesdropper, eavesdropping
from testbed.facts import read_pod
from testbed.netns import background
from testbed.pods import must_answer, readdress
from testbed.tap_guest import tap_guest
from tests.at_once import at_once
from tests.extent import ALL
from tests.netns.stage import Stage, stage, standing_still

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pytest

    from testbed.agent import Agent
    from testbed.clients import Living
    from testbed.eavesdrop import Message
    from testbed.tap_guest import TapGuest

TO_RENEW, TO_REBIND = 120, 80
"""Seconds that a lease lasts. Three eighths of it are between T1 and T2, for a guest that stood still meanwhile to
renew; an eighth between T2 and its end, to rebind. Only a machine that hardly runs at all takes as long."""
LIMITED_BROADCAST = "255.255.255.255"
OTHER_ADDRESS = {"bridge": "10.244.1.3", "calico": "192.168.77.6", "cilium": "10.0.1.78"}
LOST = """\
table netdev lost {{
    chain out {{ type filter hook egress device "eth0" priority 0; ip daddr {server} drop; }}
}}
"""
"""On the way out of the guest: a route would not do, for sockets that are bound to a NIC look past it."""
NEVER_RELEASE = ("NetworkManager",)
"""NetworkManager 1.42 keeps its lease when it ends."""
A_FEW = ("udhcpc", "dhclient", "networkd")
"""Who plays on the layouts with a /32 as well: there the way to the gateway, and to the server, is another."""
INIT_REBOOT = ("dhclient", "dhcpcd", "NetworkManager", "ConnMan")
"""Which ask for the address they remember; the others begin anew."""


def renewing(message: Message) -> bool:
    return (
        message.kind == "REQUEST" and message.source == message.ciaddr and message.destination != LIMITED_BROADCAST
    )


def rebinding(message: Message) -> bool:
    broadcast = message.destination == LIMITED_BROADCAST
    return message.kind == "REQUEST" and broadcast and not message.options.keys() & {50, 54}


def acknowledged(message: Message) -> bool:
    return message.kind == "ACK"


def renewed(client: str, layout: str, directory: Path) -> None:
    """At T1 the client asks the server it knows; that one was started anew meanwhile."""
    with (
        stage(directory, layout, "--lease-time", str(TO_RENEW)) as mine,
        tap_guest(mine.pod.netns, mine.pod.mac, directory) as guest,
    ):
        with eavesdropping(guest.netns, guest.ifname) as ears, clients.living(client, guest) as leased:
            server = IPv4Address(ears.wait_for(acknowledged).options[54])
            with standing_still(guest.netns):
                mine.restart()
            asked = ears.wait_for(renewing)
            assert (asked.destination, asked.ciaddr) == (str(server), mine.pod.address)
            assert not asked.options.keys() & {50, 54}
            answered = ears.wait_for(acknowledged)
            assert (answered.destination, answered.ciaddr) == (mine.pod.address, mine.pod.address)
            assert mine.events().keys() == {"ack_renewing"}
            must_answer(guest.netns, mine.pod.peer)
            mine.must_be_the_guests(client, leased)


def rebound_and_released(client: str, layout: str, directory: Path) -> None:
    """The way to the server is lost, so that the client asks everybody at T2; then it gives its lease back."""
    with (
        stage(directory, layout, "--lease-time", str(TO_REBIND)) as mine,
        tap_guest(mine.pod.netns, mine.pod.mac, directory) as guest,
    ):
        with eavesdropping(guest.netns, guest.ifname) as ears, clients.living(client, guest) as leased:
            server = IPv4Address(ears.wait_for(acknowledged).options[54])
            with standing_still(guest.netns):
                guest.netns.run("nft", "-f", "-", stdin=LOST.format(server=server))
            asked = ears.wait_for(rebinding)
            assert asked.ciaddr == mine.pod.address
            ears.wait_for(acknowledged)
            assert mine.events()["ack_rebinding"]
            guest.netns.run("nft", "delete", "table", "netdev", "lost")
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
def booted(mine: Stage, client: str, number: int) -> Iterator[tuple[Eavesdropper[Message], Living]]:
    """Boot a guest whose disk is the same each time; its /run is empty. It ends as by a power cut."""
    disk = mine.directory / "disk"
    shutil.rmtree(disk / "run", ignore_errors=True)
    disk.mkdir(exist_ok=True)
    logs = mine.directory / f"boot-{number}"
    logs.mkdir()
    with tap_guest(mine.pod.netns, mine.pod.mac, logs) as guest, eavesdropping(guest.netns, guest.ifname) as ears:
        with clients.living(client, guest, disk) as leased:
            yield ears, leased


def remembered(client: str, layout: str, directory: Path) -> None:
    """A guest boots three times: new, after the server was started anew, after the pod's address was changed."""
    with stage(directory, layout) as mine:
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
            assert leased.facts().address == OTHER_ADDRESS[layout]
            moved.must_be_the_guests(client, leased)
            must_answer(leased.jail.guest.netns, moved.pod.peer)


def asked_for(ears: Eavesdropper[Message]) -> str | None:
    """The address that a guest asked for before anybody offered it one."""
    wish = ears.catch_up()[0].options.get(50)
    return str(IPv4Address(wish)) if wish else None


def move(mine: Stage) -> Stage:
    """Take the pod back, give it another address as its CNI might, and hand it over again."""
    mine.agent.down("--force")
    readdress(mine.pod, OTHER_ADDRESS[mine.pod.layout])
    before = read_pod(mine.pod)
    mine.agent.up()
    return replace(mine, before=before)


STORIES = (renewed, rebound_and_released, remembered)
SCENES = [
    (story, client, layout)
    for layout, played in (("bridge", tuple(clients.CLIENTS)), ("calico", A_FEW), ("cilium", A_FEW))
    for story in STORIES
    for client in played
]


SAMPLE = {
    *((renewed, client, "bridge") for client in clients.CLIENTS),
    (renewed, "udhcpc", "cilium"),
    (rebound_and_released, "dhclient", "bridge"),
    (rebound_and_released, "udhcpc", "calico"),
    (rebound_and_released, "networkd", "cilium"),
    (remembered, "dhcpcd", "bridge"),
    (remembered, "ConnMan", "bridge"),
    (remembered, "udhcpc", "calico"),
}


def test_stories_of_a_lease(tmp_path: Path, subtests: pytest.Subtests) -> None:
    """Many at once: each client spends nearly all of its time waiting for T1 or T2."""

    def play(scene: tuple[Callable[[str, str, Path], None], str, str]) -> None:
        story, client, layout = scene
        story(client, layout, tmp_path / f"{story.__name__}-{client}-{layout}")

    played = [scene for scene in SCENES if ALL or scene in SAMPLE]
    for (story, client, layout), outcome in at_once(played, play, len(SAMPLE)).items():
        with subtests.test(story=story.__name__, client=client, layout=layout):
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
