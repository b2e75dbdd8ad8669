"""Links and what stands on them: what there is (Status), what shall be (Spec).

Addresses are text as iproute2 prints them, prefixes `address/length`, MACs lower-case with colons, MTUs bytes,
lifetimes seconds. A value of `None` in a `LinkSpec` means "leave as it is".
"""

from __future__ import annotations

from dataclasses import dataclass

FOREVER = 0xFFFFFFFF
"""An address lifetime or lease time without end (RFC 2131 §3.3, RFC 4861 §4.6.2)."""
RTAX_MTU = 2
RT_TABLE_MAIN, RT_TABLE_LOCAL = 254, 255
_RTN_UNICAST = 1
"""linux/rtnetlink.h."""
IFNAME_BYTES = 15
"""IFNAMSIZ less its terminating NUL (linux/if.h)."""
_LINK_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_LINK_LOCAL_BEGINS = ("fe8", "fe9", "fea", "feb")
TABLE_PREFIX = "vmnet_"
"""What the names of our nftables tables begin with."""
NOTE_PREFIX = "vmnet."
"""What the alternative names begin with that carry our note; any others of a link are not ours."""


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface as the kernel shows it."""

    ifindex: int
    ifname: str
    kind: str
    """`IFLA_INFO_KIND`: veth, bridge, tun, macvlan …; empty for hardware."""
    mac: str
    mtu: int
    up: bool
    ethernet: bool = True
    """ARPHRD_ETHER; only such a link can be a bridge port."""
    loopback: bool = False
    controller: str = ""
    """The ifname of the bridge this link is a port of; empty when it is none's."""
    lower: str = ""
    """The ifname of the link of this namespace that it stands on, as a VLAN does; of a veth, its peer."""
    mode: str = ""
    """macvlan's or ipvlan's mode."""
    stp: bool | None = None
    mcast_snooping: bool | None = None
    learning: bool | None = None
    owner: int | None = None
    group: int | None = None
    multi_queue: bool | None = None
    arp_ignore: int | None = None
    addr_gen_mode: int | None = None
    """How the kernel makes IPv6 link-local addresses (`IN6_ADDR_GEN_MODE_*`); None without IPv6."""
    accept_ra: int | None = None
    disable_ipv6: int | None = None
    """1 where the link neither sends nor takes IPv6; None without IPv6."""


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """A network interface as it shall be. With `ifindex` the link of that index is meant, whatever its name."""

    ifname: str
    kind: str | None = None
    ifindex: int | None = None
    mac: str | None = None
    mtu: int | None = None
    up: bool | None = None
    controller: str | None = None
    stp: bool | None = None
    mcast_snooping: bool | None = None
    learning: bool | None = None
    owner: int | None = None
    group: int | None = None
    multi_queue: bool | None = None
    arp_ignore: int | None = None
    addr_gen_mode: int | None = None
    accept_ra: int | None = None
    disable_ipv6: int | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """An IPv4 or IPv6 address of a link, with everything needed to give it back exactly."""

    ifname: str
    local: str
    prefixlen: int
    peer: str = ""
    broadcast: str = ""
    label: str = ""
    scope: int = 0
    flags: int = 0
    """`IFA_F_*` without the bits that the kernel computes (secondary, tentative, dadfailed …)."""
    metric: int = 0
    """`IFA_RT_PRIORITY`: the metric of the connected route."""
    protocol: int = 0
    """`IFA_PROTO`: who made it."""
    valid_lifetime: int = FOREVER
    preferred_lifetime: int = FOREVER

    @property
    def ipv6(self) -> bool:
        """Whether this is an IPv6 address."""
        return ":" in self.local


@dataclass(frozen=True, slots=True)
class Route:
    """A route of any table, with everything needed to give it back exactly."""

    ifname: str
    dst: str
    """`address/length`; the default route is 0.0.0.0/0 or ::/0."""
    gateway: str = ""
    """Empty for an on-link route. May be IPv6 for an IPv4 route (RFC 5549)."""
    metric: int = 0
    prefsrc: str = ""
    scope: int = 0
    protocol: int = 0
    type: int = 1
    tos: int = 0
    flags: int = 0
    """`RTNH_F_ONLINK` or 0: the other bits are the kernel's own state."""
    metrics: tuple[tuple[int, int], ...] = ()
    """`RTAX_*` number and value, in the order of the numbers; 2 is the route MTU."""
    pref: int = 0
    """IPv6 router preference (RFC 4191)."""
    lifetime: int = FOREVER
    """`RTA_EXPIRES`: what is left of a route that a router has advertised."""
    table: int = 254
    """`RT_TABLE_MAIN` unless told otherwise (linux/rtnetlink.h)."""

    @property
    def ipv6(self) -> bool:
        """Whether this is an IPv6 route."""
        return ":" in self.dst

    @property
    def is_default(self) -> bool:
        """Whether this is a default route."""
        return self.dst in ("0.0.0.0/0", "::/0")

    @property
    def mtu(self) -> int | None:
        """The route MTU in bytes (`RTAX_MTU`), if it has one."""
        return dict(self.metrics).get(RTAX_MTU)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of policy routing: whose packets take which table (ip-rule(8))."""

    ipv6: bool
    priority: int
    table: int
    """0 for a rule that ends the look-up: blackhole, unreachable, prohibit."""
    src: str = ""
    """`address/length`; empty for any source."""
    selective: bool = False
    """Whether it asks for more than the source: a destination, mark, interface, protocol, port or user."""
    inverted: bool = False
    """Whether it takes what does not match."""
    suppress_prefixlen: int = -1
    """Routes of the table that are no longer than this are passed over."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """A table that packets from the pod's address are looked up in, after those before it."""

    ipv6: bool
    table: int = RT_TABLE_MAIN
    suppress_prefixlen: int = -1


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An ARP or neighbour-discovery entry that has a MAC."""

    ifname: str
    dst: str
    mac: str
    permanent: bool = False
    flags: int = 0


@dataclass(frozen=True, slots=True)
class ProxyNeighbour:
    """An address that the pod answers ARP or neighbour discovery for on a link, without having it."""

    ifname: str
    dst: str
    flags: int = 0
    """`NTF_ROUTER` or 0."""
    protocol: int = 0


@dataclass(frozen=True, slots=True)
class FdbEntry:
    """A static entry of a bridge's forwarding table: frames for `mac` go out of the port `ifname`."""

    ifname: str
    mac: str


@dataclass(frozen=True, slots=True)
class Note:
    """What we have written on a link for ourselves: alternative names of it, in order (`plumbing.note`)."""

    ifname: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FilterChain:
    """A chain of our nftables tables. Its rules are told apart by their comments, which hold their checksums."""

    family: str
    table: str
    name: str
    hook: str
    """`ingress`, `prerouting` or `input`; empty for a chain that another one jumps to."""
    device: str
    policy: str
    comments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OffloadCheck:
    """The program at a link's ingress that stops what would become another frame when the link finishes it."""

    ifname: str
    name: str
    """Holds the program's checksum. Empty for a place that is made and on which nothing hangs."""


@dataclass(frozen=True, slots=True)
class Ruleset:
    """What `nft` loads, and how it shows once it stands."""

    text: str
    chains: tuple[FilterChain, ...]
    warning: str = ""
    """In words, what is not as strict as in the best one; empty for that."""
    checks: tuple[OffloadCheck, ...] = ()
    """What must stand beside it; empty where that cannot be loaded."""
    program: bytes = b""
    """Their instructions (RFC 9669)."""


@dataclass(frozen=True, slots=True)
class Status:
    """One read of the kernel: what is there in this network namespace."""

    links: tuple[Link, ...]
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    fdb: tuple[FdbEntry, ...] = ()
    notes: tuple[Note, ...] = ()
    chains: tuple[FilterChain, ...] | None = ()
    """The chains of our nftables tables; None where we may not look, which takes CAP_NET_ADMIN."""
    checks: tuple[OffloadCheck, ...] = ()
    not_restorable: tuple[tuple[str, str], ...] = ()
    """(ifname, what): things of a link that a `Route` or `Address` cannot carry, in words."""
    proxies: tuple[ProxyNeighbour, ...] = ()
    rules: tuple[Rule, ...] = ()
    """In the order of their priorities."""
    read_at: int = 0
    """When it was read, seconds of CLOCK_MONOTONIC; 0 for a status that nobody read."""

    def link(self, ifname: str) -> Link | None:
        """Return the link of that name, if there is one."""
        return next((link for link in self.links if link.ifname == ifname), None)

    def link_of_index(self, ifindex: int) -> Link | None:
        """Return the link of that index, if there is one."""
        return next((link for link in self.links if link.ifindex == ifindex), None)


@dataclass(frozen=True, slots=True)
class Spec:
    """What shall be there. Speaks of its `links` and of `absent` names only; everything else is not vmnet's.

    On each of its links exactly `addresses`, `routes`, permanent `neighbours`, `proxies`, `fdb` and `notes` stand.
    A note is the first thing to be made and the last to go.
    """

    links: tuple[LinkSpec, ...]
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    proxies: tuple[ProxyNeighbour, ...] = ()
    fdb: tuple[FdbEntry, ...] = ()
    notes: tuple[Note, ...] = ()
    absent: tuple[str, ...] = ()
    """Names that no link may bear, but those in `links`."""
    table: str = ""
    """The name of our nftables tables; empty where none is spoken of."""
    rulesets: tuple[Ruleset, ...] = ()
    """The rules of those tables, the best first: one of them shall stand; without any, no table of that name."""
    guarded: str = ""
    """The link that joins and comes up only behind those rules."""
    place_kept: str = ""
    """The link whose place for programs was there before ours."""


LinkEntry = Address | Route | Neighbour | ProxyNeighbour | FdbEntry | Note
"""What stands on a link."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that has a tap open."""

    pid: int
    command: str
    ifname: str
    """Of the tap; empty where that is gone, or was never there."""

    def __str__(self) -> str:
        return f"{self.command} (pid {self.pid})"


def describe(entry: LinkEntry) -> str:
    """Say what the entry is in one phrase, as iproute2 would."""
    if isinstance(entry, Address):
        return f"address {entry.local}/{entry.prefixlen} on {entry.ifname}"
    if isinstance(entry, Route):
        via = f" via {entry.gateway}" if entry.gateway else ""
        metric = f" metric {entry.metric}" if entry.metric else ""
        table = f" table {entry.table}" if entry.table != RT_TABLE_MAIN else ""
        return f"route {'default' if entry.is_default else entry.dst}{via}{metric}{table} on {entry.ifname}"
    if isinstance(entry, Neighbour):
        return f"neighbour {entry.dst} at {entry.mac} on {entry.ifname}"
    if isinstance(entry, ProxyNeighbour):
        return f"proxied neighbour {entry.dst} on {entry.ifname}"
    if isinstance(entry, FdbEntry):
        return f"forwarding entry {entry.mac} on {entry.ifname}"
    return f"note of the pod's facts on {entry.ifname}"


def wanted(spec: LinkSpec) -> tuple[tuple[str, int | str], ...]:
    """Return (field, value) of everything the spec asks for, in the order of its fields."""
    return tuple(
        (field, value)
        for field in LinkSpec.__slots__
        if field not in ("kind", "ifindex") and (value := getattr(spec, field)) is not None
    )


def is_link_name(text: str) -> bool:
    """Whether `text` is a link name we work with: the kernel takes more, shells and people do not.

    The form is `[A-Za-z0-9][A-Za-z0-9._-]{0,14}`.
    """
    return (
        0 < len(text) <= IFNAME_BYTES
        and text[0] not in "._-"
        and all(character in _LINK_NAME_CHARACTERS for character in text)
    )


def is_link_local(address: str) -> bool:
    """Whether an IPv6 address is one of fe80::/10."""
    return address.startswith(_LINK_LOCAL_BEGINS)


def is_unicast(route: Route) -> bool:
    """Whether a route leads somewhere: no blackhole, no unreachable."""
    return route.type == _RTN_UNICAST
