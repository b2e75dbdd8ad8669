"""A served pod whose guest is this process: frames go into the tap and come out of it, byte by byte.

┌ pod, after vmnet up ─────────┐
│ vmnet-server ⇢ tap0          ├─── descriptor: the test, and whoever it lets flood
└──────────────────────────────┘
"""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed import pods, tap_guest
from testbed.netns import TestbedError, entered
from testbed.patience import PATIENCE, attempts, wait_until_so
from tests.netns import forked
from tests.testlib.dhcp.frames import bootp, frame, message, option, options_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.agent import Agent
    from testbed.pods import Pod
    from testbed.tap_guest import RawTap

SERVER_NAME = "\0vmnet/server/eth0"
ASKS_AGAIN = 0.25
"""Seconds. A client that hears nothing asks again, as real ones do; ours is quick about it."""
OFFER, ACK = 2, 5
XID, TYPE_OPTION = slice(46, 50), slice(282, 285)
"""Where a reply has them: the type is the first option."""
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class RawClient:
    """The VM as its server sees it: its MAC, its lease, and exchanges one after the other."""

    tap: RawTap
    mac: bytes
    address: str
    server_id: str = ""
    xid: int = 0x01000000
    resent: int = 0

    def discover(self, *options: bytes, **fields: Any) -> bytes:  # noqa: ANN401 - each has its type
        """A DISCOVER; `fields` are BOOTP's."""
        return self.frame(bootp(message(1, *options), **self._own(fields)))

    def request(self, kind: int, *options: bytes, **fields: Any) -> bytes:  # noqa: ANN401 - each has its type
        """Another message to the server."""
        return self.frame(bootp(message(kind, *options), **self._own(fields)))

    def bootp(self, options: bytes, **fields: Any) -> bytes:  # noqa: ANN401 - each has its type
        """A BOOTP message with nothing in it but these octets of options."""
        return self.frame(bootp(options, **self._own({"length": 0, **fields})))

    def frame(self, payload: bytes, **fields: Any) -> bytes:  # noqa: ANN401 - each has its type
        """Put a payload into a frame of the VM."""
        return frame(payload, **{"source_mac": self.mac, **fields})

    def exchange(self) -> float:
        """Lease once: DISCOVER, OFFER, REQUEST, ACK. Gives the seconds it took, a figure; no lease is an error."""
        self.xid += 1
        began = time.monotonic()
        offer = self._ask(self.discover(xid=self.xid), OFFER)
        self.server_id = ".".join(map(str, options_of(offer)[54]))
        chosen = option(50, self.address), option(54, self.server_id)
        self._ask(self.request(3, *chosen, xid=self.xid), ACK)
        return time.monotonic() - began

    def _ask(self, question: bytes, kind: int) -> bytes:
        """Send until the reply of this kind comes."""
        wanted = self.xid.to_bytes(4), bytes((53, 1, kind))
        for _ in attempts(f"a reply of type {kind}"):
            self.tap.send(question)
            try:
                return self.tap.receive(lambda data: (data[XID], data[TYPE_OPTION]) == wanted, ASKS_AGAIN)
            except TestbedError:
                self.resent += 1
        raise AssertionError

    def _own(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {"chaddr": self.mac, **fields}


@dataclass(frozen=True, slots=True)
class Served:
    """The pod, its server and the one client."""

    pod: Pod
    agent: Agent
    client: RawClient
    server: int
    """The server's process id."""

    def report(self) -> dict[str, Any]:
        """What the server says of itself."""
        with entered(self.pod.netns):
            asking = socket.socket(socket.AF_UNIX)
        with asking:
            asking.settimeout(PATIENCE)
            asking.connect(SERVER_NAME)
            return dict(json.loads(b"".join(iter(lambda: asking.recv(65536), b""))))

    def lines(self, event: str) -> list[dict[str, Any]]:
        """What it logged under that word."""
        [log] = self.agent.logs()
        lines = [json.loads(line) for line in log.read_bytes().splitlines()]
        return [line for line in lines if line["event"] == event]

    def memory(self) -> int:
        """Its resident octets."""
        status = self._proc("status")
        return 1024 * int(status.partition("VmRSS:")[2].split()[0])

    def wake_ups(self) -> int:
        """How often it went to sleep so far: it does now, and was woken each time but the last."""
        wait_until_so(lambda: self._proc("stat").rpartition(")")[2].split()[0] == "S", "the server to sleep")
        return int(self._proc("status").partition("\nvoluntary_ctxt_switches:")[2].split()[0])

    def descriptors(self) -> int:
        """How many files it has open."""
        return len(os.listdir(f"/proc/{self.server}/fd"))  # noqa: PTH208 - a number is wanted

    def cpu_seconds(self) -> float:
        """The CPU time it has used so far."""
        words = self._proc("stat").rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / TICKS

    def _proc(self, name: str) -> str:
        return Path(f"/proc/{self.server}", name).read_text(encoding="ascii")


@contextmanager
def served(directory: Path, layout: str = "bridge", mac: str = "") -> Iterator[Served]:
    """Hand a pod over and be its guest; the client has leased once, so that all is in place and in memory.

    Where a MAC is given, it is the VM's instead of the pod's.
    """
    with pods.pod(layout) as pod, forked.cleared(pod, directory) as agent:
        agent.up(*(("--mac", mac) if mac else ()))
        [server] = agent.servers()
        with tap_guest.raw_tap(pod.netns) as tap:
            client = RawClient(tap, bytes.fromhex((mac or pod.mac).replace(":", "")), pod.address)
            client.exchange()
            yield Served(pod, agent, client, server)
