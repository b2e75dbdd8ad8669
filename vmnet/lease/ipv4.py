"""What the guest is told: PodInterface, resolv.conf and the user's settings → Lease. Pure.

Whatever of the pod's network DHCP cannot carry becomes a sentence in `Lease.warnings`, never silence.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vmnet.errors import RefusedError
from vmnet.lease import classless, fitting, shared
from vmnet.model.lease import ArpEntry, Lease, Resolver
from vmnet.model.settings import DHCP_ON, Settings

if TYPE_CHECKING:
    from vmnet.model.links import Address, Route
    from vmnet.model.pod import PodInterface

_IFA_F_DEPRECATED = 0x20
_SMALLEST_MTU = 68
_LARGEST_MTU = 65535
"""The bounds of option 26 (RFC 2132 §5.1)."""
_SERVER_IDS = tuple(f"169.254.75.{host}" for host in range(10, 255))
"""Where the server identifier is taken from: link-local, so that no router ever forwards to it (RFC 3927)."""


def lease(pod: PodInterface, resolver: Resolver, settings: Settings) -> Lease:
    """Compose the one lease there is.

    Raises RefusedError when the pod has no IPv4 address that a guest could take over.
    """
    told = settings.told
    address, address_warnings = _address(pod)
    routes, default, route_warnings = classless.routes(pod, address)
    prefixlen = classless.own_prefixlen(pod, address)
    nameservers, _, nameserver_warnings = shared.nameservers(pod, resolver, settings)
    ntp_servers, _, ntp_warnings = shared.ntp_servers(pod, settings)
    search, search_warnings = shared.domain_search(resolver, settings)
    mtu, mtu_warnings = _mtu(pod, default, settings)
    hostname, hostname_warnings = shared.hostname(settings.hostname)
    neighbours, neighbour_warnings = _neighbours(pod)
    composed = Lease(
        chaddr=(settings.mac or pod.mac).lower(),
        yiaddr=address.local,
        prefixlen=prefixlen,
        server_id=_server_id(pod),
        router=default.gateway if default else "",
        classless_routes=routes,
        nameservers=nameservers,
        domain_search=search,
        hostname=hostname,
        broadcast=_broadcast(address, prefixlen),
        interface_mtu=mtu,
        lease_time=min(told.lease_time, address.valid_lifetime),
        ends=shared.ends(pod, address.valid_lifetime),
        ntp_servers=ntp_servers,
        boot=told.boot,
        ipv6_only_wait=told.ipv6_only_wait,
        options=told.options,
        neighbours=neighbours,
        served=settings.dhcp == DHCP_ON,
        warnings=(
            *address_warnings,
            *route_warnings,
            *neighbour_warnings,
            *nameserver_warnings,
            *search_warnings,
            *ntp_warnings,
            *mtu_warnings,
            *hostname_warnings,
        ),
    )
    return replace(composed, warnings=(*composed.warnings, *fitting.left_out(composed)))


def _address(pod: PodInterface) -> tuple[Address, list[str]]:
    candidates = [
        address
        for address in shared.global_addresses(pod, ipv6=False)
        if address.preferred_lifetime and not address.flags & _IFA_F_DEPRECATED
    ]
    if not candidates:
        raise RefusedError(
            f"{pod.ifname} has no global IPv4 address to hand to the guest: give the pod one, or wait for its CNI"
        )
    warnings = [
        f"address {address.local}/{address.prefixlen}: DHCP carries one address only, the guest does not get it"
        for address in candidates[1:]
    ]
    return candidates[0], warnings


def _broadcast(address: Address, prefixlen: int) -> str:
    """That of the pod, where the guest's subnet is the pod's; else its client makes one of its mask."""
    is_none = address.broadcast == "0.0.0.0"  # noqa: S104 - "none", not a bind
    return "" if is_none or prefixlen != address.prefixlen else address.broadcast


def _neighbours(pod: PodInterface) -> tuple[tuple[ArpEntry, ...], list[str]]:
    """The gateways that the pod knew by a permanent entry: nobody else may answer the guest's ARP for them."""
    permanent = [neighbour for neighbour in pod.neighbours if neighbour.permanent and ":" not in neighbour.dst]
    gateways = {route.gateway for route in pod.routes}
    warnings = [
        f"neighbour {neighbour.dst}: DHCP carries no permanent ARP entries, the guest must be answered its ARP"
        for neighbour in permanent
        if neighbour.dst not in gateways
    ]
    return tuple(ArpEntry(entry.dst, entry.mac) for entry in permanent if entry.dst in gateways), warnings


def _mtu(pod: PodInterface, default: Route | None, settings: Settings) -> tuple[int | None, list[str]]:
    mtu = shared.mtu(pod, default, settings)
    warnings = shared.mtu_warnings(pod, settings)
    if not _SMALLEST_MTU <= mtu <= _LARGEST_MTU:
        warnings.append(f"the MTU {mtu} is not one that DHCP can carry: the guest uses its own")
        return None, warnings
    return mtu, warnings


def _server_id(pod: PodInterface) -> str:
    """A link-local address that nothing of the pod bears, and where possible none of its prefixes covers."""
    taken = {address.local for address in pod.addresses} | {address.peer for address in pod.addresses}
    taken |= {route.gateway for route in pod.routes} | {neighbour.dst for neighbour in pod.neighbours}
    taken |= {route.dst.removesuffix("/32") for route in pod.routes}
    prefixes = [f"{address.local}/{address.prefixlen}" for address in pod.addresses if not address.ipv6]
    prefixes += [route.dst for route in pod.routes if not route.ipv6 and not route.is_default]
    free = [server_id for server_id in _SERVER_IDS if server_id not in taken]
    if not free:
        raise RefusedError(f"{pod.ifname} uses all of 169.254.75.10-254: no server identifier is left")
    uncovered = (server_id for server_id in free if not any(classless.covers(p, server_id) for p in prefixes))
    return next(uncovered, free[0])
