"""A flood of IPv6, by the guest or by the pod network: the VM's leases of both families go through.

        flooder ⇢ tap0 ── k6t-eth0 ── eth0-nic ══ the node's end ⇠ flooders
    the client ⇢         vmnet-server

Whatever is flooded, nobody hears more than one question for a gateway a second, nor more than one router
advertisement to all in three seconds (RFC 4861 §10).
"""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import pytest

from testbed.layouts import LAYOUTS
from testbed.netns import entered
from testbed.patience import attempts
from testbed.tap_copier import open_wire
from testbed.tap_guest import VNET_HDR, RawTap
from tests import figures
from tests.extent import amount
from tests.loud import LOUD
from tests.netns import probes
from tests.netns.raw_client import Served, served
from tests.netns.raw_client6 import ListeningTap, RawClient6
from tests.testlib.ipv6.discovery import SOURCE, na, ns, option, packed, rs
from tests.testlib.ipv6.messages import OTHER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Frames = Callable[[bytes], tuple[bytes, ...]]
    """Of the VM's MAC."""

pytestmark = pytest.mark.alone(reason=LOUD)
LAYOUT = LAYOUTS["bridge-dual"]
GATEWAY, POD = LAYOUT.gateway6, LAYOUT.address6.partition("/")[0]
STRANGER, ANOTHER = b"\2\0\0\0\0\7", b"\2\0\0\0\0\x08"
FLOODERS = 0x02000000
"""How the MACs of both begin, and neither the pod's nor our server's."""
SECONDS, PAUSE = amount(1, 4) / 2, 0.01
MIB = 1 << 20
MOST_MOVES = 3 * 16 * (SECONDS + 1) / 0.2
"""By three floods: 16 frames are read at a look, and there is a look every 0.2 s."""
SO_RCVBUFFORCE, SOL_PACKET, PACKET_IGNORE_OUTGOING = 33, 263, 23
"""asm-generic/socket.h, linux/if_packet.h."""


@dataclass(frozen=True, slots=True)
class Both:
    """The pod with its two clients, and the pod network."""

    served: Served
    client6: RawClient6
    tap: ListeningTap
    network: socket.socket
    """What comes out at the node's end; what goes in there is flooded by descriptors of this one."""

    def questions(self) -> int:
        """How often the pod network was asked for the gateway since the last time."""
        count = 0
        while True:
            try:
                frame = self.network.recv(2048)[VNET_HDR:]
            except BlockingIOError:
                return count
            count += frame[54] == 135 and frame[62:78] == packed(GATEWAY) and frame[6:12] == self.client6.mac


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """One server for all floods: what one leaves behind, the next shows."""
    with served(tmp_path_factory.mktemp("flood6"), "bridge-dual") as made:
        tap = ListeningTap(made.client.tap.descriptor)
        tap.ignore(FLOODERS)  # or replies are lost in the guest's own queue, which is its own affair
        made.client.tap = tap
        client6 = RawClient6(tap, made.client.mac)
        with entered(made.pod.node), open_wire(made.pod.host_ifname) as network:
            network.setblocking(False)
            network.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20)
            network.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            client6.exchange()
            yield Both(made, client6, tap, network)


@dataclass(frozen=True, slots=True)
class Flood:
    """What floods, each so many a second (0: as many as go); and what of a core `make soak` allows the server."""

    name: str
    frames: Frames
    rate: int = 10_000
    share: float = 0.5
    of_network: bool = False


def of_vm(question: Callable[..., bytes], *arguments: bytes | str, **fields: str) -> Frames:
    """One frame of the VM."""
    return lambda mac: (question(*arguments, mac=mac, **fields),)


def of_stranger(question: Callable[..., bytes], *arguments: bytes | str) -> Frames:
    """The same from another MAC."""
    return lambda _mac: (question(*arguments, mac=STRANGER),)


def moving_gateway(_mac: bytes) -> tuple[bytes, ...]:
    """Two that say to be the gateway, in turn."""
    return tuple(na(GATEWAY, option(2, mac), mac=mac, destination=POD) for mac in (STRANGER, ANOTHER))


OURS = probes.OUR_ROUTER
FLOODS = (
    Flood("router solicitations", of_vm(rs, SOURCE)),
    Flood("router solicitations of nobody", of_vm(rs, source="::")),
    Flood("solicitations of our router", of_vm(ns, OURS, SOURCE, source=POD)),
    Flood("solicitations of our router by nobody", of_vm(ns, OURS, source="::")),
    Flood("DHCPv6", lambda mac: (RawClient6(RawTap(-1), mac).solicit(),)),
    Flood("others' router solicitations", of_stranger(rs, SOURCE), rate=0, share=0.05),
    Flood("others' solicitations of our router", of_stranger(ns, OURS, SOURCE), rate=0, share=0.05),
    Flood("others' DHCPv6", lambda _mac: (RawClient6(RawTap(-1), STRANGER).solicit(),), rate=0, share=0.05),
    Flood("a gateway that moves", moving_gateway, rate=0, share=0.3, of_network=True),
    Flood(
        "the gateway's solicitations",
        lambda mac: (ns(POD, option(1, ANOTHER), mac=ANOTHER, source=GATEWAY, destination=POD),),
        rate=0,
        share=0.3,
        of_network=True,
    ),
    Flood("others' solicitations", of_stranger(ns, OTHER, SOURCE), rate=0, share=0.05, of_network=True),
)


@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: flood.name)
def test_both_leases_go_through_and_nobody_else_is_bothered(flood: Flood, mine: Both, tmp_path: Path) -> None:
    resident, cpu = mine.served.memory(), mine.served.cpu_seconds()
    mine.questions()
    mine.tap.advertised.clear()
    latencies: dict[str, list[float]] = {"DHCPv4": [], "DHCPv6": []}
    began = time.monotonic()
    with flooding(flood, mine, tmp_path) as is_over:
        while not is_over():
            latencies["DHCPv4"].append(mine.served.client.exchange())
            latencies["DHCPv6"].append(mine.client6.exchange())
            mine.tap.take(PAUSE)
    seconds = time.monotonic() - began
    share = (mine.served.cpu_seconds() - cpu) / seconds
    questions, told = mine.questions(), [*mine.tap.advertised]
    mine.served.client.exchange()
    mine.client6.exchange()

    for name, each in latencies.items():
        figures.tell(f"{name}: the median of {len(each)}", 1000 * median(each), "ms")
    figures.tell("the server's share of a core", 100 * share, "%", at_most=100 * flood.share)
    figures.tell("the gateway was looked for", questions, "times")
    assert questions <= seconds + 1
    assert len(told) <= seconds / 3 + 1
    assert mine.served.memory() - resident <= MIB
    assert mine.served.report()["pid"] == mine.served.server


@contextmanager
def flooding(flood: Flood, mine: Both, directory: Path) -> Iterator[Callable[[], bool]]:
    """Let a process for each frame flood; gives whether they have ended."""
    frames = flood.frames(mine.client6.mac)
    into = RawTap(mine.network.fileno()) if flood.of_network else mine.tap
    with ExitStack() as stack:
        flooders = [
            stack.enter_context(into.flooded(frame, flood.rate, SECONDS, directory / f"{number}.log"))
            for number, frame in enumerate(frames)
        ]
        for flooder in flooders:
            flooder.wait_for("^flooding$")
        yield lambda: all(flooder.process.poll() is not None for flooder in flooders)
        for flooder in flooders:
            flooder.wait_for(r"^(\d+) ([\d.]+)$")


def test_after_a_gateway_that_moved_its_own_mac_is_found_again(mine: Both) -> None:
    """The guest's next question is passed on, and the gateway's answer is the last word."""
    moved = mine.served.report()["ipv6"]["events"]["gateway_moved"]
    print(f"moved {moved} times")  # noqa: T201
    assert 1 <= moved <= MOST_MOVES
    for _ in attempts("the gateway's own MAC"):
        if mine.served.report()["ipv6"]["routers"][0]["mac"] == LAYOUT.node_mac:
            break
        mine.tap.send(ns(OURS, SOURCE, source=POD, mac=mine.client6.mac))
        mine.tap.take(0.2)
