"""A pod whose guest is this process: each of its frames is sent when the test says so.

┌ pod, after vmnet up ─────────┐
│ vmnet-server ⇢ tap0          ├─── descriptor: DISCOVER, ARP, silence …
└──────────────────────────────┘
"""

from __future__ import annotations

import json
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scapy.layers.l2 import ARP, Ether

from testbed import pods
from testbed.netns import TestbedError, background
from testbed.patience import attempts
from testbed.tap_guest import raw_tap
from tests.netns import forked
from tests.netns.raw_client import RawClient
from tests.testlib.dhcp.frames import bootp, frame, message, option

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.agent import Agent
    from testbed.netns import Background, Netns
    from testbed.pods import Pod
    from testbed.tap_guest import RawTap

OTHER_MAC = "de:ad:c0:de:ca:fe"
DISCOVER, REQUEST, DECLINE, RELEASE = 1, 3, 4, 7
"""RFC 2132 §9.6."""
SOON = 0.2
AGAIN = 0.3
"""Seconds between two tries."""
SERVER_ID = "169.254.75.10"


@dataclass(slots=True)
class GuestByHand:
    """The guest on the tap, and what the server logs of it."""

    pod: Pod
    agent: Agent
    tap: RawTap
    client: RawClient
    said: Background
    """The server's log."""

    def ask(self) -> None:
        """A DISCOVER, and the offer awaited."""
        self.tap.send(self.client.discover())
        self.tap.receive(lambda data: data[12:14] == b"\x08\x00")

    def ask_as(self, mac: str) -> None:
        """A DISCOVER under another MAC, heard by the server."""
        octets = bytes.fromhex(mac.replace(":", ""))
        self.tap.send(frame(bootp(message(DISCOVER), chaddr=octets), source_mac=octets))
        self.said.wait_for(mac)

    def request(self, address: str, server: str, event: str) -> None:
        """A REQUEST for that address from that server, and what became of it."""
        self.tap.send(self.client.request(REQUEST, option(50, address), option(54, server)))
        self.said.wait_for(f'"event": ?"{event}"')

    def renew(self) -> None:
        """A REQUEST as at T2: to everybody."""
        self.tap.send(self.client.request(REQUEST, ciaddr=self.pod.address))
        self.said.wait_for('"event": ?"ack_rebinding"')

    def release(self) -> None:
        """The lease given back."""
        self.tap.send(self.client.request(RELEASE, option(54, SERVER_ID), ciaddr=self.pod.address))
        self.said.wait_for('"event": ?"release"')

    def decline(self) -> None:
        """The address found in use."""
        self.tap.send(self.client.request(DECLINE, option(50, self.pod.address), option(54, SERVER_ID)))
        self.said.wait_for('"event": ?"decline"')

    def use(self, address: str, event: str) -> None:
        """ARP from that address, until it is taken for newer than what was said (vmnet.server.guest_lease)."""
        for _ in attempts(event):
            self.arp(address, self.pod.gateway, operation=1)
            with suppress(TestbedError):
                self.said.wait_for(f'"event": ?"{event}"', AGAIN)
                return

    def arp(self, sender: str, target: str, operation: int, mac: str = "ff:ff:ff:ff:ff:ff") -> None:
        """An ARP packet of the VM."""
        packet = ARP(op=operation, hwsrc=self.pod.mac, psrc=sender, pdst=target)
        self.tap.send(bytes(Ether(src=self.pod.mac, dst=mac) / packet))

    def answer_arp(self, patience: float) -> Any:  # noqa: ANN401 # scapy is untyped
        """Answer the next question for the pod's address; gives the question. None in time is an error."""
        question = Ether(self.tap.receive(lambda data: _asks_for(data, self.pod.address), patience))
        self.arp(self.pod.address, question.psrc, 2, question.src)
        return question

    def wait(self, goal: str, timeout: float = 0) -> tuple[int, dict[str, Any]]:
        """What `vmnet wait` ends with."""
        done = self.agent.run("wait", "--for", goal, "--timeout", f"{timeout}", "--json", check=False)
        return done.returncode, json.loads(done.stdout)

    def wait_and_answer(self, timeout: float) -> tuple[int, dict[str, Any], list[Any]]:
        """Answer whatever `wait --for reachable` asks until it ends; gives its end, and what it asked."""
        self.tap.take(0.1)  # what was asked before, and not answered
        questions = []
        argv = self.agent.argv("wait", "--for", "reachable", "--timeout", str(timeout), "--json")
        with background(argv, self.said.log.with_name("wait.log")) as waiting:
            while waiting.process.poll() is None:
                with suppress(TestbedError):
                    questions.append(self.answer_arp(SOON))
            code = waiting.wait()
        text = waiting.text
        return code, json.JSONDecoder().raw_decode(text, text.index('{\n  "schema"'))[0], questions

    def cause(self, goal: str) -> dict[str, Any]:
        """Why it does not come."""
        code, told = self.wait(goal)
        assert (code, told["reached"]) == (6, False)
        return dict(told["cause"])


def forward_drops(netns: Netns) -> None:
    """Drop what is routed, as a node's firewall does."""
    netns.run("nft", "add table ip filter")
    netns.run("nft", "add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }")


def _asks_for(data: bytes, address: str) -> bool:
    packet = Ether(data)
    return bool(packet.haslayer(ARP)) and (packet[ARP].op, packet[ARP].pdst) == (1, address)


@contextmanager
def guest_by_hand(directory: Path, layout: str = "bridge", *flags: str) -> Iterator[GuestByHand]:
    """Hand a pod of that layout over, and hold its tap; `directory` is made."""
    directory.mkdir()
    with pods.pod(layout) as pod, forked.cleared(pod, directory) as agent:
        agent.up(*flags)
        with guest_of(pod, agent, directory) as guest:
            yield guest


@contextmanager
def guest_of(pod: Pod, agent: Agent, directory: Path, ifname: str = "tap0") -> Iterator[GuestByHand]:
    """Hold the tap of a pod that is handed over."""
    [log] = agent.logs()
    with (
        background(["tail", "-n", "+1", "-F", log], directory / "tail.log") as said,
        raw_tap(pod.netns, ifname) as tap,
    ):
        said.wait_for('"event": ?"serving"')
        client = RawClient(tap, bytes.fromhex(pod.mac.replace(":", "")), pod.address)
        yield GuestByHand(pod, agent, tap, client, said)
