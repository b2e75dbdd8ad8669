"""Frames that a driver leaves to the link to finish: they come out as what the rules have seen, or not at all.

raw tap (the guest) ── tap0 ── k6t-eth0 ── eth0-nic ══ veth ══ the node's end (the pod network)

The tap's reader has negotiated no offload, as firmware and PXE have not, and the NIC computes no checksums: so the
kernel finishes frames both ways, behind the rules, as a link of another machine would.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import socket
import struct
from array import array
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from scapy.layers.dhcp import BOOTP
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
)
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw
from scapy.utils import checksum

from testbed.netns import entered, run
from testbed.tap_copier import TUNSETOFFLOAD
from tests.netns import probes
from tests.netns.test_isolation import VNET_HDR, WIRE, line
from vmnet.model.settings import ISOLATION_DHCP_ONLY, ISOLATION_STRICT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from scapy.packet import Packet

    from testbed.agent import Agent
    from testbed.pods import Pod
    from tests.netns.test_isolation import Line

SIOCETHTOOL, ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO = 0x8946, 0x17, 0x1F, 0x24
"""linux/sockios.h, linux/ethtool.h."""
HEADER = struct.Struct("<BBHHHH")
TUN_F_CSUM, TUN_F_USO = 0x01, 0x20 | 0x40
"""linux/if_tun.h: the latter is TUN_F_USO4 and TUN_F_USO6."""
NEEDS_CSUM, TCPV4, UFO, TCPV6, USO = 1, 1, 3, 4, 5
"""linux/virtio_net.h: flags; GSO types."""
MARK = b"\xfe\xed"
"""What is in all of them but the other frames on the wire."""
FILLED = Raw(MARK * 40)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A frame, and what is left to the link."""

    frame: Packet
    start: int | None = None
    """Where to sum up from; None for a checksum that is whole."""
    offset: int = 0
    """Where to write the sum, from `start`."""
    becomes: int | None = None
    """What the sum shall make of these two octets; None for what a driver leaves, which makes the frame sound."""
    gso: int = 0
    size: int = 0
    """What the octets behind the headers are cut up into."""

    def octets(self) -> bytes:
        """The virtio-net header and the frame."""
        octets = bytearray(bytes(self.frame))
        start = self.start or 0
        if self.becomes is not None:
            octets += bytes((len(octets) - start) % 2 + 2)
            left = checksum(bytes(octets[start:])) ^ 0xFFFF
            octets[-2:] = struct.pack("!H", ((self.becomes ^ 0xFFFF) - left) % 0xFFFF)
        elif self.start is not None:
            pseudo = _pseudo_header(self.frame, len(octets) - start)
            octets[start + self.offset : start + self.offset + 2] = struct.pack("!H", checksum(pseudo) ^ 0xFFFF)
        headers = start + (8 if UDP in self.frame else 20)
        flags = NEEDS_CSUM if self.start is not None else 0
        return HEADER.pack(flags, self.gso, headers, self.size, start, self.offset) + octets


def _pseudo_header(frame: Packet, length: int) -> bytes:
    """What a UDP or TCP checksum counts besides the datagram (RFC 9293 §3.1, RFC 8200 §8.1)."""
    ip = frame.lastlayer().underlayer if Raw not in frame else frame[Raw].underlayer.underlayer
    while not isinstance(ip, IP | IPv6):
        ip = ip.underlayer
    family = socket.AF_INET6 if isinstance(ip, IPv6) else socket.AF_INET
    ends = socket.inet_pton(family, ip.src) + socket.inet_pton(family, ip.dst)
    return ends + struct.pack("!II", length, socket.IPPROTO_UDP if UDP in frame else socket.IPPROTO_TCP)


def _ends(side: str) -> tuple[Ether, Ether, dict[str, str], dict[str, str]]:
    """Ethernet to everybody and to the other end; IPv4 and IPv6 between the two."""
    mac, other = (WIRE.mac, WIRE.gateway_mac) if side == "guest" else (WIRE.gateway_mac, WIRE.mac)
    ends4, ends6 = (WIRE.ipv4, WIRE.peer4), (WIRE.ipv6, WIRE.peer6)
    (src4, dst4), (src6, dst6) = (ends4, ends6) if side == "guest" else (ends4[::-1], ends6[::-1])
    return (
        Ether(src=mac, dst=probes.EVERYBODY),
        Ether(src=mac, dst=other),
        {"src": src4, "dst": dst4},
        {"src": src6, "dst": dst6},
    )


def attacks(side: str) -> Iterator[tuple[str, Unfinished]]:
    """What would be a router, a DHCP server or somebody else once it is finished."""
    everybody, out, ip, ip6 = _ends(side)
    local = probes.GUEST_LINK_LOCAL if side == "guest" else "fe80::9"
    echo = IPv6(src=local, dst="ff02::1", hlim=255) / ICMPv6EchoRequest(data=MARK * 20)
    udp = UDP(sport=67, dport=9, chksum=0) / FILLED
    yield "ra", Unfinished(everybody / echo, 54, 0, 0x8600)
    behind = IPv6(src=local, dst="ff02::1", hlim=255) / IPv6ExtHdrDestOpt() / ICMPv6EchoRequest(data=MARK * 20)
    yield "ra behind options", Unfinished(everybody / behind, 62, 0, 0x8600)
    yield (
        "ra from a next header",
        Unfinished(
            everybody / IPv6(src=local, dst="ff02::1", hlim=255, nh=17) / Raw(b"\x86" + bytes(5) + MARK * 30),
            18,
            2,
            0x3AFF,
        ),
    )
    authenticated = Raw(struct.pack("!BBHII", 59, 1, 0, 1, 1) + b"\x86" + bytes(7) + MARK * 30)
    yield (
        "ra behind an authentication header",
        Unfinished(everybody / IPv6(src=local, dst="ff02::1", hlim=255, nh=51) / authenticated, 54, 0, 0x3A01),
    )
    yield "icmp redirect", Unfinished(out / IP(**ip) / ICMP() / FILLED, 34, 0, 0x0501)
    to_all = {**ip, "dst": "255.255.255.255"}
    yield "port", Unfinished(everybody / IP(**to_all) / udp, 36, 0, 68)
    yield (
        "port behind options",
        Unfinished(everybody / IP(options=[IPOption_NOP()] * 8, **to_all) / udp, 44, 0, 68),
    )
    yield "port by half", Unfinished(everybody / IP(**to_all) / udp, 35, 0, 0x4300)
    yield "length", Unfinished(everybody / IP(**to_all) / udp, 34, 4, 0x0044)
    yield "protocol", Unfinished(everybody / IP(**to_all) / udp, 22, 0, 0x4011)
    yield "source", Unfinished(everybody / IP(**to_all) / udp, 26, 0, 0x0A09)
    yield "ether type", Unfinished(everybody / IP(**to_all) / udp, 12, 0, 0x88CC)
    yield "destination", Unfinished(out / IP(**ip) / udp, 0, 0, 0xFFFF)
    yield (
        "arp",
        Unfinished(
            everybody / ARP(op=2, hwsrc=everybody.src, psrc=ip["src"], pdst=ip["dst"]) / FILLED, 30, 0, 0x0101
        ),
    )
    yield (
        "first fragment",
        Unfinished(everybody / IP(flags="MF", **to_all) / UDP(sport=67, dport=9, chksum=0) / FILLED, 36, 0, 68),
    )
    yield (
        "fragment of IPv6",
        Unfinished(
            out / IPv6(**ip6) / IPv6ExtHdrFragment(m=1, nh=17) / UDP(sport=547, dport=9) / FILLED, 64, 0, 546
        ),
    )
    yield "behind a priority", Unfinished(everybody / Dot1Q(vlan=0) / echo, 58, 0, 0x8600)
    if side == "network":  # whose veth has cut it up already: the rules see the fragments
        return
    offer = UDP(sport=67, dport=68) / BOOTP(op=2, yiaddr="10.9.9.9") / Raw(MARK * 100)
    for size in (8, 64, 400):
        yield (
            f"offer cut up to {size}",
            Unfinished(everybody / IP(frag=1, **to_all) / offer, 34, 6, gso=UFO, size=size),
        )
    yield (
        "offer cut up, behind options",
        Unfinished(
            everybody / IP(frag=1, options=[IPOption_NOP()] * 8, **to_all) / offer, 42, 6, gso=UFO, size=64
        ),
    )
    yield (
        "offer cut up, more to come",
        Unfinished(everybody / IP(frag=1, flags="MF", **to_all) / offer, 34, 6, gso=UFO, size=64),
    )
    yield (
        "offer cut up, its sum left",
        Unfinished(everybody / IP(frag=1, **to_all) / offer, 34, 6, gso=UFO, size=64),
    )


def ordinary(side: str) -> Iterator[tuple[str, Unfinished, int]]:
    """What drivers do leave, and in how many frames it comes."""
    out, _, ip, ip6 = _ends(side)  # to everybody: nobody answers what is only overheard
    for name, ether in (("", out), (" behind a priority", out / Dot1Q(vlan=0))):
        four, six = len(ether) + 20, len(ether) + 40
        yield f"udp{name}", Unfinished(ether / IP(**ip) / UDP(dport=9) / FILLED, four, 6), 1
        yield f"tcp{name}", Unfinished(ether / IP(**ip) / TCP(dport=9) / FILLED, four, 16), 1
        yield f"udp6{name}", Unfinished(ether / IPv6(**ip6) / UDP(dport=9) / FILLED, six, 6), 1
        yield f"tcp6{name}", Unfinished(ether / IPv6(**ip6) / TCP(dport=9) / FILLED, six, 16), 1
    long = IP(options=[IPOption_NOP()] * 8, **ip)
    yield "tcp with options", Unfinished(out / long / TCP(dport=9) / FILLED, 42, 16), 1
    behind = IPv6(**ip6) / IPv6ExtHdrDestOpt() / UDP(dport=9) / FILLED
    yield "udp6 behind options", Unfinished(out / behind, 62, 6), 1
    inner = IP(**ip) / IP(src="192.0.2.1", dst="192.0.2.2") / TCP(dport=9)
    yield "tcp in a tunnel", Unfinished(out / inner / FILLED, 54, 16), 1
    yield "tso", Unfinished(out / IP(**ip) / TCP(dport=9) / Raw(MARK * 1500), 34, 16, gso=TCPV4, size=1000), 3
    yield "tso6", Unfinished(out / IPv6(**ip6) / TCP(dport=9) / Raw(MARK * 1500), 54, 16, gso=TCPV6, size=1000), 3


def large_datagrams(side: str) -> Iterator[tuple[str, Unfinished, int]]:
    """What drivers leave besides where the kernel cuts up UDP for them."""
    out, _, ip, ip6 = _ends(side)
    yield "uso", Unfinished(out / IP(**ip) / UDP(dport=9) / Raw(MARK * 1500), 34, 6, gso=USO, size=1000), 3
    yield "uso6", Unfinished(out / IPv6(**ip6) / UDP(dport=9) / Raw(MARK * 1500), 54, 6, gso=USO, size=1000), 3


@pytest.fixture(scope="module", params=[ISOLATION_STRICT, ISOLATION_DHCP_ONLY])
def plain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, _room: None) -> Iterator[Line]:
    """A line where nobody but the kernel finishes frames."""
    with line(tmp_path_factory.mktemp("unfinished"), "--isolation", request.param) as made:
        fcntl.ioctl(made.tap.descriptor, TUNSETOFFLOAD, 0)
        with entered(made.pod.netns), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            for command in (ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_STXCSUM):
                off = array("B", struct.pack("II", command, 0))
                fcntl.ioctl(any_socket, SIOCETHTOOL, struct.pack("16sP8x", b"eth0-nic", off.buffer_info()[0]))
        yield made


_CALLS = itertools.count(100_000)


def _comes_of(made: Line, side: str, unfinished: Unfinished) -> list[bytes]:
    """Send it as a driver hands it over, or a neighbour's veth; give what of it comes out at the other side."""
    [last, _] = probes.last(WIRE, side, next(_CALLS))
    with suppress(OSError):  # EINVAL: the kernel refuses some itself
        if side == "guest":
            os.write(made.tap.descriptor, unfinished.octets())
        else:
            made.network.send(unfinished.octets())
    made.send(side, last.octets())
    seen: list[bytes] = []
    while not (seen and seen[-1].endswith(last.mark)):
        if side == "guest":
            seen.append(made.network.recv(1 << 17)[VNET_HDR:])
        else:
            seen.append(made.tap.receive(lambda _frame: True))
    return [frame for frame in seen if MARK in frame]


SIDES = ("guest", "network")
TAKEN_BACK = (("network", "ether type"), ("network", "destination"))
"""Linux 6.1 lets a neighbour ask for a sum that begins in the Ethernet header, as later kernels do not. But veth
strikes that out: the frame is a finished one, and has to come as the rules have seen it."""


def _come_of_attacks(made: Line) -> dict[tuple[str, str], list[bytes]]:
    """Give the frames that come of each attack, of those that something comes of."""
    found = {}
    for side in SIDES:
        for name, attack in attacks(side):
            frames = _comes_of(made, side, attack)
            as_seen = (side, name) in TAKEN_BACK and frames == [attack.octets()[HEADER.size :]]
            if frames and not as_seen:
                found[side, name] = frames
    return found


def test_nothing_comes_of_a_frame_that_would_become_another_one(plain: Line) -> None:
    assert _come_of_attacks(plain) == {}


def _come_otherwise(made: Line, side: str, sent: Iterable[tuple[str, Unfinished, int]]) -> dict[str, list[bytes]]:
    """Give what comes of those that do not come as so many sound frames."""
    found = {}
    for name, unfinished, count in sent:
        frames = _comes_of(made, side, unfinished)
        if len(frames) != count or not all(map(_is_sound, frames)):
            found[name] = frames
    return found


@pytest.mark.parametrize("side", SIDES)
def test_what_drivers_leave_to_the_link_comes_whole(plain: Line, side: str) -> None:
    assert _come_otherwise(plain, side, ordinary(side)) == {}


@pytest.mark.parametrize("side", SIDES)
def test_large_datagrams_that_drivers_leave_to_the_link_come_whole(plain: Line, side: str) -> None:
    _need_large_datagrams(plain)
    assert _come_otherwise(plain, side, large_datagrams(side)) == {}


def _need_large_datagrams(made: Line) -> None:
    """Skip where the kernel takes none of them from a driver, and so offers it no such thing."""
    try:
        fcntl.ioctl(made.tap.descriptor, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_USO)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        pytest.skip("this kernel cuts up no UDP datagrams of a tap's: that came with Linux 6.2 (TUN_F_USO4)")
    fcntl.ioctl(made.tap.descriptor, TUNSETOFFLOAD, 0)


def test_without_the_program_it_comes_and_up_puts_it_back(plain: Line) -> None:
    """So the test above could fail; each link's program is missed by itself."""
    for ifname in ("tap0", "eth0-nic"):
        plain.pod.netns.run("tc", "qdisc", "delete", "dev", ifname, "clsact")
        assert plain.agent.status()["drift"] == ["load the isolation rules of table vmnet_eth0"]
    come = _come_of_attacks(plain)
    assert {side for side, _name in come} == set(SIDES)
    assert {name for _side, name in come} >= {"ra", "port", "arp", "offer cut up to 64", "offer cut up to 400"}
    plain.agent.run("up")
    assert plain.agent.status()["drift"] == []
    assert _come_of_attacks(plain) == {}


def _is_sound(octets: bytes) -> bool:
    """Whether the checksum is what scapy makes it."""
    frame = Ether(octets)
    again = frame.copy()
    for layer in (UDP, TCP):
        if layer in again:
            del again[layer].chksum
    return bytes(again) == octets


def test_programs_of_others_stay_and_the_place_is_given_back(pod: Pod, agent: Agent) -> None:
    pod.netns.run("tc", "qdisc", "add", "dev", "eth0", "clsact")
    mine = (
        "filter",
        "add",
        "dev",
        "eth0",
        "egress",
        "pref",
        "7",
        "protocol",
        "all",
        "u32",
        "match",
        "u32",
        "0",
        "0",
    )
    pod.netns.run("tc", *mine)
    before = pod.netns.run("tc", "filter", "show", "dev", "eth0", "egress").stdout
    agent.up()
    assert agent.status()["warnings"] == []
    agent.down()
    assert pod.netns.run("tc", "filter", "show", "dev", "eth0", "egress").stdout == before
    assert pod.netns.run("tc", "filter", "show", "dev", "eth0", "ingress").stdout == ""
    pod.netns.run("tc", "qdisc", "delete", "dev", "eth0", "clsact")
    agent.up()
    agent.down()
    assert "clsact" not in pod.netns.run("tc", "qdisc", "show", "dev", "eth0").stdout


def test_a_place_on_which_nothing_hangs_yet_is_given_back(pod: Pod, agent: Agent) -> None:
    """As where vmnet dies, or the kernel has no cls_bpf, when the place is made and the program not hung up."""
    found = pod.netns.run("tc", "qdisc", "show", "dev", "eth0").stdout
    agent.up()
    pod.netns.run("tc", "filter", "delete", "dev", "eth0-nic", "ingress")
    agent.down()
    assert pod.netns.run("tc", "qdisc", "show", "dev", "eth0").stdout == found


def test_without_the_capability_the_rules_stand_alone_and_status_says_what_stays_open(
    pod: Pod, agent: Agent
) -> None:
    without = ("setpriv", "--bounding-set", "-sys_admin,-cap_39", "--inh-caps", "-sys_admin,-cap_39", "--")
    lesser = replace(agent, confined=False)
    command = lesser.argv("up")
    at = command.index("env")
    assert pod.netns
    run([*command[:at], *without, *command[at:]], timeout=30)
    report = agent.status()
    assert report["drift"] == []
    assert len(report["warnings"]) == 1
    assert "it needs CAP_BPF" in report["warnings"][0]
    agent.down()
