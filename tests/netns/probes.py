"""Frames that try the isolation: each has a name, what it is, and whether it passes.

Every frame ends in a mark of its own, beyond what its headers count, by which it is known wherever it comes out.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dhcp6 import (
    DHCP6_Advertise,
    DHCP6_InfoRequest,
    DHCP6_Reconf,
    DHCP6_RelayForward,
    DHCP6_RelayReply,
    DHCP6_Reply,
    DHCP6_Request,
    DHCP6_Solicit,
)
from scapy.layers.inet import GRE, ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6MLDMultAddrRec,
    ICMPv6MLDone,
    ICMPv6MLQuery,
    ICMPv6MLQuery2,
    ICMPv6MLReport,
    ICMPv6MLReport2,
    ICMPv6MRD_Advertisement,
    ICMPv6MRD_Solicitation,
    ICMPv6ND_INDAdv,
    ICMPv6ND_INDSol,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_Redirect,
    ICMPv6ND_RS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    Jumbo,
    RouterAlert,
)
from scapy.layers.l2 import ARP, LLC, SNAP, STP, Dot1AD, Dot1Q, Dot3, Ether
from scapy.layers.ppp import PPPoED
from scapy.layers.sctp import SCTP, SCTPChunkInit
from scapy.packet import Packet, Raw

if TYPE_CHECKING:
    from collections.abc import Iterator

FOREIGN_MAC = "52:54:00:0b:ad:01"
UNSPECIFIED = "0.0.0.0"  # noqa: S104 # a source, not a bind
FOREIGN_IPV4 = "203.0.113.66"
FOREIGN_IPV6 = "2001:db8:bad::66"
ROUTER = "fe80::1"
ROUTER_MAC = "02:00:00:00:00:01"
OUR_SERVER, OUR_ROUTER = "fe80::766d:6e65:7400", "fe80::766d:6e65:7401"
"""What our server bears towards the guest, and nobody else (`SERVER_PREFIX`)."""
OUR_GROUP = "ff02::1:ff65:7401"
GUEST_LINK_LOCAL = "fe80::5054:ff:fe00:77"
EVERYBODY, ALL_NODES, ALL_ROUTERS = "ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01", "33:33:00:00:00:02"
BRIDGE_GROUPS = tuple(f"01:80:c2:00:00:{last:02x}" for last in range(16))
"""What bridges keep for themselves (IEEE 802.1Q §8.6.3)."""
_LATER_FRAGMENT = 185
"""In units of 8 octets: where the second of two fragments of 1,480 octets begins."""


@dataclass(frozen=True, slots=True)
class Wire:
    """Who is at the two ends."""

    mac: str
    ipv4: str
    ipv6: str
    gateway_mac: str
    peer4: str
    peer6: str


@dataclass(frozen=True)
class Probe:
    """A frame, and what shall become of it."""

    name: str
    frame: Packet
    passes: bool

    def octets(self) -> bytes:
        """The frame on the wire."""
        return self._built + self.mark

    @cached_property
    def _built(self) -> bytes:
        """It is sent once for each rule that is left out, and scapy takes its time."""
        return bytes(self.frame)

    @property
    def mark(self) -> bytes:
        """What it is known by."""
        return b"<" + self.name.encode() + b">"


def from_guest(wire: Wire) -> tuple[Probe, ...]:
    """What the guest sends."""
    return (
        *_probes(_guests_attacks(wire), passes=False),
        *_probes(_guests_disguises(wire), passes=False),
        *_probes(_guests_router_messages(wire), passes=False),
        *_probes(_guests_neighbours(wire), passes=False),
        *_probes(_guests_dhcpv6(wire), passes=False),
        *_probes(_guests_solicitations(wire), passes=False),
        *_probes(_guests_router_messages_in_disguise(wire), passes=False),
        *_probes(_guests_broken_headers(wire), passes=False),
        *_probes(_guests_ipv4_router_messages(wire), passes=False),
        *_probes(_guests_routing(wire), passes=False),
        *_probes(_guests_own_traffic(wire), passes=True),
        *_probes(_guests_priorities(wire), passes=True),
        *_probes(_guests_own_ipv6(wire), passes=True),
    )


def from_network(wire: Wire) -> tuple[Probe, ...]:
    """What the pod network sends."""
    return (
        *_probes(_networks_attacks(wire), passes=False),
        *_probes(_networks_ipv6(wire), passes=False),
        *_probes(_networks_broken_headers(wire), passes=False),
        *_probes(_networks_traffic(wire), passes=True),
        *_probes(_networks_priorities(wire), passes=True),
        *_probes(_networks_ipv6_traffic(wire), passes=True),
    )


def from_server(wire: Wire) -> tuple[Probe, ...]:
    """What our server, once a guest has taken it over, sends into the bridge."""
    return (*_probes(_servers_attacks(wire), passes=False), *_probes(_servers_questions(wire), passes=True))


def _probes(frames: Iterator[tuple[str, Packet]], *, passes: bool) -> tuple[Probe, ...]:
    return tuple(Probe(name, frame, passes) for name, frame in frames)


def _guests_attacks(w: Wire) -> Iterator[tuple[str, Packet]]:
    out = Ether(src=w.mac, dst=w.gateway_mac)
    everybody = Ether(src=w.mac, dst=EVERYBODY)
    foreign = Ether(src=FOREIGN_MAC, dst=w.gateway_mac)
    discover = BOOTP(chaddr=bytes.fromhex(w.mac.replace(":", ""))) / DHCP(options=[("message-type", 1), "end"])
    offer = BOOTP(op=2, yiaddr="10.9.9.9") / DHCP(options=[("message-type", 2), "end"])
    arp = {"hwsrc": w.mac, "psrc": w.ipv4, "pdst": w.peer4}
    yield (
        "dhcp-discover",
        everybody / IP(src=UNSPECIFIED, dst="255.255.255.255") / UDP(sport=68, dport=67) / discover,
    )
    yield "dhcp-renewal", out / IP(src=w.ipv4, dst=w.peer4) / UDP(sport=68, dport=67) / discover
    yield "rogue-offer", everybody / IP(src=w.ipv4, dst="255.255.255.255") / UDP(sport=67, dport=68) / offer
    yield "rogue-offer-from-any-port", everybody / IP(src=w.ipv4, dst="255.255.255.255") / UDP(dport=68) / offer
    yield (
        "dhcp-behind-ip-options",
        out / IP(src=w.ipv4, dst=w.peer4, options=[IPOption_NOP()] * 8) / UDP(sport=68, dport=67) / discover,
    )
    yield (
        "dhcp-first-fragment",
        out / IP(src=w.ipv4, dst=w.peer4, flags="MF") / UDP(sport=68, dport=67) / Raw(bytes(24)),
    )
    yield "foreign-mac", foreign / IP(src=w.ipv4, dst=w.peer4) / UDP(dport=9)
    yield "foreign-mac-arp", foreign / ARP(**arp)
    yield (
        "broadcast-mac-as-source",
        Ether(src=EVERYBODY, dst=w.gateway_mac) / IP(src=w.ipv4, dst=w.peer4) / UDP(dport=9),
    )
    yield "foreign-ipv4", out / IP(src=FOREIGN_IPV4, dst=w.peer4) / UDP(dport=9)
    yield "unspecified-ipv4", out / IP(src=UNSPECIFIED, dst=w.peer4) / UDP(dport=9)
    yield (
        "foreign-ipv4-later-fragment",
        out / IP(src=FOREIGN_IPV4, dst=w.peer4, frag=_LATER_FRAGMENT) / Raw(bytes(24)),
    )
    yield "gateways-ipv4", out / IP(src=w.peer4, dst="224.0.0.1") / UDP(dport=9)
    yield "arp-for-the-gateway", everybody / ARP(op="is-at", hwsrc=w.mac, psrc=w.peer4, pdst=w.ipv4)
    yield "arp-gratuitous-foreign", everybody / ARP(hwsrc=w.mac, psrc=FOREIGN_IPV4, pdst=FOREIGN_IPV4)
    yield "arp-foreign-sender-mac", everybody / ARP(op="is-at", hwsrc=FOREIGN_MAC, psrc=w.ipv4, pdst=w.peer4)
    yield "arp-of-other-hardware", everybody / ARP(hwtype=6, **arp)
    yield "arp-of-other-protocol", everybody / ARP(ptype=0x86DD, **arp)
    yield "arp-of-other-lengths", everybody / Raw(bytes(ARP(hwlen=6, plen=16, **arp)))
    yield "inverse-arp", everybody / ARP(op=8, **arp)
    yield (
        "rarp-for-another",
        Ether(src=w.mac, dst=EVERYBODY, type=0x8035)
        / ARP(op=3, hwsrc=FOREIGN_MAC, psrc=UNSPECIFIED, hwdst=FOREIGN_MAC, pdst=UNSPECIFIED),
    )
    yield (
        "rarp-reply",
        Ether(src=w.mac, dst=EVERYBODY, type=0x8035)
        / ARP(op=4, hwsrc=w.mac, psrc=w.ipv4, hwdst=w.mac, pdst=w.ipv4),
    )


def _guests_disguises(w: Wire) -> Iterator[tuple[str, Packet]]:
    out = Ether(src=w.mac, dst=w.gateway_mac)
    everybody = Ether(src=w.mac, dst=EVERYBODY)
    plain = IP(src=w.ipv4, dst=w.peer4) / UDP(dport=9)
    arp = ARP(hwsrc=w.mac, psrc=w.ipv4, pdst=w.peer4)
    solicitation = IPv6(src=w.ipv6, dst="ff02::1:ff00:1") / ICMPv6ND_NS(tgt=w.peer6)
    yield "802.1q", out / Dot1Q(vlan=100) / plain
    yield "802.1q-arp", everybody / Dot1Q(vlan=100) / arp
    yield "802.1q-ipv6", everybody / Dot1Q(vlan=100) / solicitation
    yield "802.1ad", out / Dot1AD(vlan=100) / plain
    yield "802.1ad-arp", everybody / Dot1AD(vlan=100) / arp
    yield "qinq", out / Dot1AD(vlan=100) / Dot1Q(vlan=200) / plain
    yield "qinq-arp", everybody / Dot1Q(vlan=0) / Dot1Q(vlan=200) / arp
    yield (
        "qinq-old-ethertype",
        Ether(src=w.mac, dst=w.gateway_mac, type=0x9100) / Raw(bytes(Dot1Q(vlan=200) / plain)),
    )
    yield "triple-tagged", out / Dot1Q(vlan=1) / Dot1Q(vlan=2) / Dot1Q(vlan=3) / plain
    nodes = Ether(src=w.mac, dst=ALL_NODES)
    offer = IP(src=w.ipv4, dst="255.255.255.255") / UDP(sport=67, dport=68) / BOOTP(op=2)
    yield "priority-tag-ra", nodes / Dot1Q(vlan=0) / _advertisement(w)
    yield "priority-tag-twice-ra", nodes / Dot1Q(vlan=0) / Dot1Q(vlan=0) / _advertisement(w)
    yield "priority-tag-802.1ad-ra", nodes / Dot1AD(vlan=0) / Dot1Q(vlan=0) / _advertisement(w)
    yield "priority-tag-twice-offer", everybody / Dot1Q(vlan=0) / Dot1Q(vlan=0) / offer
    yield "priority-tag-foreign-ipv4", out / Dot1Q(vlan=0) / IP(src=FOREIGN_IPV4, dst=w.peer4) / UDP(dport=9)
    yield "priority-tag-foreign-ipv6", out / Dot1Q(vlan=0) / IPv6(src=FOREIGN_IPV6, dst=w.peer6) / UDP(dport=9)
    yield "priority-tag-foreign-mac", Ether(src=FOREIGN_MAC, dst=w.gateway_mac) / Dot1Q(vlan=0) / plain
    yield (
        "priority-tag-arp-for-the-gateway",
        everybody / Dot1Q(vlan=0) / ARP(op="is-at", hwsrc=w.mac, psrc=w.peer4, pdst=w.ipv4),
    )
    yield "priority-tag-offer", everybody / Dot1Q(vlan=0) / offer
    yield "priority-tag-802.1ad-offer", everybody / Dot1AD(vlan=0) / offer
    yield "priority-tag-llc", out / Dot1Q(vlan=0, type=60) / LLC(dsap=0xE0, ssap=0xE0, ctrl=3) / Raw(bytes(57))
    yield "priority-tag-twice", out / Dot1Q(vlan=0) / Dot1Q(vlan=0) / plain
    yield "snap-ra", _snap(nodes, 0x86DD, _advertisement(w))
    yield "snap-offer", _snap(everybody, 0x0800, offer)
    yield "snap-tag-ra", _snap(nodes, 0x8100, Raw(b"\0\0\x86\xdd") / _advertisement(w))
    yield "pppoe-discovery", Ether(src=w.mac, dst=EVERYBODY, type=0x8863) / PPPoED(code=9)
    yield (
        "mpls",
        Ether(src=w.mac, dst=w.gateway_mac, type=0x8847) / Raw(struct.pack("!I", 0x00010140) + bytes(plain)),
    )
    yield "lldp", Ether(src=w.mac, dst="01:80:c2:00:00:0e", type=0x88CC) / Raw(bytes(46))
    yield "eapol", Ether(src=w.mac, dst="01:80:c2:00:00:03", type=0x888E) / Raw(bytes(46))
    yield "802.3-llc", Dot3(src=w.mac, dst=EVERYBODY) / LLC(dsap=0xE0, ssap=0xE0, ctrl=3) / Raw(bytes(40))
    yield "802.3-snap-ipv4", Dot3(src=w.mac, dst=w.gateway_mac) / LLC() / SNAP(code=0x0800) / plain
    for group in BRIDGE_GROUPS:
        yield f"udp-to-{group.replace(':', '')}", Ether(src=w.mac, dst=group) / plain
    yield "stp", Dot3(src=w.mac, dst="01:80:c2:00:00:00") / LLC() / STP()
    yield "macsec", Ether(src=w.mac, dst=w.gateway_mac, type=0x88E5) / Raw(bytes(46))
    yield "local-experimental", Ether(src=w.mac, dst=w.gateway_mac, type=0x88B5) / Raw(bytes(46))


def _snap(ether: Ether, code: int, payload: Packet) -> Packet:
    return Dot3(src=ether.src, dst=ether.dst) / LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP(code=code) / payload


def _guests_router_messages(w: Wire) -> Iterator[tuple[str, Packet]]:
    nodes = Ether(src=w.mac, dst=ALL_NODES)
    out = Ether(src=w.mac, dst=w.gateway_mac)
    local = {"src": GUEST_LINK_LOCAL, "dst": "ff02::1"}
    advertisement = ICMPv6ND_RA(routerlifetime=1800) / ICMPv6NDOptSrcLLAddr(lladdr=w.mac)
    yield "ra", nodes / IPv6(hlim=255, **local) / advertisement
    yield "ra-hop-limit-64", nodes / IPv6(hlim=64, **local) / advertisement
    yield "ra-behind-destination-options", nodes / IPv6(hlim=255, **local) / IPv6ExtHdrDestOpt() / advertisement
    yield "ra-behind-hop-by-hop", nodes / IPv6(hlim=255, **local) / IPv6ExtHdrHopByHop() / advertisement
    chain = IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt() / IPv6ExtHdrRouting() / IPv6ExtHdrDestOpt()
    yield "ra-behind-a-chain", nodes / IPv6(hlim=255, **local) / chain / advertisement
    yield "ra-atomic-fragment", nodes / IPv6(hlim=255, **local) / IPv6ExtHdrFragment(id=1) / advertisement
    yield "ra-first-fragment", nodes / IPv6(hlim=255, **local) / IPv6ExtHdrFragment(id=2, m=1) / advertisement
    yield (
        "fragment-whose-headers-go-on-in-the-next",
        nodes / IPv6(hlim=255, plen=24, **local) / _split_headers(),
    )
    yield "ra-from-own-address", nodes / IPv6(hlim=255, src=w.ipv6, dst="ff02::1") / advertisement
    yield "redirect", out / IPv6(hlim=255, src=GUEST_LINK_LOCAL, dst=w.peer6) / ICMPv6ND_Redirect(tgt=w.ipv6)
    yield (
        "rs",
        Ether(src=w.mac, dst=ALL_ROUTERS) / IPv6(hlim=255, src=GUEST_LINK_LOCAL, dst="ff02::2") / ICMPv6ND_RS(),
    )
    yield (
        "rs-unspecified",
        Ether(src=w.mac, dst=ALL_ROUTERS) / IPv6(hlim=255, src="::", dst="ff02::2") / ICMPv6ND_RS(),
    )
    yield (
        "rs-fragmented",
        Ether(src=w.mac, dst=ALL_ROUTERS)
        / IPv6(hlim=255, src=GUEST_LINK_LOCAL, dst="ff02::2")
        / IPv6ExtHdrFragment(id=4, m=1)
        / ICMPv6ND_RS(),
    )
    yield "mld-query", nodes / IPv6(hlim=1, **local) / IPv6ExtHdrHopByHop(options=RouterAlert()) / ICMPv6MLQuery()
    servers = Ether(src=w.mac, dst="33:33:00:01:00:02")
    yield (
        "dhcpv6-solicit",
        servers / IPv6(src=GUEST_LINK_LOCAL, dst="ff02::1:2") / UDP(sport=546, dport=547) / DHCP6_Solicit(),
    )
    yield (
        "dhcpv6-advertise",
        out / IPv6(src=GUEST_LINK_LOCAL, dst="fe80::9") / UDP(sport=547, dport=546) / DHCP6_Advertise(),
    )
    yield "foreign-ipv6", out / IPv6(src=FOREIGN_IPV6, dst=w.peer6) / UDP(dport=9)
    yield (
        "foreign-ipv6-later-fragment",
        out
        / IPv6(src=FOREIGN_IPV6, dst=w.peer6)
        / IPv6ExtHdrFragment(offset=_LATER_FRAGMENT, nh=17)
        / Raw(bytes(24)),
    )
    yield "unspecified-ipv6", out / IPv6(src="::", dst=w.peer6) / UDP(dport=9)
    yield "routers-link-local-address", out / IPv6(src=ROUTER, dst="fe80::9") / UDP(dport=9)
    override = {"R": 0, "S": 0, "O": 1}
    yield (
        "na-for-the-router",
        nodes
        / IPv6(hlim=255, src=w.ipv6, dst="ff02::1")
        / ICMPv6ND_NA(tgt=ROUTER, **override)
        / ICMPv6NDOptDstLLAddr(lladdr=w.mac),
    )
    yield (
        "na-for-another",
        nodes
        / IPv6(hlim=255, src=w.ipv6, dst="ff02::1")
        / ICMPv6ND_NA(tgt=w.peer6, **override)
        / ICMPv6NDOptDstLLAddr(lladdr=w.mac),
    )
    yield (
        "probe-for-anothers-address",
        Ether(src=w.mac, dst="33:33:ff:00:00:66")
        / IPv6(hlim=255, src="::", dst="ff02::1:ff00:66")
        / ICMPv6ND_NS(tgt=FOREIGN_IPV6),
    )
    header = Raw(b"\x3a\x01" + bytes(10))
    yield "ra-behind-ah", nodes / IPv6(hlim=255, nh=51, **local) / header / advertisement
    yield "node-information-query", out / IPv6(src=w.ipv6, dst=w.peer6, nh=58) / Raw(b"\x8b\x00" + bytes(22))


def _guests_neighbours(w: Wire) -> Iterator[tuple[str, Packet]]:
    """Somebody else's address claimed; what is for our server alone; somebody else as the source."""
    out = Ether(src=w.mac, dst=w.gateway_mac)
    nodes = Ether(src=w.mac, dst=ALL_NODES)
    group = Ether(src=w.mac, dst="33:33:ff:65:74:01")
    local = {"src": GUEST_LINK_LOCAL, "dst": "ff02::1", "hlim": 255}
    override = {"R": 1, "S": 0, "O": 1}
    mine = ICMPv6NDOptDstLLAddr(lladdr=w.mac)
    for name, target in (("router", ROUTER), ("gateway", w.peer6)):
        claim = ICMPv6ND_NA(tgt=target, **override) / mine
        yield f"na-for-the-{name}-as-a-router", nodes / IPv6(**local) / claim
        yield f"na-for-the-{name}-behind-destination-options", nodes / IPv6(**local) / IPv6ExtHdrDestOpt() / claim
        yield f"na-for-the-{name}-behind-hop-by-hop", nodes / IPv6(**local) / IPv6ExtHdrHopByHop() / claim
        yield f"na-for-the-{name}-first-fragment", nodes / IPv6(**local) / IPv6ExtHdrFragment(id=8, m=1) / claim
    for name, target in (("server", OUR_SERVER), ("router", OUR_ROUTER)):
        yield f"na-for-our-{name}", nodes / IPv6(**local) / ICMPv6ND_NA(tgt=target, **override) / mine
        asking = ICMPv6ND_NS(tgt=target) / ICMPv6NDOptSrcLLAddr(lladdr=w.mac)
        yield f"ns-for-our-{name}", group / IPv6(src=w.ipv6, dst=OUR_GROUP, hlim=255) / asking
        yield f"dad-for-our-{name}", group / IPv6(src="::", dst=OUR_GROUP, hlim=255) / ICMPv6ND_NS(tgt=target)
        yield f"ping6-to-our-{name}", out / IPv6(src=GUEST_LINK_LOCAL, dst=target) / ICMPv6EchoRequest()
        yield f"ping6-as-our-{name}", out / IPv6(src=target, dst=w.peer6) / ICMPv6EchoRequest()
    yield (
        "nud-probe-of-our-router",
        out / IPv6(src=GUEST_LINK_LOCAL, dst=OUR_ROUTER, hlim=255) / ICMPv6ND_NS(tgt=OUR_ROUTER),
    )
    yield (
        "ns-from-a-foreign-address",
        out / IPv6(src=FOREIGN_IPV6, dst=w.peer6, hlim=255) / ICMPv6ND_NS(tgt=w.peer6),
    )
    yield (
        "na-from-a-foreign-address",
        nodes / IPv6(src=FOREIGN_IPV6, dst="ff02::1", hlim=255) / ICMPv6ND_NA(tgt=FOREIGN_IPV6, **override) / mine,
    )
    yield "ping6-from-a-foreign-address", out / IPv6(src=FOREIGN_IPV6, dst=w.peer6) / ICMPv6EchoRequest()
    yield "ping6-from-the-gateways-address", out / IPv6(src=w.peer6, dst="ff02::1") / ICMPv6EchoRequest()
    yield (
        "ns-from-the-router",
        out
        / IPv6(src=ROUTER, dst=w.peer6, hlim=255)
        / ICMPv6ND_NS(tgt=w.peer6)
        / ICMPv6NDOptSrcLLAddr(lladdr=w.mac),
    )


def _guests_dhcpv6(w: Wire) -> Iterator[tuple[str, Packet]]:
    out = Ether(src=w.mac, dst=w.gateway_mac)
    nodes = Ether(src=w.mac, dst=ALL_NODES)
    servers = Ether(src=w.mac, dst="33:33:00:01:00:02")
    asking = IPv6(src=GUEST_LINK_LOCAL, dst="ff02::1:2")
    to_server = UDP(sport=546, dport=547)
    yield "dhcpv6-request-to-our-server", out / IPv6(src=w.ipv6, dst=OUR_SERVER) / to_server / DHCP6_Request()
    yield "dhcpv6-request-to-the-gateway", out / IPv6(src=w.ipv6, dst=w.peer6) / to_server / DHCP6_Request()
    yield "dhcpv6-information-request", servers / asking / to_server / DHCP6_InfoRequest()
    yield "dhcpv6-solicit-from-any-port", servers / asking / UDP(sport=1024, dport=547) / DHCP6_Solicit()
    yield "dhcpv6-solicit-behind-options", servers / asking / IPv6ExtHdrDestOpt() / to_server / DHCP6_Solicit()
    fragment = IPv6ExtHdrFragment(id=9, m=1)
    yield "dhcpv6-solicit-first-fragment", servers / asking / fragment / to_server / DHCP6_Solicit() / bytes(36)
    relayed = UDP(sport=547, dport=547)
    yield "dhcpv6-relay-forward", servers / asking / relayed / DHCP6_RelayForward()
    yield "dhcpv6-relay-reply", out / IPv6(src=w.ipv6, dst=w.peer6) / relayed / DHCP6_RelayReply()
    answering, to_client = IPv6(src=GUEST_LINK_LOCAL, dst="fe80::9"), UDP(sport=547, dport=546)
    yield "dhcpv6-reply", out / answering / to_client / DHCP6_Reply()
    yield "dhcpv6-reply-from-own-address", out / IPv6(src=w.ipv6, dst=w.peer6) / to_client / DHCP6_Reply()
    yield "dhcpv6-reply-from-any-port", out / answering / UDP(sport=1024, dport=546) / DHCP6_Reply()
    yield "dhcpv6-reply-to-all", nodes / IPv6(src=GUEST_LINK_LOCAL, dst="ff02::1") / to_client / DHCP6_Reply()
    yield "dhcpv6-reply-first-fragment", out / answering / fragment / to_client / DHCP6_Reply() / bytes(36)
    yield "dhcpv6-reconfigure", out / answering / to_client / DHCP6_Reconf()


def _guests_solicitations(w: Wire) -> Iterator[tuple[str, Packet]]:
    """Of routers: our server has heard those that may be answered."""
    routers = Ether(src=w.mac, dst=ALL_ROUTERS)
    to = {"src": GUEST_LINK_LOCAL, "dst": "ff02::2"}
    asking = ICMPv6ND_RS() / ICMPv6NDOptSrcLLAddr(lladdr=w.mac)
    yield "rs-hop-limit-64", routers / IPv6(hlim=64, **to) / asking
    yield "rs-from-own-address", routers / IPv6(hlim=255, src=w.ipv6, dst="ff02::2") / asking
    yield "rs-to-the-router", Ether(src=w.mac, dst=ROUTER_MAC) / IPv6(hlim=255, src=w.ipv6, dst=ROUTER) / asking
    yield "rs-behind-destination-options", routers / IPv6(hlim=255, **to) / IPv6ExtHdrDestOpt() / asking
    yield "rs-behind-hop-by-hop", routers / IPv6(hlim=255, **to) / IPv6ExtHdrHopByHop() / asking
    yield "rs-atomic-fragment", routers / IPv6(hlim=255, **to) / IPv6ExtHdrFragment(id=10) / asking


def _guests_router_messages_in_disguise(w: Wire) -> Iterator[tuple[str, Packet]]:
    """What only a router says, in further headers, and what fewer know."""
    out = Ether(src=w.mac, dst=w.gateway_mac)
    nodes = Ether(src=w.mac, dst=ALL_NODES)
    local = {"src": GUEST_LINK_LOCAL, "dst": "ff02::1"}
    advertisement = ICMPv6ND_RA(routerlifetime=1800) / ICMPv6NDOptSrcLLAddr(lladdr=w.mac)
    yield "ra-to-the-gateway", out / IPv6(hlim=255, src=GUEST_LINK_LOCAL, dst=w.peer6) / advertisement
    yield "ra-of-the-router", nodes / IPv6(hlim=255, src=ROUTER, dst="ff02::1") / advertisement
    yield "ra-behind-a-routing-header", nodes / IPv6(hlim=255, **local) / IPv6ExtHdrRouting() / advertisement
    options = IPv6ExtHdrHopByHop() / IPv6ExtHdrFragment(id=11, m=1) / IPv6ExtHdrDestOpt()
    yield "ra-behind-options-first-fragment", nodes / IPv6(hlim=255, **local) / options / advertisement
    redirect = ICMPv6ND_Redirect(tgt=w.ipv6)
    yield (
        "redirect-behind-destination-options",
        out / IPv6(hlim=255, src=GUEST_LINK_LOCAL, dst=w.peer6) / IPv6ExtHdrDestOpt() / redirect,
    )
    yield "redirect-of-the-router", out / IPv6(hlim=255, src=ROUTER, dst=w.peer6) / redirect
    alert = IPv6ExtHdrHopByHop(options=RouterAlert())
    yield "mld2-query", nodes / IPv6(hlim=1, **local) / alert / ICMPv6MLQuery2()
    yield "mld-query-without-alert", nodes / IPv6(hlim=1, **local) / ICMPv6MLQuery()
    yield "multicast-router-advertisement", nodes / IPv6(hlim=1, **local) / alert / ICMPv6MRD_Advertisement()
    yield "multicast-router-solicitation", nodes / IPv6(hlim=1, **local) / alert / ICMPv6MRD_Solicitation()
    yield "inverse-ns", out / IPv6(hlim=255, **local) / ICMPv6ND_INDSol()
    yield "inverse-na", out / IPv6(hlim=255, **local) / ICMPv6ND_INDAdv()
    unheard_of = {"router-renumbering": 138, "home-agents": 145, "certification-path": 149, "rpl": 155, "dar": 157}
    for name, number in unheard_of.items():
        yield name, nodes / IPv6(hlim=255, nh=58, **local) / Raw(bytes((number,)) + bytes(23))


def _guests_broken_headers(w: Wire) -> Iterator[tuple[str, Packet]]:
    """What the kernel finds no ports in, and a program that reads a packet socket does.

    ISC's dhclient looks at EtherType, protocol, fragment offset and port, and not at the version.
    """
    out = Ether(src=w.mac, dst=w.gateway_mac)
    everybody = Ether(src=w.mac, dst=EVERYBODY)
    offer = UDP(sport=67, dport=68) / BOOTP(op=2, yiaddr="10.9.9.9") / DHCP(options=[("message-type", 2), "end"])
    ip = {"src": w.ipv4, "dst": "255.255.255.255"}
    yield "offer-in-ip-version-5", everybody / IP(version=5, **ip) / offer
    yield "offer-in-ip-version-0", everybody / IP(version=0, **ip) / offer
    yield "offer-longer-than-its-frame", everybody / IP(len=1400, **ip) / offer
    yield "offer-of-length-0", everybody / IP(len=0, **ip) / offer
    yield "offer-behind-a-header-of-4-octets", everybody / IP(ihl=1, **ip) / offer
    yield "broken-later-fragment", everybody / IP(version=5, frag=_LATER_FRAGMENT, **ip) / Raw(bytes(24))
    yield "ipv6-in-the-ethertype-of-ipv4", Ether(src=w.mac, dst=ALL_NODES, type=0x0800) / _advertisement(w)
    yield "ipv4-in-the-ethertype-of-ipv6", Ether(src=w.mac, dst=EVERYBODY, type=0x86DD) / IP(**ip) / offer
    yield "ipv6-of-version-4", out / IPv6(version=4, src=w.ipv6, dst=w.peer6) / UDP(dport=9)
    yield "ipv6-longer-than-its-frame", out / IPv6(plen=1400, src=w.ipv6, dst=w.peer6) / UDP(dport=9)
    yield "ra-in-a-jumbogram", Ether(src=w.mac, dst=ALL_NODES) / _advertisement(w, _jumbo())
    for number, name in ((0x05DC, "largest-802.3-length"), (0, "802.3-length-0"), (0x05FF, "ethertype-0x5ff")):
        yield name, Ether(src=w.mac, dst=w.gateway_mac, type=number) / IP(src=w.ipv4, dst=w.peer4) / UDP(dport=9)


def _guests_ipv4_router_messages(w: Wire) -> Iterator[tuple[str, Packet]]:
    out = Ether(src=w.mac, dst=w.gateway_mac)
    systems = Ether(src=w.mac, dst="01:00:5e:00:00:01")
    group = Ether(src="03:00:00:00:00:07", dst=w.gateway_mac)
    yield "icmp-redirect", out / IP(src=w.ipv4, dst=w.peer4) / ICMP(type=5, code=1, gw=w.ipv4)
    yield "icmp-router-advertisement", systems / IP(src=w.ipv4, dst="224.0.0.1", ttl=1) / ICMP(type=9)
    query = b"\x11\x64\xee\x9b" + bytes(4)
    yield "igmp-query", systems / IP(src=w.ipv4, dst="224.0.0.1", proto=2, ttl=1) / Raw(query)
    yield "group-as-source", group / IP(src=w.ipv4, dst=w.peer4) / UDP(dport=9)
    yield (
        "arp-from-a-group",
        Ether(src=w.mac, dst=EVERYBODY) / ARP(op=2, hwsrc="01:00:5e:00:00:01", psrc=w.ipv4, pdst=w.peer4),
    )
    yield (
        "arp-probe-for-anothers-address",
        Ether(src=w.mac, dst=EVERYBODY) / ARP(hwsrc=w.mac, psrc=UNSPECIFIED, pdst=w.peer4),
    )
    yield (
        "arp-reply-of-nobody",
        Ether(src=w.mac, dst=EVERYBODY) / ARP(op=2, hwsrc=w.mac, psrc=UNSPECIFIED, pdst=w.ipv4),
    )


def _guests_own_traffic(w: Wire) -> Iterator[tuple[str, Packet]]:
    out = Ether(src=w.mac, dst=w.gateway_mac)
    everybody = Ether(src=w.mac, dst=EVERYBODY)
    ip = IP(src=w.ipv4, dst=w.peer4)
    yield "arp-request", everybody / ARP(hwsrc=w.mac, psrc=w.ipv4, pdst=w.peer4)
    yield "arp-reply", out / ARP(op="is-at", hwsrc=w.mac, psrc=w.ipv4, hwdst=w.gateway_mac, pdst=w.peer4)
    yield "arp-probe", everybody / ARP(hwsrc=w.mac, psrc=UNSPECIFIED, pdst=w.ipv4)
    yield "arp-announcement", everybody / ARP(hwsrc=w.mac, psrc=w.ipv4, pdst=w.ipv4)
    yield (
        "rarp-after-migration",
        Ether(src=w.mac, dst=EVERYBODY, type=0x8035)
        / ARP(op=3, hwsrc=w.mac, psrc=UNSPECIFIED, hwdst=w.mac, pdst=UNSPECIFIED),
    )
    yield "udp", out / ip / UDP(sport=1024, dport=53)
    yield "udp-from-port-68", out / ip / UDP(sport=68, dport=9)
    yield "tcp", out / ip / TCP(sport=1024, dport=67, flags="S")
    yield "sctp", out / ip / SCTP(sport=1024, dport=68) / SCTPChunkInit()
    yield "icmp-echo", out / ip / ICMP()
    yield "icmp-too-big", out / ip / ICMP(type=3, code=4, nexthopmtu=1400) / IP(src=w.peer4, dst=w.ipv4) / UDP()
    yield (
        "igmp-join",
        Ether(src=w.mac, dst="01:00:5e:00:00:16")
        / IP(src=w.ipv4, dst="224.0.0.22", proto=2, ttl=1)
        / Raw(b"\x22\x00\xf9\x02\x00\x00\x00\x01" + bytes(8)),
    )
    yield (
        "ipv4-multicast",
        Ether(src=w.mac, dst="01:00:5e:00:00:fb") / IP(src=w.ipv4, dst="224.0.0.251") / UDP(dport=5353),
    )
    yield "gre", out / ip / GRE() / IP(src="10.7.7.7", dst="10.7.7.8") / UDP(dport=9)
    yield "first-fragment", out / IP(src=w.ipv4, dst=w.peer4, flags="MF") / UDP(dport=9) / Raw(bytes(64))
    yield "later-fragment", out / IP(src=w.ipv4, dst=w.peer4, frag=_LATER_FRAGMENT) / Raw(bytes(64))
    ports = struct.pack("!HHHH", 68, 67, 8, 0)
    yield (
        "later-fragment-that-looks-like-dhcp",
        out / IP(src=w.ipv4, dst=w.peer4, proto=17, frag=_LATER_FRAGMENT) / Raw(ports + bytes(24)),
    )
    yield (
        "ip-in-ip",
        out / IP(src=w.ipv4, dst=w.peer4, proto=4) / IP(src="10.7.7.7", dst="10.7.7.8") / UDP(dport=68),
    )
    yield "icmpv6-in-ipv4", out / IP(src=w.ipv4, dst=w.peer4, proto=58) / Raw(b"\x86" + bytes(15))
    yield "esp", out / IP(src=w.ipv4, dst=w.peer4, proto=50) / Raw(bytes(40))
    yield "ah", out / IP(src=w.ipv4, dst=w.peer4, proto=51) / Raw(b"\x11\x04" + bytes(38))
    yield "icmp-unreachable", out / ip / ICMP(type=3, code=3) / IP(src=w.peer4, dst=w.ipv4) / UDP()
    yield (
        "igmp2-join",
        Ether(src=w.mac, dst="01:00:5e:00:00:fb")
        / IP(src=w.ipv4, dst="224.0.0.251", proto=2, ttl=1)
        / Raw(b"\x16\x00\x09\x04\xe0\0\0\xfb"),
    )
    yield (
        "later-fragment-that-looks-like-a-redirect",
        out / IP(src=w.ipv4, dst=w.peer4, proto=1, frag=_LATER_FRAGMENT) / Raw(b"\x05" * 64),
    )
    yield "ip-options", out / IP(src=w.ipv4, dst=w.peer4, options=[IPOption_NOP()] * 4) / UDP(dport=9)
    yield "full-mtu", out / ip / UDP(dport=9) / Raw(bytes(1400))


def _guests_routing(w: Wire) -> Iterator[tuple[str, Packet]]:
    """What only routers say to each other, and to switches that listen for them."""
    hosts = Ether(src=w.mac, dst="01:00:5e:00:00:01")
    routers = Ether(src=w.mac, dst="01:00:5e:00:00:02")
    out = Ether(src=w.mac, dst=w.gateway_mac)
    all4, all6 = IP(src=w.ipv4, dst="224.0.0.2", ttl=1), IPv6(src=GUEST_LINK_LOCAL, dst="ff02::2", hlim=1)
    for kind in (0x13, 0x14, 0x15, 0x1E, 0x1F, 0x23, 0x24, 0x30, 0x31, 0x32):
        yield (
            f"igmp-{kind:02x}",
            hosts / IP(src=w.ipv4, dst="224.0.0.1", ttl=1, proto=2) / Raw(bytes([kind, 1]) + bytes(6)),
        )
    yield (
        "igmp-30-behind-router-alert",
        hosts
        / IP(src=w.ipv4, dst="224.0.0.106", ttl=1, proto=2, options=[IPOption_NOP()] * 4)
        / Raw(b"\x30" + bytes(7)),
    )
    for name, number in (("igrp", 9), ("eigrp", 88), ("ospf", 89), ("pim", 103), ("vrrp", 112)):
        yield name, routers / IP(src=w.ipv4, dst="224.0.0.2", ttl=255, proto=number) / Raw(bytes(20))
        yield f"{name}-unicast", out / IP(src=w.ipv4, dst=w.peer4, proto=number) / Raw(bytes(20))
        yield f"{name}6", routers / IPv6(src=GUEST_LINK_LOCAL, dst="ff02::2", nh=number) / Raw(bytes(20))
    options = IPv6ExtHdrDestOpt(nh=89)
    yield "ospf6-behind-options", routers / IPv6(src=GUEST_LINK_LOCAL, dst="ff02::5") / options / Raw(bytes(20))
    yield (
        "rip",
        Ether(src=w.mac, dst=EVERYBODY) / IP(src=w.ipv4, dst="255.255.255.255") / UDP(sport=520, dport=520),
    )
    yield "rip-unicast", out / IP(src=w.ipv4, dst=w.peer4) / UDP(sport=520, dport=520)
    yield "ripng", routers / IPv6(src=GUEST_LINK_LOCAL, dst="ff02::9") / UDP(sport=521, dport=521)
    for name, port in (
        ("ldp", 646),
        ("olsr", 698),
        ("hsrp", 1985),
        ("hsrp6", 2029),
        ("glbp", 3222),
        ("babel", 6696),
    ):
        yield f"{name}-in-ipv4", routers / all4 / UDP(sport=port, dport=port)
        yield f"{name}-in-ipv6", routers / all6 / UDP(sport=port, dport=port)


def _guests_priorities(w: Wire) -> Iterator[tuple[str, Packet]]:
    """Frames that name no VLAN, only a priority, and other things that hosts say."""
    out, everybody = Ether(src=w.mac, dst=w.gateway_mac), Ether(src=w.mac, dst=EVERYBODY)
    plain, plain6 = IP(src=w.ipv4, dst=w.peer4) / UDP(dport=9), IPv6(src=w.ipv6, dst=w.peer6) / UDP(dport=9)
    arp = ARP(hwsrc=w.mac, psrc=w.ipv4, pdst=w.peer4)
    for name, tag in (("802.1q", Dot1Q(vlan=0, prio=5)), ("802.1ad", Dot1AD(vlan=0))):
        yield f"{name}-priority-udp", out / tag / plain
        yield f"{name}-priority-udp6", out / tag / plain6
        yield f"{name}-priority-arp", everybody / tag / arp
    yield "udp-to-a-port-of-hsrp", out / IP(src=w.ipv4, dst=w.peer4) / UDP(sport=1024, dport=1985)
    yield "bfd", out / IP(src=w.ipv4, dst=w.peer4, ttl=255) / UDP(sport=49152, dport=3784)
    yield "bgp", out / IP(src=w.ipv4, dst=w.peer4) / TCP(sport=1024, dport=179, flags="S")
    hosts = Ether(src=w.mac, dst="01:00:5e:00:00:16")
    for kind in (0x12, 0x16, 0x17, 0x22):
        yield (
            f"igmp-{kind:02x}-of-hosts",
            hosts / IP(src=w.ipv4, dst="224.0.0.22", ttl=1, proto=2) / Raw(bytes([kind]) + bytes(7)),
        )


def _networks_priorities(w: Wire) -> Iterator[tuple[str, Packet]]:
    inward = Ether(src=w.gateway_mac, dst=w.mac)
    plain, plain6 = IP(src=w.peer4, dst=w.ipv4) / UDP(dport=9), IPv6(src=w.peer6, dst=w.ipv6) / UDP(dport=9)
    for name, tag in (("802.1q", Dot1Q(vlan=0, prio=5)), ("802.1ad", Dot1AD(vlan=0))):
        yield f"network-{name}-priority-udp", inward / tag / plain
        yield f"network-{name}-priority-udp6", inward / tag / plain6


def _guests_own_ipv6(w: Wire) -> Iterator[tuple[str, Packet]]:
    out = Ether(src=w.mac, dst=w.gateway_mac)
    group = Ether(src=w.mac, dst="33:33:ff:00:00:01")
    routers = Ether(src=w.mac, dst="33:33:00:00:00:16")
    ip = IPv6(src=w.ipv6, dst=w.peer6)
    alert = IPv6ExtHdrHopByHop(options=RouterAlert())
    report = ICMPv6MLReport2(records=[ICMPv6MLDMultAddrRec(dst="ff02::1:ff00:77")])
    yield "dad-own-address", group / IPv6(hlim=255, src="::", dst="ff02::1:ff00:1") / ICMPv6ND_NS(tgt=w.ipv6)
    yield (
        "dad-link-local",
        group / IPv6(hlim=255, src="::", dst="ff02::1:ff00:77") / ICMPv6ND_NS(tgt=GUEST_LINK_LOCAL),
    )
    yield (
        "ns-from-own-address",
        group
        / IPv6(hlim=255, src=w.ipv6, dst="ff02::1:ff00:1")
        / ICMPv6ND_NS(tgt=w.peer6)
        / ICMPv6NDOptSrcLLAddr(lladdr=w.mac),
    )
    yield (
        "ns-from-link-local",
        group / IPv6(hlim=255, src=GUEST_LINK_LOCAL, dst="ff02::1:ff00:1") / ICMPv6ND_NS(tgt=ROUTER),
    )
    yield "na-own-address", out / IPv6(hlim=255, src=w.ipv6, dst=w.peer6) / ICMPv6ND_NA(tgt=w.ipv6, R=0, S=1)
    yield (
        "na-link-local",
        out / IPv6(hlim=255, src=GUEST_LINK_LOCAL, dst=ROUTER) / ICMPv6ND_NA(tgt=GUEST_LINK_LOCAL, R=0, S=1),
    )
    yield "mld-join-before-there-is-an-address", routers / IPv6(hlim=1, src="::", dst="ff02::16") / alert / report
    yield "mld-join", routers / IPv6(hlim=1, src=GUEST_LINK_LOCAL, dst="ff02::16") / alert / report
    yield (
        "mld1-join",
        routers
        / IPv6(hlim=1, src=GUEST_LINK_LOCAL, dst="ff02::1:ff00:77")
        / alert
        / ICMPv6MLReport(mladdr="ff02::1:ff00:77"),
    )
    yield (
        "ns-for-the-router-itself",
        out / IPv6(hlim=255, src=GUEST_LINK_LOCAL, dst=ROUTER) / ICMPv6ND_NS(tgt=ROUTER),
    )
    yield "mld1-leave", routers / IPv6(hlim=1, src=GUEST_LINK_LOCAL, dst="ff02::2") / alert / ICMPv6MLDone()
    yield "ra-in-6in4", out / IP(src=w.ipv4, dst=w.peer4, proto=41) / _advertisement(w)
    yield "ra-in-6in6", out / IPv6(src=w.ipv6, dst=w.peer6, nh=41) / _advertisement(w)
    yield "ping6", out / ip / ICMPv6EchoRequest()
    yield "ping6-link-local", out / IPv6(src=GUEST_LINK_LOCAL, dst=ROUTER) / ICMPv6EchoRequest()
    yield "packet-too-big", out / ip / ICMPv6PacketTooBig(mtu=1280) / IPv6(src=w.peer6, dst=w.ipv6) / UDP()
    yield "udp6", out / ip / UDP(sport=1024, dport=53)
    yield "tcp6", out / ip / TCP(sport=1024, dport=547, flags="S")
    yield "esp6", out / IPv6(src=w.ipv6, dst=w.peer6, nh=50) / Raw(bytes(40))
    yield "mobility6", out / IPv6(src=w.ipv6, dst=w.peer6, nh=135) / Raw(b"\x3b\x01" + bytes(14))
    yield "hip6", out / IPv6(src=w.ipv6, dst=w.peer6, nh=139) / Raw(b"\x3b\x04" + bytes(38))
    yield "no-next-header6", out / IPv6(src=w.ipv6, dst=w.peer6, nh=59)
    yield "udp6-behind-destination-options", out / ip / IPv6ExtHdrDestOpt() / UDP(dport=9)
    yield "first-fragment6", out / ip / IPv6ExtHdrFragment(id=5, m=1) / UDP(dport=9) / Raw(bytes(64))
    yield "later-fragment6", out / ip / IPv6ExtHdrFragment(id=5, offset=9, nh=17) / Raw(bytes(64))
    yield (
        "later-fragment-behind-destination-options",
        out / ip / IPv6ExtHdrFragment(id=7, offset=_LATER_FRAGMENT, nh=60) / Raw(bytes(64)),
    )
    yield (
        "later-fragment-of-ping6",
        out / ip / IPv6ExtHdrFragment(id=6, offset=_LATER_FRAGMENT, nh=58) / Raw(b"\x86" * 64),
    )


def _networks_attacks(w: Wire) -> Iterator[tuple[str, Packet]]:
    inward = Ether(src=w.gateway_mac, dst=w.mac)
    everybody = Ether(src=w.gateway_mac, dst=EVERYBODY)
    nodes = Ether(src=ROUTER_MAC, dst=ALL_NODES)
    offer = BOOTP(op=2, yiaddr="10.9.9.9") / DHCP(options=[("message-type", 2), "end"])
    plain = IP(src=w.peer4, dst=w.ipv4) / UDP(dport=9)
    advertisement = ICMPv6ND_RA(routerlifetime=1800) / ICMPv6NDOptSrcLLAddr(lladdr=ROUTER_MAC)
    local = {"src": ROUTER, "dst": "ff02::1", "hlim": 255}
    yield "network-offer", everybody / IP(src=w.peer4, dst="255.255.255.255") / UDP(sport=67, dport=68) / offer
    yield "network-offer-unicast", inward / IP(src=w.peer4, dst=w.ipv4) / UDP(sport=67, dport=68) / offer
    yield (
        "network-dhcpv6-advertise",
        inward / IPv6(src=ROUTER, dst=GUEST_LINK_LOCAL) / UDP(sport=547, dport=546) / DHCP6_Advertise(),
    )
    yield "network-ra", nodes / IPv6(**local) / advertisement
    yield "network-ra-behind-destination-options", nodes / IPv6(**local) / IPv6ExtHdrDestOpt() / advertisement
    header = Raw(b"\x3a\x01" + bytes(10))
    yield "network-ra-behind-ah", nodes / IPv6(nh=51, **local) / header / advertisement
    yield "network-ra-first-fragment", nodes / IPv6(**local) / IPv6ExtHdrFragment(id=1, m=1) / advertisement
    yield (
        "network-fragment-whose-headers-go-on-in-the-next",
        nodes / IPv6(plen=24, **local) / _split_headers(),
    )
    yield (
        "network-redirect",
        inward / IPv6(src=ROUTER, dst=GUEST_LINK_LOCAL, hlim=255) / ICMPv6ND_Redirect(tgt=ROUTER),
    )
    yield "network-priority-tag-twice-ra", nodes / Dot1Q(vlan=0) / Dot1Q(vlan=0) / IPv6(**local) / advertisement
    yield "network-priority-tag-802.1ad-ra", nodes / Dot1AD(vlan=0) / IPv6(**local) / advertisement
    yield (
        "network-priority-tag-offer",
        everybody / Dot1Q(vlan=0) / IP(src=w.peer4, dst="255.255.255.255") / UDP(sport=67, dport=68) / offer,
    )
    yield "network-snap-ra", _snap(nodes, 0x86DD, IPv6(**local) / advertisement)
    yield "network-802.1q", inward / Dot1Q(vlan=100) / plain
    yield "network-802.1ad", inward / Dot1AD(vlan=100) / plain
    yield (
        "network-qinq-arp",
        everybody / Dot1AD(vlan=100) / Dot1Q(vlan=200) / ARP(hwsrc=w.gateway_mac, psrc=w.peer4, pdst=w.ipv4),
    )
    for group in BRIDGE_GROUPS:
        yield f"network-udp-to-{group.replace(':', '')}", Ether(src=w.gateway_mac, dst=group) / plain
    yield "network-pppoe", Ether(src=w.gateway_mac, dst=w.mac, type=0x8863) / PPPoED(code=7)
    yield (
        "own-broadcast-sent-back",
        Ether(src=w.mac, dst=EVERYBODY) / ARP(hwsrc=w.mac, psrc=UNSPECIFIED, pdst=w.ipv4),
    )
    yield (
        "own-dad-sent-back",
        Ether(src=w.mac, dst="33:33:ff:00:00:01")
        / IPv6(hlim=255, src="::", dst="ff02::1:ff00:1")
        / ICMPv6ND_NS(tgt=w.ipv6),
    )


def _networks_ipv6(w: Wire) -> Iterator[tuple[str, Packet]]:
    """Another DHCPv6 server or router, or one that says it is ours."""
    inward = Ether(src=ROUTER_MAC, dst=w.mac)
    nodes = Ether(src=ROUTER_MAC, dst=ALL_NODES)
    local = {"src": ROUTER, "dst": "ff02::1"}
    to_guest = IPv6(src=ROUTER, dst=GUEST_LINK_LOCAL)
    to_client = UDP(sport=547, dport=546)
    advertisement = ICMPv6ND_RA(routerlifetime=1800) / ICMPv6NDOptSrcLLAddr(lladdr=ROUTER_MAC)
    yield "network-dhcpv6-reply", inward / to_guest / to_client / DHCP6_Reply()
    yield "network-dhcpv6-reconfigure", inward / to_guest / to_client / DHCP6_Reconf()
    yield "network-dhcpv6-reply-from-any-port", inward / to_guest / UDP(sport=1024, dport=546) / DHCP6_Reply()
    options = IPv6ExtHdrDestOpt()
    yield "network-dhcpv6-reply-behind-options", inward / to_guest / options / to_client / DHCP6_Reply()
    yield (
        "network-dhcpv6-reply-first-fragment",
        inward / to_guest / IPv6ExtHdrFragment(id=9, m=1) / to_client / DHCP6_Reply() / bytes(36),
    )
    yield "network-ra-hop-limit-64", nodes / IPv6(hlim=64, **local) / advertisement
    yield "network-ra-unicast", inward / IPv6(hlim=255, src=ROUTER, dst=GUEST_LINK_LOCAL) / advertisement
    yield "network-ra-behind-hop-by-hop", nodes / IPv6(hlim=255, **local) / IPv6ExtHdrHopByHop() / advertisement
    yield "network-ra-behind-a-routing-header", nodes / IPv6(**local) / IPv6ExtHdrRouting() / advertisement
    yield "network-ra-atomic-fragment", nodes / IPv6(hlim=255, **local) / IPv6ExtHdrFragment() / advertisement
    yield "network-ra-as-our-router", nodes / IPv6(hlim=255, src=OUR_ROUTER, dst="ff02::1") / advertisement
    redirect = ICMPv6ND_Redirect(tgt=ROUTER)
    yield "network-redirect-behind-options", inward / to_guest / IPv6ExtHdrDestOpt() / redirect
    yield (
        "network-redirect-as-our-router",
        inward / IPv6(hlim=255, src=OUR_ROUTER, dst=GUEST_LINK_LOCAL) / redirect,
    )
    for name, target in (("server", OUR_SERVER), ("router", OUR_ROUTER)):
        yield (
            f"network-na-for-our-{name}",
            inward
            / IPv6(hlim=255, src=w.peer6, dst=GUEST_LINK_LOCAL)
            / ICMPv6ND_NA(tgt=target, R=1, S=1, O=1)
            / ICMPv6NDOptDstLLAddr(lladdr=ROUTER_MAC),
        )
        yield (
            f"network-ns-as-our-{name}",
            inward
            / IPv6(hlim=255, src=target, dst=GUEST_LINK_LOCAL)
            / ICMPv6ND_NS(tgt=GUEST_LINK_LOCAL)
            / ICMPv6NDOptSrcLLAddr(lladdr=ROUTER_MAC),
        )


def _networks_broken_headers(w: Wire) -> Iterator[tuple[str, Packet]]:
    everybody = Ether(src=w.gateway_mac, dst=EVERYBODY)
    inward = Ether(src=w.gateway_mac, dst=w.mac)
    offer = UDP(sport=67, dport=68) / BOOTP(op=2, yiaddr="10.9.9.9") / DHCP(options=[("message-type", 2), "end"])
    ip = {"src": w.peer4, "dst": "255.255.255.255"}
    yield "network-offer-in-ip-version-5", everybody / IP(version=5, **ip) / offer
    yield "network-offer-longer-than-its-frame", everybody / IP(len=1400, **ip) / offer
    yield "network-offer-of-length-0", everybody / IP(len=0, **ip) / offer
    yield "network-icmp-redirect", inward / IP(src=w.peer4, dst=w.ipv4) / ICMP(type=5, code=1, gw=w.peer4)
    yield (
        "network-icmp-router-advertisement",
        Ether(src=ROUTER_MAC, dst="01:00:5e:00:00:01") / IP(src=w.peer4, dst="224.0.0.1", ttl=1) / ICMP(type=9),
    )


def _networks_traffic(w: Wire) -> Iterator[tuple[str, Packet]]:
    inward = Ether(src=w.gateway_mac, dst=w.mac)
    everybody = Ether(src=w.gateway_mac, dst=EVERYBODY)
    ip, ip6 = IP(src=w.peer4, dst=w.ipv4), IPv6(src=w.peer6, dst=w.ipv6)
    yield "network-arp", everybody / ARP(hwsrc=w.gateway_mac, psrc=w.peer4, pdst=w.ipv4)
    yield "network-udp", inward / ip / UDP(sport=53, dport=1024)
    yield "network-tcp-to-port-68", inward / ip / TCP(sport=1024, dport=68, flags="S")
    yield "network-ping", inward / ip / ICMP()
    yield "network-later-fragment", inward / IP(src=w.peer4, dst=w.ipv4, frag=_LATER_FRAGMENT) / Raw(bytes(64))
    ports = struct.pack("!HHHH", 67, 68, 8, 0)
    yield (
        "network-later-fragment-that-looks-like-dhcp",
        inward / IP(src=w.peer4, dst=w.ipv4, proto=17, frag=_LATER_FRAGMENT) / Raw(ports + bytes(24)),
    )
    yield (
        "network-later-fragment-that-looks-like-a-redirect",
        inward / IP(src=w.peer4, dst=w.ipv4, proto=1, frag=_LATER_FRAGMENT) / Raw(b"\x05" * 64),
    )
    yield "network-icmp-too-big", inward / ip / ICMP(type=3, code=4, nexthopmtu=1400) / IP(src=w.ipv4) / UDP()
    yield "network-esp", inward / IP(src=w.peer4, dst=w.ipv4, proto=50) / Raw(bytes(40))
    yield (
        "network-ns",
        Ether(src=w.gateway_mac, dst="33:33:ff:00:00:01")
        / IPv6(hlim=255, src=w.peer6, dst="ff02::1:ff00:1")
        / ICMPv6ND_NS(tgt=w.ipv6),
    )
    yield "network-na", inward / IPv6(hlim=255, src=w.peer6, dst=w.ipv6) / ICMPv6ND_NA(tgt=w.peer6, S=1)
    yield "network-udp6", inward / ip6 / UDP(sport=53, dport=1024)
    yield "network-ping6", inward / ip6 / ICMPv6EchoRequest()
    yield (
        "network-later-fragment-of-ping6",
        inward / ip6 / IPv6ExtHdrFragment(id=6, offset=_LATER_FRAGMENT, nh=58) / Raw(b"\x86" * 64),
    )
    yield (
        "network-later-fragment-behind-destination-options",
        inward / ip6 / IPv6ExtHdrFragment(id=7, offset=_LATER_FRAGMENT, nh=60) / Raw(bytes(64)),
    )
    yield (
        "through-the-nodes-hairpin",
        Ether(src=w.mac, dst=w.mac) / IP(src=w.ipv4, dst=w.ipv4) / UDP(sport=1024, dport=80),
    )


def _networks_ipv6_traffic(w: Wire) -> Iterator[tuple[str, Packet]]:
    """What neighbours and the routers of multicast say to everybody."""
    nodes = Ether(src=w.gateway_mac, dst=ALL_NODES)
    routers = Ether(src=w.gateway_mac, dst=ALL_ROUTERS)
    alert = IPv6ExtHdrHopByHop(options=RouterAlert())
    override = {"R": 1, "S": 0, "O": 1}
    moved = ICMPv6ND_NA(tgt=w.peer6, **override) / ICMPv6NDOptDstLLAddr(lladdr=w.gateway_mac)
    yield "network-na-to-all", nodes / IPv6(hlim=255, src=w.peer6, dst="ff02::1") / moved
    yield (
        "network-dad",
        Ether(src=w.gateway_mac, dst="33:33:ff:00:00:66")
        / IPv6(hlim=255, src="::", dst="ff02::1:ff00:66")
        / ICMPv6ND_NS(tgt=FOREIGN_IPV6),
    )
    yield "network-mld-query", nodes / IPv6(hlim=1, src=ROUTER, dst="ff02::1") / alert / ICMPv6MLQuery()
    yield "network-rs", routers / IPv6(hlim=255, src="fe80::9", dst="ff02::2") / ICMPv6ND_RS()


def _servers_questions(w: Wire) -> Iterator[tuple[str, Packet]]:
    group = Ether(src=w.mac, dst="33:33:ff:00:00:01")
    yield "server-asks-for-the-gateway", group / _question(w)


def _servers_attacks(w: Wire) -> Iterator[tuple[str, Packet]]:
    group = Ether(src=w.mac, dst="33:33:ff:00:00:01")
    nodes = Ether(src=w.mac, dst=ALL_NODES)
    everybody = Ether(src=w.mac, dst=EVERYBODY)
    asking = ICMPv6NDOptSrcLLAddr(lladdr=w.mac)
    to = {"dst": "ff02::1:ff00:1", "hlim": 255}
    yield "server-asks-from-another-mac", Ether(src=FOREIGN_MAC, dst="33:33:ff:00:00:01") / _question(w)
    yield "server-asks-from-a-foreign-address", group / IPv6(src=FOREIGN_IPV6, **to) / ICMPv6ND_NS(tgt=w.peer6)
    yield "server-asks-from-link-local", group / IPv6(src=GUEST_LINK_LOCAL, **to) / ICMPv6ND_NS(tgt=w.peer6)
    yield "server-asks-for-another", group / IPv6(src=w.ipv6, **to) / ICMPv6ND_NS(tgt=FOREIGN_IPV6) / asking
    yield "server-asks-for-the-router", group / IPv6(src=w.ipv6, **to) / ICMPv6ND_NS(tgt=ROUTER) / asking
    far = IPv6(src=w.ipv6, dst="ff02::1:ff00:1", hlim=64)
    yield "server-asks-from-afar", group / far / ICMPv6ND_NS(tgt=w.peer6) / asking
    yield "server-asks-in-a-vlan", group / Dot1Q(vlan=100) / _question(w)
    yield "server-asks-behind-a-priority", group / Dot1Q(vlan=0) / _question(w)
    claim = ICMPv6ND_NA(tgt=w.peer6, R=1, S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=w.mac)
    yield "server-na-for-the-gateway", nodes / IPv6(src=w.ipv6, dst="ff02::1", hlim=255) / claim
    yield "server-ra", nodes / _advertisement(w)
    yield "server-udp6", Ether(src=w.mac, dst=w.gateway_mac) / IPv6(src=w.ipv6, dst=w.peer6) / UDP(dport=9)
    yield "server-udp", Ether(src=w.mac, dst=w.gateway_mac) / IP(src=w.ipv4, dst=w.peer4) / UDP(dport=9)
    yield "server-arp", everybody / ARP(hwsrc=w.mac, psrc=w.ipv4, pdst=w.peer4)
    offer = UDP(sport=67, dport=68) / BOOTP(op=2)
    yield "server-offer", everybody / IP(src=w.ipv4, dst="255.255.255.255") / offer
    yield "server-stp", Dot3(src=w.mac, dst="01:80:c2:00:00:00") / LLC() / STP()
    yield "server-of-another-kind", everybody / Raw(bytes(46))


def _question(w: Wire) -> Packet:
    """As the VM would ask for the gateway."""
    solicitation = ICMPv6ND_NS(tgt=w.peer6) / ICMPv6NDOptSrcLLAddr(lladdr=w.mac)
    return IPv6(src=w.ipv6, dst="ff02::1:ff00:1", hlim=255) / solicitation


def _advertisement(w: Wire, *headers: Packet) -> Packet:
    packet = IPv6(src=GUEST_LINK_LOCAL, dst="ff02::1", hlim=255)
    for header in headers:
        packet = packet / header
    return packet / ICMPv6ND_RA(routerlifetime=1800) / ICMPv6NDOptSrcLLAddr(lladdr=w.mac)


def _jumbo() -> Packet:
    """Options that say a length for which the header's field is too small (RFC 2675)."""
    return IPv6ExtHdrHopByHop(options=Jumbo(jumboplen=1 << 17))


def _split_headers() -> Packet:
    """A fragment whose destination options go on in the next one, where then a router advertisement begins.

    Where the kernel's walk arrives there is an echo request, beyond the end of the packet.
    """
    return (
        IPv6ExtHdrFragment(id=3, m=1, nh=60) / Raw(b"\x3a\x03" + bytes(14)) / Raw(bytes(16) + b"\x80" + bytes(23))
    )


def last(wire: Wire, side: str, number: int) -> tuple[Probe, ...]:
    """Two frames that pass from that side, each by a rule of its own, and a number that makes them known."""
    guest, gateway = (wire.mac, wire.ipv4), (wire.gateway_mac, wire.peer4)
    (mac, address), (other_mac, other) = (guest, gateway) if side == "guest" else (gateway, guest)
    return (
        Probe(
            f"last-udp-{number}-of-{side}",
            Ether(src=mac, dst=other_mac) / IP(src=address, dst=other) / UDP(dport=9),
            passes=True,
        ),
        Probe(
            f"last-arp-{number}-of-{side}",
            Ether(src=mac, dst=EVERYBODY) / ARP(hwsrc=mac, psrc=address, pdst=other),
            passes=True,
        ),
    )
