"""The facts vmnet speaks of, in the field's words: plain frozen values that import nothing of vmnet.

Addresses are text as iproute2 prints them, prefixes `address/length`, MACs lower-case with colons, MTUs and
sizes bytes, lifetimes seconds. A value of `None` in a `LinkSpec` means "leave as it is".
"""

from __future__ import annotations

from dataclasses import dataclass

DHCP_ON, DHCP_OFF, DHCP_EXTERNAL = "on", "off", "external"
"""Who answers the guest's DHCP: vmnet, nobody, or a server in the pod network."""
FOREVER = 0xFFFFFFFF
"""An address lifetime or lease time without end (RFC 2131 §3.3, RFC 4861 §4.6.2)."""


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


RTAX_MTU = 2
RT_TABLE_MAIN, RT_TABLE_LOCAL = 254, 255
"""linux/rtnetlink.h."""


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


SERVER_PREFIX = "fe80::766d:6e65:7400/120"
"""The link-local addresses that our server answers for, "vmnet" in ASCII: its own, and those of its routers."""
TABLE_PREFIX = "vmnet_"
"""What the names of our nftables tables begin with."""
NOTE_PREFIX = "vmnet."
"""What the alternative names begin with that carry our note; any others of a link are not ours."""


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


@dataclass(frozen=True, slots=True)
class PodInterface:
    """The pod's network identity as the CNI left it: what the guest gets, and what `down` gives back."""

    ifname: str
    ifindex: int
    mac: str
    mtu: int
    addr_gen_mode: int | None = None
    accept_ra: int | None = None
    """None without IPv6, and where the vmnet that saved the facts did not look."""
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    lookups: tuple[Lookup, ...] = (Lookup(ipv6=False), Lookup(ipv6=True))
    """The tables that its own traffic takes, in order."""
    proxies: tuple[ProxyNeighbour, ...] = ()
    read_at: int = 0
    """When the addresses' lifetimes were read, seconds of CLOCK_MONOTONIC; 0 where that is not known."""
    bare_clsact: bool = False
    """Whether it had a place for programs on which none hung: `down` leaves that there."""


ISOLATION_STRICT, ISOLATION_DHCP_ONLY, ISOLATION_OFF = ISOLATIONS = ("strict", "dhcp-only", "off")
"""The guest is nobody but the pod; only DHCP and router messages are kept apart; nothing is filtered."""


@dataclass(frozen=True, slots=True)
class Boot:
    """Where firmware that boots from the network finds its program; all empty for nothing."""

    server: str = ""
    """Option 66; an IPv4 address is `siaddr` as well."""
    file: str = ""
    """Option 67, and the field `file`."""
    vendor_class: str = ""
    """Option 60, by which firmware knows the answer as one for it: PXEClient, HTTPClient."""


@dataclass(frozen=True, slots=True)
class RawOption:
    """A DHCP option that vmnet knows nothing of, its value in hexadecimal."""

    code: int
    value: str


@dataclass(frozen=True, slots=True)
class Told:
    """What the guest is told beyond what the pod has, or instead of it."""

    lease_time: int = 86400
    """Seconds; `FOREVER` for a lease without end."""
    nameservers: tuple[str, ...] | None = None
    """None for those of the pod's resolv.conf."""
    domain_search: tuple[str, ...] | None = None
    ntp_servers: tuple[str, ...] = ()
    boot: Boot = Boot()
    ipv6_only_wait: int | None = None
    """Option 108 (RFC 8925), seconds: a guest that can do without IPv4 then does."""
    options: tuple[RawOption, ...] = ()
    ipv6: bool = True
    """Whether the guest is told of the pod's IPv6."""
    autonomous: bool = False
    """Whether it shall make IPv6 addresses of its own (RFC 4862), which the pod network may not route to it."""
    nat64_prefix: str = ""
    """PREF64 (RFC 8781)."""


DEFAULT_TAP = "tap0"
"""The first that is chosen where nobody names one; KubeVirt's name."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that has a tap open."""

    pid: int
    command: str
    ifname: str
    """Of the tap; empty where that is gone, or was never there."""

    def __str__(self) -> str:
        return f"{self.command} (pid {self.pid})"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user wants of a binding beyond what the pod says; saved with the facts."""

    tap: str = DEFAULT_TAP
    owner: int | None = None
    """The uid that may open the tap without capabilities: QEMU's."""
    group: int | None = None
    mac: str = ""
    """The VM's MAC; empty for the pod's own."""
    mtu: int | None = None
    """What the guest is told, bytes; None for the pod's own."""
    hostname: str = ""
    multi_queue: bool = False
    """Whether QEMU opens the tap several times, once a queue; the kernel takes it only one way or the other."""
    isolation: str = ISOLATION_STRICT
    allow_addresses: tuple[str, ...] = ()
    """Prefixes the guest may use as its own besides the pod's addresses."""
    allow_macs: tuple[str, ...] = ()
    sandbox: bool = True
    """Whether the server gives everything up before it serves; without is for debugging."""
    server_user: int | None = None
    """The uid the server becomes; None for one of its own where vmnet is root, else for vmnet's."""
    server_group: int | None = None
    """The gid with `server_user`."""
    dhcp: str = DHCP_ON
    told: Told = Told()


@dataclass(frozen=True, slots=True)
class Resolver:
    """What resolv.conf says, as glibc reads it, and in words what of it a guest cannot be given."""

    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    """Of nameservers."""
    search_warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClasslessRoute:
    """An entry of DHCP option 121 (RFC 3442): `dst` as address/length, `gateway` 0.0.0.0 when on-link."""

    dst: str
    gateway: str


@dataclass(frozen=True, slots=True)
class ArpEntry:
    """An IPv4 address and the MAC it is reached at."""

    address: str
    mac: str


@dataclass(frozen=True, slots=True)
class Lease:
    """What the DHCP server tells the VM: the words are RFC 2131's and RFC 2132's."""

    chaddr: str
    """The VM's MAC: the only client there is."""
    yiaddr: str
    prefixlen: int
    server_id: str
    router: str = ""
    """Option 3; empty without an IPv4 default route."""
    classless_routes: tuple[ClasslessRoute, ...] = ()
    """Option 121 in wire order: on-link first, the default last."""
    nameservers: tuple[str, ...] = ()
    """Option 6: IPv4 only."""
    domain_search: tuple[str, ...] = ()
    """Option 119; option 15 is the first of them."""
    hostname: str = ""
    broadcast: str = ""
    interface_mtu: int | None = None
    lease_time: int = 86400
    """Seconds; `FOREVER` for a lease without end."""
    ends: int = 0
    """When the pod's address runs out, seconds of CLOCK_MONOTONIC; 0 for never. No lease goes beyond."""
    warnings: tuple[str, ...] = ()
    """In words, what of the pod's network could not be carried over to the guest."""
    ntp_servers: tuple[str, ...] = ()
    """Option 42."""
    boot: Boot = Boot()
    ipv6_only_wait: int | None = None
    """Option 108, for a guest that asks for it."""
    options: tuple[RawOption, ...] = ()
    """Whatever else was configured."""
    neighbours: tuple[ArpEntry, ...] = ()
    """Gateways that answer no ARP: the pod had an entry for each, the guest is answered for them."""
    served: bool = True
    """Whether its DHCP is answered; its ARP for the server identifier and `neighbours` always is."""


@dataclass(frozen=True, slots=True)
class LeasedAddress:
    """An IPv6 address that the guest is given, with its lifetimes in seconds."""

    address: str
    preferred_lifetime: int
    valid_lifetime: int
    preferred_until: int = 0
    """When the pod's own lifetime ends, seconds of CLOCK_MONOTONIC; 0 for never."""
    valid_until: int = 0


@dataclass(frozen=True, slots=True)
class Router:
    """A router that the guest learns of: its advertisements come from `address`, a link-local one.

    Where the pod's gateway is link-local itself that is its address, and the guest resolves it as the pod did.
    Where it is global, `address` is one that nobody bears and our server answers for, with the gateway's MAC.
    """

    address: str
    gateway: str
    """The pod's; empty for the router that is none, whose advertisements only carry the rest."""
    mac: str = ""
    """The gateway's, as the pod knew it; empty where it did not: then the server finds it out."""
    permanent: bool = False
    """Whether the pod was told the MAC for good: then the server answers for the gateway's own address, too."""
    is_default: bool = False
    preference: int = 0
    """RFC 4191 §2.1: 1 is high, 0 medium, 3 low."""
    routes: tuple[str, ...] = ()
    """Prefixes behind it besides the default (RFC 4191 §2.3)."""

    @property
    def synthetic(self) -> bool:
        """Whether nobody but our server answers for `address`."""
        return self.address != self.gateway


@dataclass(frozen=True, slots=True)
class Lease6:
    """What the VM is told of IPv6, by router advertisements (RFC 4861) and DHCPv6 (RFC 9915) together."""

    chaddr: str
    """The VM's MAC: the only client there is."""
    server_address: str
    """The link-local address that the DHCPv6 server speaks from."""
    addresses: tuple[LeasedAddress, ...]
    """IA_NA: the pod's, the best first."""
    routers: tuple[Router, ...]
    """At least one; the best default first."""
    prefixes: tuple[str, ...] = ()
    """What is on the link (RFC 4861 §4.6.2, L=1)."""
    autonomous: bool = False
    """Whether the guest shall make addresses of its own from prefixes of 64 bits (A=1)."""
    mtu: int | None = None
    nameservers: tuple[str, ...] = ()
    """IPv6 only: option 23, and RDNSS (RFC 8106)."""
    domain_search: tuple[str, ...] = ()
    """Option 24, and DNSSL."""
    ntp_servers: tuple[str, ...] = ()
    """IPv6 only: option 56 (RFC 5908)."""
    nat64_prefix: str = ""
    """PREF64 (RFC 8781): the prefix by which the pod network reaches IPv4."""
    hostname: str = ""
    """The first label of option 39's name (RFC 4704), where the client sends that option."""
    warnings: tuple[str, ...] = ()
    """In words, what of the pod's IPv6 could not be carried over to the guest."""
    served: bool = True
    """Whether router solicitations and DHCPv6 are answered; neighbour solicitations for `routers` always are."""


@dataclass(frozen=True, slots=True)
class Leases:
    """What the guest is told, by family; None where the pod has no address of it."""

    chaddr: str
    """The VM's MAC."""
    lease: Lease | None
    lease6: Lease6 | None
    allowed: tuple[str, ...] = ()
    """Prefixes that the guest may use as its own besides."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """In words, what of the pod's network could not be carried over to the guest."""
        both = (lease for lease in (self.lease, self.lease6) if lease)
        return tuple(dict.fromkeys(warning for lease in both for warning in lease.warnings))

    @property
    def addresses(self) -> tuple[str, ...]:
        """What the guest is given: of IPv4 with the length of its prefix, as DHCP says it."""
        ipv4 = (f"{self.lease.yiaddr}/{self.lease.prefixlen}",) if self.lease else ()
        ipv6 = self.lease6.addresses if self.lease6 else ()
        return (*ipv4, *(leased.address for leased in ipv6))

    @property
    def interface_mtu(self) -> int | None:
        """What the guest can send without loss, bytes."""
        if self.lease:
            return self.lease.interface_mtu
        return self.lease6.mtu if self.lease6 else None


@dataclass(frozen=True, slots=True)
class CreateLink:
    """Make this link. Everything of the spec that is not given at creation follows as an `AlterLink`."""

    link: LinkSpec

    def __str__(self) -> str:
        return f"create {self.link.kind} {self.link.ifname}"


@dataclass(frozen=True, slots=True)
class DeleteLink:
    """Remove this link; the kernel removes all that stands on it."""

    ifname: str
    ifindex: int

    def __str__(self) -> str:
        return f"delete link {self.ifname}"


@dataclass(frozen=True, slots=True)
class AlterLink:
    """Set these properties (`LinkSpec` field and value) of the link that is called `ifname` at this point."""

    ifname: str
    values: tuple[tuple[str, int | str], ...]

    def __str__(self) -> str:
        return f"set {self.ifname} " + " ".join(f"{field}={value!s}" for field, value in self.values)


LinkEntry = Address | Route | Neighbour | ProxyNeighbour | FdbEntry | Note
"""What stands on a link."""


@dataclass(frozen=True, slots=True)
class AddEntry:
    """Put this address, route, neighbour or forwarding entry on its link."""

    entry: LinkEntry

    def __str__(self) -> str:
        return f"add {describe(self.entry)}"


@dataclass(frozen=True, slots=True)
class DeleteEntry:
    """Take this address, route, neighbour or forwarding entry off its link."""

    entry: LinkEntry

    def __str__(self) -> str:
        return f"delete {describe(self.entry)}"


@dataclass(frozen=True, slots=True)
class LoadRules:
    """Load the first of these rulesets that the kernel takes, in one transaction with the end of what stands."""

    table: str
    rulesets: tuple[Ruleset, ...]
    standing: tuple[str, ...]
    """The families in which a table of that name stands."""

    def __str__(self) -> str:
        return f"load the isolation rules of table {self.table}"


@dataclass(frozen=True, slots=True)
class DeleteRules:
    """Remove the tables of that name in these families."""

    table: str
    families: tuple[str, ...]

    def __str__(self) -> str:
        return f"delete the isolation rules of table {self.table}"


@dataclass(frozen=True, slots=True)
class DeleteCheck:
    """Take our program off the link's ingress, and the place that it hung on with it unless that is the pod's."""

    ifname: str
    keep_place: bool = False

    def __str__(self) -> str:
        return f"delete the check of unfinished frames on {self.ifname}"


Change = CreateLink | DeleteLink | AlterLink | AddEntry | DeleteEntry | LoadRules | DeleteRules | DeleteCheck
"""One step of a plan: one call to the kernel, that it accepts or refuses as a whole."""


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
