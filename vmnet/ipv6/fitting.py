"""What of a lease has room in the router advertisements: one frame a router, and never a broken one. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmnet.model import Lease6, Router

_LONGEST = 1500
"""Before it has read the MTU, a guest takes no longer frame, whatever the pod network's."""
_ALWAYS = 40 + 16 + 8 + 8
"""IPv6 header, advertisement, MTU and source link-layer address (RFC 4861 §4.2, §4.6)."""
_PREFIX, _ROUTE, _PREF64 = 32, 24, 16
"""Octets of a prefix (RFC 4861 §4.6.2), a route (RFC 4191 §2.3) and PREF64 (RFC 8781 §4)."""
_LIST_HEAD = 8
"""Of RDNSS and DNSSL (RFC 8106 §5), neither of which can be too long for its length of 8 bits in such a frame."""


def fitted(lease: Lease6) -> Lease6:
    """The lease with what its first router's advertisement has room for; each of the others has routes only."""
    room = min(lease.mtu or _LONGEST, _LONGEST) - _ALWAYS
    left = room - (_PREF64 if lease.nat64_prefix else 0)
    nameservers = lease.nameservers[: (left - _LIST_HEAD) // 16]
    left -= _LIST_HEAD + 16 * len(nameservers) if nameservers else 0
    prefixes = lease.prefixes[: left // _PREFIX]
    left -= _PREFIX * len(prefixes)
    rooms = (left, *(room for _ in lease.routers[1:]))
    routers = tuple(_fitted(router, octets) for router, octets in zip(lease.routers, rooms, strict=True))
    left -= _ROUTE * len(routers[0].routes)
    domains = lease.domain_search
    while _search_list(domains) > left:
        domains = domains[:-1]
    lost = [f"nameserver {server}" for server in lease.nameservers[len(nameservers) :]]
    lost += [f"prefix {prefix}" for prefix in lease.prefixes[len(prefixes) :]]
    for before, after in zip(lease.routers, routers, strict=True):
        lost += [f"route {dst} via {before.gateway}" for dst in before.routes[len(after.routes) :]]
    lost += [f"search domain {domain}" for domain in lease.domain_search[len(domains) :]]
    return replace(
        lease,
        routers=routers,
        prefixes=prefixes,
        nameservers=nameservers,
        domain_search=domains,
        warnings=(
            *lease.warnings,
            *(f"{what}: the router advertisement has no room for it, the guest does not get it" for what in lost),
        ),
    )


def _fitted(router: Router, room: int) -> Router:
    return replace(router, routes=router.routes[: room // _ROUTE])


def _search_list(domains: tuple[str, ...]) -> int:
    """Octets of DNSSL: names as RFC 1035 §3.1 has them, padded to a multiple of 8."""
    names = sum(len(domain) + 2 for domain in domains)
    return _LIST_HEAD + (names + 7) // 8 * 8 if domains else 0
