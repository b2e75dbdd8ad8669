"""What a hostile guest is after: the pod's own sockets, the pod's routes, and the pod network when nobody looks.

                 ┌ pod ──────────────────────────────────────────────────────┐
pod network ═════╪═ eth0-nic ── k6t-eth0 ── tap0 ── the guest                │
                 │ listeners on 0.0.0.0 and ::   eth0 (stand-in)   other0    │
                 └───────────────────────────────────────────────────────────┘
"""

from __future__ import annotations

import fcntl
import itertools
import os
import re
import socket
import struct
import sys
import threading
from array import array
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6ND_RA,
    ICMPv6NDOptMTU,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import ARP, Ether
from scapy.utils import checksum

from testbed import pods
from testbed.netns import background, entered
from testbed.pods import must_answer
from testbed.snapshot import difference, snapshot, steady
from testbed.tap_copier import open_wire
from tests.extent import amount, chosen
from tests.loud import LOUD
from tests.netns import forked, probes
from tests.netns.test_isolation import FROM_GUEST, ROUTER, WIRE, agent_for, line
from vmnet.bindings.isolation import rulesets
from vmnet.kernel import firewall
from vmnet.model.codec import decode
from vmnet.model.settings import ISOLATION_DHCP_ONLY, ISOLATION_OFF, ISOLATION_STRICT
from vmnet.saved.schema import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from scapy.packet import Packet

    from testbed.netns import Background, Netns
    from testbed.pods import Pod
    from tests.netns.test_isolation import Line

PORT = 7777
OTHER = ("192.0.2.1/24 dev other0", "2001:db8:77::1/64 dev other0 nodad")
"""Addresses of another link of the pod, as a service mesh or a second network gives it one."""
NEIGHBOUR = "192.0.2.7"
SOURCES = (WIRE.ipv4, "192.0.2.66", "10.246.1.66", WIRE.ipv6, probes.GUEST_LINK_LOCAL, "2001:db8:77::66")
ISOLATED = (ISOLATION_STRICT, ISOLATION_DHCP_ONLY)
HOSTILE = tuple(probe for probe in FROM_GUEST if not probe.passes)
NAMES = frozenset(probe.name for probe in HOSTILE)
MARK = re.compile(rb"<([a-z0-9.-]+)>$")
HAMMERED = amount(10_000, 100_000)
RELOADS = amount(10, 100)
OF_THE_UP = re.compile(r'"dst": "(ff00::/8|fe80::[^"]*)"')
"""Routes that the kernel's workers may add only now: those of the links that `up` has made."""
FOR_EVER = 1 << 40


@dataclass(frozen=True, slots=True)
class Ears:
    """The pod's own listeners, and whatever leaves the pod by any link."""

    datagrams: tuple[socket.socket, ...]
    wire: socket.socket

    def reached(self) -> list[str]:
        """Say what of the guest arrived: datagrams at the listeners, and connections that they answered."""
        found = []
        for listener in self.datagrams:
            with suppress(BlockingIOError):
                while True:
                    found.append(listener.recv(100).decode())
        with suppress(BlockingIOError):
            while True:
                frame = Ether(self.wire.recv(1 << 16))
                if TCP in frame and frame[TCP].flags == "SA":
                    found.append(frame.summary())
        return found


@contextmanager
def ears(pod: Netns) -> Iterator[Ears]:
    """Listen on every address of the pod, by UDP and TCP."""
    opened = []
    with entered(pod):
        for family, anywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):  # noqa: S104 # so do pods
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                listener = socket.socket(family, kind | socket.SOCK_NONBLOCK)
                opened.append(listener)
                if family == socket.AF_INET6:
                    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listener.bind((anywhere, PORT))
                if kind == socket.SOCK_STREAM:
                    listener.listen()
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(3))
    try:
        yield Ears((opened[0], opened[2]), wire)
    finally:
        for sock in (*opened, wire):
            sock.close()


def _knock(made: Line, side: str = "guest") -> None:
    """Send a datagram and a connection request to every address of the pod, at every MAC that may take it."""
    links = made.pod.netns.ip("address", "show")
    macs = {link["address"] for link in links} | {probes.EVERYBODY, probes.ALL_NODES, *probes.BRIDGE_GROUPS}
    sender = made.facts.mac if side == "guest" else WIRE.gateway_mac
    addresses = {entry["local"] for link in links for entry in link["addr_info"]} | {"ff02::1", "224.0.0.1"}
    for mac in macs:
        for address in addresses:
            for source in SOURCES:
                if (":" in source) is not (":" in address):
                    continue
                kind = IPv6 if ":" in source else IP
                to = Ether(src=sender, dst=mac) / kind(src=source, dst=address)
                made.send(side, bytes(to / UDP(sport=1024, dport=PORT) / b"reached"))
                made.send(side, bytes(to / TCP(sport=1024, dport=PORT, flags="S")))
    made.passed(side, ())  # all before it are through


@pytest.mark.parametrize("isolation", chosen(ISOLATED, (ISOLATION_STRICT,).__contains__))
def test_no_listener_of_the_pod_hears_the_guest(isolation: str, tmp_path: Path) -> None:
    with line(tmp_path, "--isolation", isolation) as made:
        netns = made.pod.netns
        netns.ip_batch(
            "link add other0 type bridge",
            *(f"address add {address}" for address in OTHER),
            "link set other0 up",
            f"link add port0 master other0 up type veth peer name other0 netns {made.pod.node.name}",
        )
        made.pod.node.ip_batch(f"address add {NEIGHBOUR}/24 dev other0", "link set other0 up")
        must_answer(made.pod.node, "192.0.2.1")  # other bridges of the pod are none of our business
        with ears(netns) as listening:
            _knock(made)
            _knock(made, "network")
            assert listening.reached() == []
            netns.run("nft", "delete table bridge vmnet_eth0")
            _knock(made)
            assert "reached" in listening.reached(), "without the rules the guest is heard: the test could fail"


@pytest.mark.parametrize("isolation", [*ISOLATED, ISOLATION_OFF])
def test_no_router_advertisement_gives_the_pod_anything(isolation: str, tmp_path: Path) -> None:
    with line(tmp_path, "--isolation", isolation) as made:
        before = steady(snapshot(made.pod))
        options = ICMPv6NDOptSrcLLAddr(lladdr=made.facts.mac) / ICMPv6NDOptMTU(mtu=1280)
        prefix = ICMPv6NDOptPrefixInfo(prefix="2001:db8:bad::", prefixlen=64, L=1, A=1)
        groups = [("ff02::1", group) for group in (probes.ALL_NODES, *probes.BRIDGE_GROUPS)]
        for side, (destination, group) in itertools.product(
            ("guest", "network"), [*groups, (WIRE.ipv6, made.facts.mac)]
        ):
            to = Ether(src=made.facts.mac, dst=group) / IPv6(
                src=probes.GUEST_LINK_LOCAL, dst=destination, hlim=255
            )
            made.send(side, bytes(to / ICMPv6ND_RA(routerlifetime=1800, M=1) / options / prefix))
        for side in ("guest", "network"):
            made.passed(side, ())
        given = difference(before, steady(snapshot(made.pod))).splitlines()
        assert [line for line in given if not OF_THE_UP.search(line)] == []


class Watch(threading.Thread):
    """Counts what of the hostile frames the pod network sees, until it is told that the last were sent."""

    def __init__(self, wire: socket.socket) -> None:
        super().__init__()
        self._wire = wire
        self._over = threading.Event()
        self.leaked: Counter[str] = Counter()

    def run(self) -> None:
        """Count; once all were sent, until no more come."""
        while True:
            try:
                found = MARK.search(self._wire.recv(1 << 17))
                if found and found[1].decode() in NAMES:
                    self.leaked[found[1].decode()] += 1
            except TimeoutError:
                if self._over.is_set():
                    return

    def end(self) -> Counter[str]:
        """Give the names of those that were seen, and how often."""
        self._over.set()
        self.join()
        return self.leaked


@contextmanager
def watching(pod: Pod) -> Iterator[Watch]:
    """Watch the node's end of the pod's veth."""
    with entered(pod.node), open_wire(pod.host_ifname) as wire:
        wire.settimeout(0.1)
        watch = Watch(wire)
        watch.start()
        try:
            yield watch
        finally:
            watch.end()


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """All hostile frames in a file, each behind its length."""
    path = tmp_path / "frames"
    octets = [probe.octets() for probe in HOSTILE]
    path.write_bytes(b"".join(struct.pack("!H", len(frame)) + frame for frame in octets))
    return path


@contextmanager
def hammering(pod: Pod, frames: Path, count: int, log: Path) -> Iterator[Background]:
    """A guest that sends hostile frames as soon as there is a tap, and as fast as it can."""
    argv: list[str | Path] = [sys.executable, "-m", "testbed.hammer", pod.netns.path, "tap0", frames, str(count)]
    with background(argv, log) as guest:
        yield guest


def _sent(guest: Background) -> int:
    return int(guest.wait_for(r"^sent (\d+)$").group(1))


@pytest.mark.alone(reason=LOUD)
def test_nothing_leaks_while_the_rules_are_replaced(tmp_path: Path, frames: Path) -> None:
    with pods.pod("bridge-dual") as pod, watching(pod) as watch:
        pod.netns.ip_batch(f"route add {ROUTER}")
        agent = forked.agent(pod, tmp_path)
        agent.up()
        [path] = agent.state_dir.glob("**/journal.json")
        journal = decode(Journal, path.read_bytes())
        loaded = rulesets(journal.pod, journal.settings)
        reloads = 0
        with hammering(pod, frames, 10 * HAMMERED, tmp_path / "hammer.log") as guest:
            guest.wait_for("^attached$")
            while reloads < RELOADS or guest.process.poll() is None:
                with entered(pod.netns):
                    firewall.load("vmnet_eth0", loaded, ("bridge", "netdev"))
                reloads += 1
            assert _sent(guest) >= HAMMERED
        assert watch.end() == {}
        agent.down()


@pytest.mark.alone(reason=LOUD)
@pytest.mark.parametrize("isolation", [ISOLATION_STRICT, ISOLATION_OFF])
def test_nothing_leaks_while_the_pod_is_handed_over_and_given_back(
    isolation: str, tmp_path: Path, frames: Path
) -> None:
    """Without isolation it does: the test could fail."""
    sent = 0
    with pods.pod("bridge-dual") as pod, watching(pod) as watch:
        pod.netns.ip_batch(f"route add {ROUTER}")
        agent = agent_for(pod, tmp_path, isolation)
        while sent < HAMMERED:
            with hammering(pod, frames, FOR_EVER, tmp_path / "hammer.log") as guest:
                agent.up("--isolation", isolation)
                agent.down("--force")
                sent += _sent(guest)
        assert bool(watch.end()) is (isolation == ISOLATION_OFF)


SIOCETHTOOL, ETHTOOL_STXCSUM = 0x8946, 0x17
"""linux/sockios.h, linux/ethtool.h."""
VIRTIO_NET_HDR = struct.Struct("<BBHHHH")
NEEDS_CSUM = 1
"""linux/virtio_net.h: flags, GSO type, two lengths, and where the link shall sum up from and write to."""


def _sums_up_to(frame: Packet, at: int, value: int) -> bytes:
    """The frame as a driver hands it over, with a checksum left to the link that makes `value` of two octets."""
    octets = bytearray(bytes(frame)) + bytes(len(bytes(frame)) % 2 + 2)
    sum_now = checksum(bytes(octets[at:])) ^ 0xFFFF
    octets[-2:] = struct.pack("!H", ((value ^ 0xFFFF) - sum_now) % 0xFFFF)
    assert checksum(bytes(octets[at:])) == value
    return VIRTIO_NET_HDR.pack(NEEDS_CSUM, 0, 0, 0, at, 0) + octets


ETHERNET = {"src": WIRE.mac, "dst": probes.EVERYBODY}
WRITTEN_LATER: dict[str, tuple[Packet, int, int, Callable[[Packet], bool]]] = {
    "ra": (
        Ether(**ETHERNET)
        / IPv6(src=probes.GUEST_LINK_LOCAL, dst="ff02::1", hlim=255)
        / ICMPv6EchoRequest(data=bytes(40)),
        54,
        0x8600,
        lambda frame: ICMPv6ND_RA in frame,
    ),
    "offer": (
        Ether(**ETHERNET) / IP(src=WIRE.ipv4, dst="255.255.255.255") / UDP(sport=67, dport=9) / bytes(60),
        36,
        68,
        lambda frame: UDP in frame and frame[UDP].dport == 68,
    ),
    "arp": (
        Ether(**ETHERNET) / ARP(op=2, hwsrc=WIRE.mac, psrc=WIRE.ipv4, pdst=WIRE.peer4) / bytes(20),
        30,
        0x0101,
        lambda frame: ARP in frame and frame[ARP].psrc == WIRE.peer4,
    ),
}
"""What the rules see; where two octets are written after them, and which; if that is what they should stop."""


@pytest.mark.parametrize("name", WRITTEN_LATER)
def test_a_checksum_left_to_the_link_makes_nothing_forbidden_of_a_frame(name: str, tmp_path: Path) -> None:
    """The NIC here computes no checksums, so that the kernel does: after the rules, as a real NIC would."""
    frame, at, value, forbidden = WRITTEN_LATER[name]
    with line(tmp_path) as made:
        with entered(made.pod.netns), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            off = array("B", struct.pack("II", ETHTOOL_STXCSUM, 0))
            fcntl.ioctl(any_socket, SIOCETHTOOL, struct.pack("16sP8x", b"eth0-nic", off.buffer_info()[0]))
        os.write(made.tap.descriptor, _sums_up_to(frame, at, value))
        seen = made.heard_before_the_last()
        assert not any(forbidden(Ether(octets)) for octets in seen)
