"""What the guest is told. Addresses are text as iproute2 prints them, MTUs bytes, times seconds."""

from __future__ import annotations

from dataclasses import dataclass

from vmnet.model.settings import Boot, RawOption

SERVER_PREFIX = "fe80::766d:6e65:7400/120"
"""The link-local addresses that our server answers for, "vmnet" in ASCII: its own, and those of its routers."""
PREF64_LENGTHS = (96, 64, 56, 48, 40, 32)
"""In the order of their codes (RFC 8781 §4)."""
AUTONOMOUS_LENGTH = 64
"""RFC 4862 §5.5.3 with the interface identifiers of RFC 2464 §4."""


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
    boot: Boot = Boot()  # noqa: RUF009 # it is frozen
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
