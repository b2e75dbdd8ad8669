"""What keeps guest and pod network apart: PodInterface → the nft ruleset, as text to be loaded in one transaction.

    guest ──▶ chain `guest` (ingress of the tap) ──▶ bridge ──▶ pod network
                                                       └──▶ chain `pod` (bridge input) ──▶ the pod's own sockets
    guest ◀── bridge ◀── chain `network` (ingress of the NIC) ◀── pod network
    our server ──▶ chain `server` (bridge output) ──▶ pod network: only to ask for an IPv6 gateway's MAC

`guest` is a list of what may pass, since whatever is forbidden by name is bypassed by another form of it (double
tags, extension headers, fragments). The server hears DHCP by a packet socket, which is asked before `guest` is.

IP protocols stand as numbers (RFC 5237's registry): nft looks names up in /etc/protocols, which small images lack.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from socket import AF_INET6, inet_pton
from typing import TYPE_CHECKING

from vmnet.model import (
    DHCP_EXTERNAL,
    ISOLATION_DHCP_ONLY,
    ISOLATION_OFF,
    SERVER_PREFIX,
    FilterChain,
    Ruleset,
)
from vmnet.plumbing.names import bridge_name, nic_name, table_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vmnet.model import PodInterface, Settings

_SCOPE_LINK = 253
_LINK_LOCAL = "fe80::/10"
_LINK_LOCAL_BEGINS = ("fe8", "fe9", "fea", "feb")
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
_PRIORITY_TAG = "@ll,116,12 0"
"""VLAN 0 (IEEE 802.1Q §9.6): Linux takes such a frame for an untagged one, however many of these tags it has."""
_HARMLESS_ICMPV6 = (
    "nd-neighbor-solicit",
    *("echo-request", "echo-reply"),
    *("destination-unreachable", "packet-too-big", "time-exceeded", "parameter-problem"),
    *("mld-listener-report", "mld-listener-done", "mld2-listener-report"),
)
_ACCEPT, _DROP = "accept", "drop"
_UNFILTERED_INGRESS = (
    "this kernel has no netdev ingress hook for nftables (CONFIG_NETFILTER_INGRESS): the guest is filtered one "
    "step later, in the bridge"
)
_UNFILTERED_BRIDGE = (
    "this kernel has no bridge family in nftables (CONFIG_NF_TABLES_BRIDGE): the pod's own sockets are kept from "
    "the guest by an inet input chain, which does not see ARP, and nothing is kept from what our server sends"
)


@dataclass(frozen=True, slots=True)
class _Rule:
    """One rule: `text` as nft takes it, `why` for whoever lists the ruleset."""

    text: str
    why: str

    @property
    def comment(self) -> str:
        """What is listed beside the rule, and tells it from any other: by its text's checksum."""
        return f"{self.why} [{zlib.crc32(self.text.encode()):08x}]"

    def __str__(self) -> str:
        return f'{self.text} comment "{self.comment}"'


_NOTHING_ELSE = _Rule(
    # A new chain gets its policy after its rules (nf_tables_api.c, nft_chain_commit_drop_policy): while they are
    # replaced, frames get by that only the policy stops.
    _DROP,
    "nothing else",
)
_LATER_FRAGMENTS = _Rule("frag frag-off != 0 accept", "later fragments have neither port nor type")
_SPLIT_HEADERS = _Rule(
    # Where the kernel's walk of the headers leaves the fragment, it goes on in what follows the packet (RFC 7112).
    "frag nexthdr { 0, 43, 44, 51, 60 } drop",
    "no fragments whose headers go on in the next",
)
_AUTHENTICATED = _Rule(
    # Where it meets an authentication header, the kernel looks no further (IP6_FH_F_AUTH, nf_tables_ipv6.h).
    "ether type ip6 meta l4proto 51 @th,0,8 { 0, 43, 44, 51, 58, 60 } drop",
    "no ICMPv6 behind an authentication header",
)
_NO_OTHER_DHCPV6 = _Rule("ether type ip6 udp dport 546 drop", "no other DHCPv6 server")
_ROUTER_MESSAGES = _Rule("icmp type { redirect, router-advertisement } drop", "no router messages")
_LATER_FRAGMENTS4 = _Rule(
    f"ip frag-off & 0x1fff != 0 {_SOUND} accept", "later fragments have neither port nor type"
)
_UNDERSTOOD4 = _Rule(f"ether type ip {_SOUND} accept", "IPv4, its header understood")
_BROKEN4 = _Rule("ether type ip drop", "no DHCP in a broken header")


@dataclass(frozen=True, slots=True)
class _Chain:
    family: str
    name: str
    rules: tuple[_Rule, ...]
    hook: str = ""
    """Empty for a chain that another one jumps to."""
    device: str = ""
    policy: str = ""

    def seen(self, table: str) -> FilterChain:
        """How it shows once it stands."""
        comments = tuple(rule.comment for rule in self.rules)
        return FilterChain(self.family, table, self.name, self.hook, self.device, self.policy, comments)

    def lines(self) -> Iterator[str]:
        yield f"chain {self.name} {{"
        if self.hook:
            device = f' device "{self.device}"' if self.device else ""
            yield f"  type filter hook {self.hook}{device} priority 0; policy {self.policy};"
        yield from (f"  {rule}" for rule in self.rules)
        yield "}"


@dataclass(frozen=True, slots=True)
class _Guest:
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
    served_elsewhere: bool
    """Whether a DHCP server and a router in the pod network serve the guest, instead of ours."""
    tap: str
    nic: str
    bridge: str


def rulesets(pod: PodInterface, settings: Settings) -> tuple[Ruleset, ...]:
    """Say what shall be loaded: the best first, then what a kernel that lacks a hook may still take.

    Empty when the guest is not to be isolated.
    """
    if settings.isolation == ISOLATION_OFF:
        return ()
    guest = _guest(pod, settings)
    table = table_name(pod.ifname)
    of_guest, of_network = _rules(guest, settings.isolation)
    ingress = (
        _Chain("netdev", "guest", of_guest, "ingress", guest.tap, _default(settings.isolation)),
        _Chain("netdev", "network", of_network, "ingress", guest.nic, _ACCEPT),
    )
    own = (_Chain("bridge", "pod", _sockets(guest), "input", "", _DROP), *_server(guest))
    return (
        _ruleset(table, (*ingress, *own)),
        _ruleset(table, (*ingress, _inet_sockets(guest)), _UNFILTERED_BRIDGE),
        _ruleset(table, (*_bridged(guest, settings.isolation), *own), _UNFILTERED_INGRESS),
    )


def _guest(pod: PodInterface, settings: Settings) -> _Guest:
    own = [address.local for address in pod.addresses if not (address.ipv6 and address.scope == _SCOPE_LINK)]
    every = _without_overlaps([*own, *settings.allow_addresses])
    gateways = tuple(dict.fromkeys(route.gateway for route in pod.routes if ":" in route.gateway))
    link_local = tuple(gateway for gateway in gateways if gateway.startswith(_LINK_LOCAL_BEGINS))
    return _Guest(
        macs=tuple(dict.fromkeys((settings.mac or pod.mac, *settings.allow_macs))),
        ipv4=tuple(prefix for prefix in every if ":" not in prefix),
        ipv6=tuple(prefix for prefix in every if ":" in prefix),
        routers=link_local,
        gateways=tuple(gateway for gateway in gateways if gateway not in link_local),
        told_ipv6=settings.told.ipv6 and any(":" in prefix for prefix in own),
        served_elsewhere=settings.dhcp == DHCP_EXTERNAL,
        tap=settings.tap,
        nic=nic_name(pod.ifname),
        bridge=bridge_name(pod.ifname),
    )


def _without_overlaps(prefixes: list[str]) -> tuple[str, ...]:
    """Join what overlaps: nft refuses a set in which two prefixes do."""
    if not any("/" in prefix for prefix in prefixes):
        return tuple(dict.fromkeys(prefixes))
    import ipaddress  # 4 ms, which only who allows further prefixes pays

    networks = [ipaddress.ip_network(prefix, strict=False) for prefix in prefixes]
    joined = [
        *ipaddress.collapse_addresses(network for network in networks if network.version == 4),
        *ipaddress.collapse_addresses(network for network in networks if network.version == 6),
    ]
    return tuple(str(network) for network in joined)


def _rules(guest: _Guest, isolation: str) -> tuple[tuple[_Rule, ...], tuple[_Rule, ...]]:
    """Return the rules for what the guest sends, and for what the pod network sends."""
    echo = _Rule(f"ether saddr {guest.macs[0]} {_MULTICAST} drop", "the VM's own broadcasts, sent back")
    if isolation == ISOLATION_DHCP_ONLY:
        return (*_priority_tags(), *_dhcp_of_guest(guest)), (*_priority_tags(), echo, *_dhcp_of_network(guest))
    kinds = _Rule("ether type != { arp, ip, ip6 } drop", "only ARP, IPv4 and IPv6, and nothing tagged")
    return tuple(_of_guest(guest)), (kinds, echo, *_dhcp_of_network(guest))


def _default(isolation: str) -> str:
    return _ACCEPT if isolation == ISOLATION_DHCP_ONLY else _DROP


def _of_guest(guest: _Guest) -> Iterator[_Rule]:
    macs = _set(guest.macs)
    kinds = f"ether type != {{ arp, {_RARP}, ip, ip6 }}"
    yield _Rule(f"{kinds} drop", "only ARP, RARP, IPv4 and IPv6, and nothing tagged")
    yield _Rule(f"ether saddr != {macs} drop", "only the VM's own MAC")
    yield from _arp_of_guest(guest)
    for mac in guest.macs:
        number = f"0x{mac.replace(':', '')}"
        yield _Rule(
            f"ether type {_RARP} {_RARP_REQUEST} @nh,64,48 {number} @nh,112,32 0 @nh,144,48 {number} accept",
            "the VM tells where it has migrated to",
        )
    yield from _ipv4_of_guest(guest)
    yield from _ipv6_of_guest(guest)
    yield _NOTHING_ELSE


def _arp_of_guest(guest: _Guest) -> Iterator[_Rule]:
    if not guest.ipv4:
        return
    own = f"arp htype 1 arp ptype ip arp hlen 6 arp plen 4 arp saddr ether {_set(guest.macs)}"
    addresses = _set(guest.ipv4)
    yield _Rule(
        f"{own} arp operation {{ request, reply }} arp saddr ip {addresses} accept", "ARP for own addresses"
    )
    yield _Rule(  # one for another's address would make that one give it up (RFC 5227 §2.1.1)
        f"{own} arp operation request arp saddr ip {_NO_ADDRESS_YET} arp daddr ip {addresses} accept",
        "probes for own addresses (RFC 5227)",
    )


def _ipv4_of_guest(guest: _Guest) -> Iterator[_Rule]:
    if not guest.ipv4:
        return
    if guest.served_elsewhere:
        yield _Rule(
            f"ip saddr {_NO_ADDRESS_YET} ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept",
            "requests to the DHCP server in the pod network",
        )
    yield _Rule(f"ip saddr != {_set(guest.ipv4)} drop", "only own IPv4 addresses")
    yield _LATER_FRAGMENTS4
    yield _dhcpv4_of_guest(guest)
    yield _ROUTER_MESSAGES
    yield _Rule("igmp type membership-query drop", "who asks for groups is a router")
    yield _UNDERSTOOD4


def _ipv6_of_guest(guest: _Guest) -> Iterator[_Rule]:
    yield from _server_addresses(guest)
    if guest.served_elsewhere:
        yield _Rule(f"ip6 saddr {{ ::, {_LINK_LOCAL} }} icmpv6 type nd-router-solicit accept", "asks for routers")
    for target in guest.ipv6:
        yield _Rule(f"ip6 saddr :: {_solicitation(target)} accept", "probes for own addresses (RFC 4862)")
    yield _Rule(f"ip6 saddr :: {_solicitation(_LINK_LOCAL)} accept", "probes for a link-local address (RFC 4862)")
    yield _Rule(
        "ip6 saddr :: icmpv6 type { mld-listener-report, mld2-listener-report } accept",
        "groups are joined before there is an address (RFC 3590)",
    )
    yield _Rule(f"ip6 saddr != {_set((_LINK_LOCAL, *guest.ipv6))} drop", "only own IPv6 addresses")
    if guest.routers:
        yield _Rule(f"ip6 saddr {_set(guest.routers)} drop", "not the gateway's link-local address")
    for router in guest.routers:
        yield _Rule(f"{_advertisement(router)} drop", "not for the gateway")
    yield _LATER_FRAGMENTS
    yield _SPLIT_HEADERS
    for target in guest.ipv6:
        yield _Rule(f"{_advertisement(target)} accept", "neighbour discovery for own addresses")
    yield _Rule(f"{_advertisement(_LINK_LOCAL)} accept", "neighbour discovery for a link-local address")
    yield _Rule(f"icmpv6 type {_set(_HARMLESS_ICMPV6)} accept", "ICMPv6 that no router sends")
    yield _dhcpv6_of_guest(guest)
    yield _AUTHENTICATED
    yield _Rule("ether type ip6 meta l4proto != 58 accept", "IPv6 of the VM, its headers understood")


def _dhcpv4_of_guest(guest: _Guest) -> _Rule:
    if guest.served_elsewhere:
        return _Rule("ip protocol 17 udp dport 68 drop", "the guest is no DHCP server")
    return _Rule("ip protocol 17 udp dport { 67, 68 } drop", "DHCP is for our server, and served by it alone")


def _dhcpv6_of_guest(guest: _Guest) -> _Rule:
    if guest.served_elsewhere:
        return _Rule("ether type ip6 udp dport 546 drop", "the guest is no DHCPv6 server")
    return _Rule("ether type ip6 udp dport { 546, 547 } drop", "DHCPv6 is for our server, and served by it alone")


def _server_addresses(guest: _Guest) -> tuple[_Rule, ...]:
    """Keep to ourselves what only our server answers: else the gateway would look for who asks."""
    if not guest.told_ipv6:
        return ()
    return (
        _Rule(f"ip6 daddr {SERVER_PREFIX} drop", "for our server, which has heard it"),
        _Rule(f"{_solicitation(SERVER_PREFIX)} drop", "our server answers for these"),
        *_not_ours(guest),
    )


def _not_ours(guest: _Guest) -> tuple[_Rule, ...]:
    """Let nobody say that it is our server or a router of ours: from that on the guest would send it all."""
    if not guest.told_ipv6:
        return ()
    return (
        _Rule(f"ip6 saddr {SERVER_PREFIX} drop", "nobody else speaks as these"),
        _Rule(f"{_advertisement(SERVER_PREFIX)} drop", "nobody else bears these"),
    )


def _dhcp_of_guest(guest: _Guest) -> tuple[_Rule, ...]:
    solicitations = () if guest.served_elsewhere else ("nd-router-solicit",)
    return (
        *(_LATER_FRAGMENTS4, _dhcpv4_of_guest(guest), _ROUTER_MESSAGES, _UNDERSTOOD4, _BROKEN4),
        *_server_addresses(guest),
        _dhcpv6_of_guest(guest),
        *_no_router_messages(("nd-router-advert", "nd-redirect", *solicitations)),
    )


def _dhcp_of_network(guest: _Guest) -> tuple[_Rule, ...]:
    dhcpv4 = _Rule("ip protocol 17 udp dport 68 drop", "no other DHCP server")
    return (
        _LATER_FRAGMENTS4,
        *(() if guest.served_elsewhere else (dhcpv4,)),
        *(_ROUTER_MESSAGES, _UNDERSTOOD4, _BROKEN4),
        *_not_ours(guest),
        *(() if guest.served_elsewhere else (_NO_OTHER_DHCPV6,)),
        *_no_router_messages(("nd-redirect",) if guest.served_elsewhere else ("nd-router-advert", "nd-redirect")),
    )


def _priority_tags() -> tuple[_Rule, ...]:
    """Stop what is tagged and counts as untagged: behind further tags, the rules would not see what it is."""
    return tuple(
        _Rule(f"ether type {kind} {_PRIORITY_TAG} drop", "nothing hidden by tags that name no VLAN")
        for kind in ("8021q", "8021ad")
    )


def _no_router_messages(types: tuple[str, ...]) -> tuple[_Rule, ...]:
    """Let all IPv6 pass but ICMPv6 of these types, in whatever headers they are wrapped.

    What cannot be told from them does not pass either (RFC 7113).
    """
    kept = _set(types)
    return (
        _LATER_FRAGMENTS,
        _SPLIT_HEADERS,
        _AUTHENTICATED,
        _Rule("ether type ip6 meta l4proto != 58 accept", "IPv6, its headers understood"),
        _Rule(f"icmpv6 type != {kept} accept", "no router messages"),
        _Rule("ether type ip6 drop", "no router messages in disguise"),
    )


def _sockets(guest: _Guest) -> tuple[_Rule, ...]:
    ports = _set((f'"{guest.tap}"', f'"{guest.nic}"'))
    return (_Rule(f"iifname != {ports} accept", "other bridges are none of our business"), _NOTHING_ELSE)


def _server(guest: _Guest) -> tuple[_Chain, ...]:
    """Of what our server could send through the bridge, let out only what finds a gateway's MAC, as the VM would.

    Nobody else sends from this bridge: it has no address.
    """
    if not (guest.told_ipv6 and guest.gateways):
        return ()
    ports = _set((f'"{guest.tap}"', f'"{guest.nic}"'))
    asking = f'oifname "{guest.nic}" ether saddr {guest.macs[0]} ip6 saddr {_set(guest.ipv6)} ip6 hoplimit 255'
    rules = (
        _Rule(f"oifname != {ports} accept", "other bridges are none of our business"),
        *(_Rule(f"{asking} {_solicitation(gateway)} accept", "a gateway's MAC") for gateway in guest.gateways),
        _NOTHING_ELSE,
    )
    return (_Chain("bridge", "server", rules, "output", "", _DROP),)


def _inet_sockets(guest: _Guest) -> _Chain:
    rule = _Rule(f'iifname "{guest.bridge}" drop', "the pod's own sockets are not the guest's")
    return _Chain("inet", "pod", (rule,), "input", "", _ACCEPT)


def _bridged(guest: _Guest, isolation: str) -> tuple[_Chain, ...]:
    """Make the same rules for a kernel that has no hook at a link's ingress."""
    of_guest, of_network = _rules(guest, isolation)
    ports = (
        _Rule(f'iifname "{guest.tap}" jump guest', "what the guest sends"),
        _Rule(f'iifname "{guest.nic}" jump network', "what the pod network sends"),
    )
    return (
        _Chain("bridge", "guest", of_guest),
        _Chain("bridge", "network", of_network),
        _Chain("bridge", "ports", ports, "prerouting", "", _ACCEPT),
    )


def _ruleset(table: str, chains: tuple[_Chain, ...], warning: str = "") -> Ruleset:
    lines = []
    for family in dict.fromkeys(chain.family for chain in chains):
        lines.append(f"table {family} {table} {{")
        lines += [f"  {line}" for chain in chains if chain.family == family for line in chain.lines()]
        lines.append("}")
    return Ruleset("\n".join([*lines, ""]), tuple(chain.seen(table) for chain in chains), warning)


def _solicitation(target: str) -> str:
    return f"icmpv6 type nd-neighbor-solicit{_nd_target(target)}"


def _advertisement(target: str) -> str:
    return f"icmpv6 type nd-neighbor-advert{_nd_target(target)}"


def _nd_target(prefix: str) -> str:
    """Match the target: it follows 8 octets of ICMPv6 (RFC 4861 §4.3, §4.4). Of a prefix of no bits all are."""
    address, _, length = prefix.partition("/")
    bits = int(length or 128)
    number = int.from_bytes(inet_pton(AF_INET6, address)) >> (128 - bits)
    return f" @th,64,{bits} 0x{number:x}" if bits else ""


def _set(members: Iterable[str]) -> str:
    return f"{{ {', '.join(members)} }}"
