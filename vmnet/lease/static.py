"""What a NIC is set to where nobody listens for DHCP and router advertisements: Leases → Static. Pure.

Such a guest talks to the pod's own IPv6 gateway; of the router that stands in for it only advertisements tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from vmnet.lease.classless import ON_LINK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.model.lease import Lease, Lease6, Leases, Router

DEFAULT4, DEFAULT6 = "0.0.0.0/0", "::/0"
_LINK_LOCAL = "fe80::/10"
"""RFC 4291 §2.4: on every link."""


@dataclass(frozen=True, slots=True)
class StaticRoute:
    """A route of the NIC."""

    dst: str
    gateway: str = ""
    """Empty for an on-link route."""
    beyond: bool = False
    """Whether the gateway is on the link though no prefix says so."""

    @property
    def ipv6(self) -> bool:
        """Whether this is an IPv6 route."""
        return ":" in self.dst


@dataclass(frozen=True, slots=True)
class Static:
    """A NIC's configuration in both families, IPv4 first."""

    mac: str
    hostname: str
    mtu: int | None
    """The device's, bytes."""
    ipv6_mtu: int | None
    """IPv6's own, where it is smaller."""
    ipv4: str
    """Its address, as address/length; empty for none."""
    ipv6: tuple[str, ...]
    """Its addresses, each by itself: what else is on the link, routes say."""
    routes: tuple[StaticRoute, ...]
    """In the order in which they can be added."""
    nameservers: tuple[str, ...]
    domain_search: tuple[str, ...]
    """Those that mean the same in every format."""
    ntp_servers: tuple[str, ...]
    warnings: tuple[str, ...]
    """In words, what of the leases is not here."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """All of them."""
        return (*([self.ipv4] if self.ipv4 else []), *self.ipv6)


@dataclass(frozen=True, slots=True)
class Rendered:
    """A configuration, and in words what of the leases it does not carry."""

    text: str
    warnings: tuple[str, ...] = ()


def static(leases: Leases) -> Static:
    """Join what both leases say."""
    lease, lease6 = leases.lease, leases.lease6
    told = [known for known in (lease, lease6) if known]
    search = tuple(dict.fromkeys(name for known in told for name in known.domain_search))
    routes6, warnings = _routes6(lease6) if lease6 else ((), ())
    mtu, mtu6 = leases.interface_mtu, lease6.mtu if lease6 else None
    return Static(
        mac=leases.chaddr,
        hostname=next((known.hostname for known in told if known.hostname), ""),
        mtu=mtu,
        ipv6_mtu=mtu6 if mtu6 and (mtu is None or mtu6 < mtu) else None,
        ipv4=f"{lease.yiaddr}/{lease.prefixlen}" if lease else "",
        ipv6=tuple(f"{leased.address}/128" for leased in lease6.addresses) if lease6 else (),
        routes=(*(_routes4(lease) if lease else ()), *routes6),
        nameservers=tuple(address for known in told for address in known.nameservers),
        domain_search=tuple(filter(_is_plain, search)),
        ntp_servers=tuple(address for known in told for address in known.ntp_servers),
        warnings=(
            *(f"search domain {name!r} is no plain host name: left out" for name in search if not _is_plain(name)),
            *warnings,
        ),
    )


def _is_plain(name: str) -> bool:
    """Whether a name means the same in every format, whatever a format's own special characters are."""
    bare = name.replace("-", "").replace("_", "").replace(".", "")
    return bare.isascii() and bare.isalnum() and name[0] != "-"


def _routes4(lease: Lease) -> Iterator[StaticRoute]:
    subnet = f"{lease.yiaddr}/{lease.prefixlen}"
    for route in lease.classless_routes:
        if route.gateway == ON_LINK:
            yield StaticRoute(route.dst)
        else:
            yield StaticRoute(route.dst, route.gateway, not _covers(subnet, route.gateway))


def _routes6(lease: Lease6) -> tuple[tuple[StaticRoute, ...], tuple[str, ...]]:
    """On-link prefixes first, the default last; of each destination the route by the first router."""
    best = {prefix: StaticRoute(prefix) for prefix in lease.prefixes}
    warnings = []
    for dst, router in _behind(lease):
        beyond = not any(_covers(prefix, router.gateway) for prefix in (_LINK_LOCAL, *lease.prefixes))
        if dst in best:
            warnings.append(f"route {dst} via {router.gateway}: only the best of this destination is written")
        else:
            best[dst] = StaticRoute(dst, router.gateway, beyond)
    default = best.pop(DEFAULT6, None)
    return (*best.values(), *([default] if default else [])), tuple(warnings)


def _behind(lease: Lease6) -> Iterator[tuple[str, Router]]:
    """Each destination that lies behind a gateway of the pod."""
    for router in lease.routers:
        if router.gateway:
            yield from ((dst, router) for dst in router.routes)
            yield from [(DEFAULT6, router)] if router.is_default else []


def _covers(prefix: str, address: str) -> bool:
    return ip_address(address) in ip_network(prefix, strict=False)
