"""The rules that keep guest and pod network apart, each with its reason: who the guest may be → what may pass.

IP protocols stand as numbers (RFC 5237's registry): nft looks names up in /etc/protocols, which small images lack.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from socket import AF_INET6, inet_pton
from typing import TYPE_CHECKING

from vmnet.model.lease import SERVER_PREFIX
from vmnet.model.settings import ISOLATION_DHCP_ONLY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LINK_LOCAL = "fe80::/10"
_NO_ADDRESS_YET = "0.0.0.0"  # noqa: S104 # an ARP probe's sender (RFC 5227 §1.1), not a bind
_SOUND = "meta l4proto != 255"
"""The kernel finds a protocol only in a packet whose version and lengths are right (nf_tables_ipv4.h).

Who reads a packet socket, as DHCP clients do, may find one in others, too. 255 is no protocol (IANA).
"""
_MULTICAST = "@ll,7,1 1"
"""The lowest bit of the destination's first octet (IEEE 802.3 §3.2.3)."""
_RARP = "0x8035"
_RARP_REQUEST = "@nh,0,64 0x0001080006040003"
"""RFC 903: Ethernet, IPv4, 6 and 4 octets, request reverse; as QEMU and libvirt send it after a migration."""
_TAGGED = "ether type { 8021q, 8021ad }"
_VLAN = "@ll,116,12"
"""Its number. VLAN 0 is none (IEEE 802.1Q §9.6): Linux takes such a frame for an untagged one.

The kernel takes the outermost tag out of the frame: `meta protocol` and all behind it speak of what it carries,
`ether type` and `@ll` of the frame as it came (nft_payload.c, nft_payload_copy_vlan).
"""
_SNAP_OF_IP = "@ll,112,16 0xaaaa @ll,160,16 { 0x0800, 0x0806, 0x86dd, 0x8100, 0x88a8 }"
"""LLC and SNAP (IEEE 802 §9): some stacks and Wi-Fi bridges unwrap what is in them (CVE-2021-27861)."""
_PROTOCOL_OF = {
    "arp": "arp",
    **dict.fromkeys(("ip", "icmp", "igmp"), "ip"),
    **dict.fromkeys(("ip6", "icmpv6", "frag"), "ip6"),
}
_OF_HOSTS = "{ 0x12, 0x16, 0x17, 0x22 }"
"""IGMP: reports of three versions, and leave (RFC 3376 §4)."""
_ROUTING = "{ 9, 88, 89, 103, 112 }"
"""IGRP, EIGRP, OSPF, PIM, VRRP; CARP has VRRP's number."""
_ROUTING_PORTS = "{ 520, 521 }"
"""RIP, RIPng."""
_ROUTING_PORTS_OF_GROUPS = "{ 646, 698, 1985, 2029, 3222, 6696 }"
"""LDP, OLSR, HSRP, HSRP for IPv6, GLBP, Babel: towards others than groups of the link anybody may use these."""
_HARMLESS_ICMPV6 = (
    "nd-neighbor-solicit",
    *("echo-request", "echo-reply"),
    *("destination-unreachable", "packet-too-big", "time-exceeded", "parameter-problem"),
    *("mld-listener-report", "mld-listener-done", "mld2-listener-report"),
)
_GROUPS_OF_BRIDGES = "@ll,0,44 0x0180c200000"
"""IEEE 802.1Q §8.6.3: what no bridge forwards. Linux hands 01:80:c2:00:00:0e, and with STP :00, up on the port,
where chain `pod` does not see it (net/bridge/br_input.c, br_handle_frame)."""
ACCEPT, DROP = "accept", "drop"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: `text` as nft takes it, `why` for whoever lists the ruleset."""

    text: str
    why: str

    @property
    def comment(self) -> str:
        """What is listed beside the rule, and tells it from any other: by its text's checksum."""
        return f"{self.why} [{zlib.crc32(self.text.encode()):08x}]"

    def __str__(self) -> str:
        return f'{self.text} comment "{self.comment}"'


_NO_VLAN = Rule(f"{_TAGGED} {_VLAN} != 0 drop", "no VLAN")
NOTHING_ELSE = Rule(
    # A new chain gets its policy after its rules (nf_tables_api.c, nft_chain_commit_drop_policy): while they are
    # replaced, frames get by that only the policy stops.
    DROP,
    "nothing else",
)
_LATER_FRAGMENTS = Rule("frag frag-off != 0 accept", "later fragments have neither port nor type")
_SPLIT_HEADERS = Rule(
    # Where the kernel's walk of the headers leaves the fragment, it goes on in what follows the packet (RFC 7112).
    "frag nexthdr { 0, 43, 44, 51, 60 } drop",
    "no fragments whose headers go on in the next",
)
_AUTHENTICATED = Rule(
    # Where it meets an authentication header, the kernel looks no further (IP6_FH_F_AUTH, nf_tables_ipv6.h).
    "meta protocol ip6 meta l4proto 51 @th,0,8 { 0, 43, 44, 51, 58, 60 } drop",
    "no ICMPv6 behind an authentication header",
)
_NO_OTHER_DHCPV6 = Rule("meta protocol ip6 udp dport 546 drop", "no other DHCPv6 server")
_ROUTER_MESSAGES = Rule("icmp type { redirect, router-advertisement } drop", "no router messages")
_LATER_FRAGMENTS4 = Rule(
    f"ip frag-off & 0x1fff != 0 {_SOUND} accept", "later fragments have neither port nor type"
)
_UNDERSTOOD4 = Rule(f"meta protocol ip {_SOUND} accept", "IPv4, its header understood")
_BROKEN4 = Rule("meta protocol ip drop", "no DHCP in a broken header")


@dataclass(frozen=True, slots=True)
class Guest:
    """Who the guest may be, and the links it is between."""

    macs: tuple[str, ...]
    ipv4: tuple[str, ...]
    ipv6: tuple[str, ...]
    routers: tuple[str, ...]
    """The link-local addresses of the pod's IPv6 gateways, which the guest may not claim."""
    gateways: tuple[str, ...]
    """Its other IPv6 gateways: for each our server plays a router."""
    told_ipv6: bool
    """Whether our server answers for the addresses of `SERVER_PREFIX`."""
    routes: bool
    """Whether it may be a router: it is allowed further addresses or MACs."""
    served_elsewhere: bool
    """Whether a DHCP server and a router in the pod network serve the guest, instead of ours."""
    tap: str
    nic: str
    bridge: str


def rules(guest: Guest, isolation: str) -> tuple[tuple[Rule, ...], tuple[Rule, ...]]:
    """Return the rules for what the guest sends, and for what the pod network sends."""
    of_guest, of_network = _rules(guest, isolation)
    return tuple(map(_behind_tags, of_guest)), tuple(map(_behind_tags, of_network))


def _behind_tags(rule: Rule) -> Rule:
    """Say of which protocol a rule is: in the bridge family nft would ask `ether type`, which VLAN 0 hides."""
    protocol = _PROTOCOL_OF.get(rule.text.partition(" ")[0])
    return Rule(f"meta protocol {protocol} {rule.text}", rule.why) if protocol else rule


def _rules(guest: Guest, isolation: str) -> tuple[tuple[Rule, ...], tuple[Rule, ...]]:
    groups = Rule(f"{_GROUPS_OF_BRIDGES} drop", "what bridges keep for themselves")
    echo = Rule(f"ether saddr {guest.macs[0]} {_MULTICAST} drop", "the VM's own broadcasts, sent back")
    if isolation == ISOLATION_DHCP_ONLY:
        disguises = (groups, *_disguises())
        return (*disguises, *_dhcp_of_guest(guest)), (*disguises, echo, *_dhcp_of_network(guest))
    kinds = Rule("meta protocol != { arp, ip, ip6 } drop", "only ARP, IPv4 and IPv6")
    return (groups, _NO_VLAN, *_of_guest(guest)), (groups, _NO_VLAN, kinds, echo, *_dhcp_of_network(guest))


def _of_guest(guest: Guest) -> Iterator[Rule]:
    macs = in_set(guest.macs)
    yield Rule(f"ether saddr != {macs} drop", "only the VM's own MAC")
    yield from _arp_of_guest(guest)
    for mac in guest.macs:
        number = f"0x{mac.replace(':', '')}"
        yield Rule(
            f"meta protocol {_RARP} {_RARP_REQUEST} @nh,64,48 {number} @nh,112,32 0 @nh,144,48 {number} accept",
            "the VM tells where it has migrated to",
        )
    yield from _ipv4_of_guest(guest)
    yield from _ipv6_of_guest(guest)
    yield NOTHING_ELSE


def _arp_of_guest(guest: Guest) -> Iterator[Rule]:
    if not guest.ipv4:
        return
    own = f"arp htype 1 arp ptype ip arp hlen 6 arp plen 4 arp saddr ether {in_set(guest.macs)}"
    addresses = in_set(guest.ipv4)
    yield Rule(
        f"{own} arp operation {{ request, reply }} arp saddr ip {addresses} accept", "ARP for own addresses"
    )
    yield Rule(  # one for another's address would make that one give it up (RFC 5227 §2.1.1)
        f"{own} arp operation request arp saddr ip {_NO_ADDRESS_YET} arp daddr ip {addresses} accept",
        "probes for own addresses (RFC 5227)",
    )


def _ipv4_of_guest(guest: Guest) -> Iterator[Rule]:
    if not guest.ipv4:
        return
    if guest.served_elsewhere:
        yield Rule(
            f"ip saddr {_NO_ADDRESS_YET} ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept",
            "requests to the DHCP server in the pod network",
        )
    yield Rule(f"ip saddr != {in_set(guest.ipv4)} drop", "only own IPv4 addresses")
    yield _LATER_FRAGMENTS4
    yield _dhcpv4_of_guest(guest)
    yield _ROUTER_MESSAGES
    yield Rule(f"igmp type != {_OF_HOSTS} drop", "who asks for groups, or for their routers, is a router")
    yield from _routing_of_guest(guest, "ip", "224.0.0.0/24")
    yield _UNDERSTOOD4


def _ipv6_of_guest(guest: Guest) -> Iterator[Rule]:
    yield from _server_addresses(guest)
    if guest.served_elsewhere:
        yield Rule(f"ip6 saddr {{ ::, {_LINK_LOCAL} }} icmpv6 type nd-router-solicit accept", "asks for routers")
    for target in guest.ipv6:
        yield Rule(f"ip6 saddr :: {solicitation(target)} accept", "probes for own addresses (RFC 4862)")
    yield Rule(f"ip6 saddr :: {solicitation(_LINK_LOCAL)} accept", "probes for a link-local address (RFC 4862)")
    yield Rule(
        "ip6 saddr :: icmpv6 type { mld-listener-report, mld2-listener-report } accept",
        "groups are joined before there is an address (RFC 3590)",
    )
    yield Rule(f"ip6 saddr != {in_set((_LINK_LOCAL, *guest.ipv6))} drop", "only own IPv6 addresses")
    if guest.routers:
        yield Rule(f"ip6 saddr {in_set(guest.routers)} drop", "not the gateway's link-local address")
    for router in guest.routers:
        yield Rule(f"{_advertisement(router)} drop", "not for the gateway")
    yield _LATER_FRAGMENTS
    yield _SPLIT_HEADERS
    for target in guest.ipv6:
        yield Rule(f"{_advertisement(target)} accept", "neighbour discovery for own addresses")
    yield Rule(f"{_advertisement(_LINK_LOCAL)} accept", "neighbour discovery for a link-local address")
    yield Rule(f"icmpv6 type {in_set(_HARMLESS_ICMPV6)} accept", "ICMPv6 that no router sends")
    yield _dhcpv6_of_guest(guest)
    yield from _routing_of_guest(guest, "ip6", "ff02::/16")
    yield _AUTHENTICATED
    yield Rule("meta protocol ip6 meta l4proto != 58 accept", "IPv6 of the VM, its headers understood")


def _routing_of_guest(guest: Guest, family: str, groups: str) -> Iterator[Rule]:
    """Stop what routers tell each other, but of a guest that may be one."""
    if guest.routes:
        return
    for what in (f"meta l4proto {_ROUTING}", f"udp dport {_ROUTING_PORTS}"):
        yield Rule(f"meta protocol {family} {what} drop", "the guest is no router")
    yield Rule(f"{family} daddr {groups} udp dport {_ROUTING_PORTS_OF_GROUPS} drop", "the guest is no router")


def _dhcpv4_of_guest(guest: Guest) -> Rule:
    if guest.served_elsewhere:
        return Rule("ip protocol 17 udp dport 68 drop", "the guest is no DHCP server")
    return Rule("ip protocol 17 udp dport { 67, 68 } drop", "DHCP is for our server, and served by it alone")


def _dhcpv6_of_guest(guest: Guest) -> Rule:
    if guest.served_elsewhere:
        return Rule("meta protocol ip6 udp dport 546 drop", "the guest is no DHCPv6 server")
    return Rule(
        "meta protocol ip6 udp dport { 546, 547 } drop", "DHCPv6 is for our server, and served by it alone"
    )


def _server_addresses(guest: Guest) -> tuple[Rule, ...]:
    """Keep to ourselves what only our server answers: else the gateway would look for who asks."""
    if not guest.told_ipv6:
        return ()
    return (
        Rule(f"ip6 daddr {SERVER_PREFIX} drop", "for our server, which has heard it"),
        Rule(f"{solicitation(SERVER_PREFIX)} drop", "our server answers for these"),
        *_not_ours(guest),
    )


def _not_ours(guest: Guest) -> tuple[Rule, ...]:
    """Let nobody say that it is our server or a router of ours: from that on the guest would send it all."""
    if not guest.told_ipv6:
        return ()
    return (
        Rule(f"ip6 saddr {SERVER_PREFIX} drop", "nobody else speaks as these"),
        Rule(f"{_advertisement(SERVER_PREFIX)} drop", "nobody else bears these"),
    )


def _dhcp_of_guest(guest: Guest) -> tuple[Rule, ...]:
    solicitations = () if guest.served_elsewhere else ("nd-router-solicit",)
    return (
        *(_LATER_FRAGMENTS4, _dhcpv4_of_guest(guest), _ROUTER_MESSAGES, _UNDERSTOOD4, _BROKEN4),
        *_server_addresses(guest),
        _dhcpv6_of_guest(guest),
        *_no_router_messages(("nd-router-advert", "nd-redirect", *solicitations)),
    )


def _dhcp_of_network(guest: Guest) -> tuple[Rule, ...]:
    dhcpv4 = Rule("ip protocol 17 udp dport 68 drop", "no other DHCP server")
    return (
        _LATER_FRAGMENTS4,
        *(() if guest.served_elsewhere else (dhcpv4,)),
        *(_ROUTER_MESSAGES, _UNDERSTOOD4, _BROKEN4),
        *_not_ours(guest),
        *(() if guest.served_elsewhere else (_NO_OTHER_DHCPV6,)),
        *_no_router_messages(("nd-redirect",) if guest.served_elsewhere else ("nd-router-advert", "nd-redirect")),
    )


def _disguises() -> tuple[Rule, ...]:
    """Stop what counts as IP and is wrapped so that the rules would not see what it is."""
    return (
        Rule(
            f"{_TAGGED} {_VLAN} 0 meta protocol != {{ arp, {_RARP}, ip, ip6 }} drop",
            "nothing hidden by tags that name no VLAN",
        ),
        Rule(f"ether type <= 1500 {_SNAP_OF_IP} drop", "no IP wrapped in SNAP"),
    )


def _no_router_messages(types: tuple[str, ...]) -> tuple[Rule, ...]:
    """Let all IPv6 pass but ICMPv6 of these types, in whatever headers they are wrapped.

    What cannot be told from them does not pass either (RFC 7113).
    """
    kept = in_set(types)
    return (
        _LATER_FRAGMENTS,
        _SPLIT_HEADERS,
        _AUTHENTICATED,
        Rule("meta protocol ip6 meta l4proto != 58 accept", "IPv6, its headers understood"),
        Rule(f"icmpv6 type != {kept} accept", "no router messages"),
        Rule("meta protocol ip6 drop", "no router messages in disguise"),
    )


def solicitation(target: str) -> str:
    """Match a neighbour solicitation for an address of that prefix."""
    return f"icmpv6 type nd-neighbor-solicit{_nd_target(target)}"


def _advertisement(target: str) -> str:
    return f"icmpv6 type nd-neighbor-advert{_nd_target(target)}"


def _nd_target(prefix: str) -> str:
    """Match the target: it follows 8 octets of ICMPv6 (RFC 4861 §4.3, §4.4). Of a prefix of no bits all are."""
    address, _, length = prefix.partition("/")
    bits = int(length or 128)
    number = int.from_bytes(inet_pton(AF_INET6, address)) >> (128 - bits)
    return f" @th,64,{bits} 0x{number:x}" if bits else ""


def in_set(members: Iterable[str]) -> str:
    """Write a set as nft does."""
    return f"{{ {', '.join(members)} }}"
