"""What of a lease has room in the router advertisements: one frame a router, and never a broken one. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vmnet.lease.shared import SMALLEST_IPV6_MTU
from vmnet.model.left_out import DHCPV6, LeftOut, sentences
from vmnet.server.ipv6.lists import fitted as option_fitted
from vmnet.server.ipv6.replies import DNS, NTP, SEARCH

if TYPE_CHECKING:
    from vmnet.model.lease import Lease6, Router

_LONGEST = 1500
"""Before it has read the MTU, a guest takes no longer frame, whatever the pod network's."""
_ALWAYS = 40 + 16 + 8 + 8
"""IPv6 header, advertisement, MTU and source link-layer address (RFC 4861 §4.2, §4.6)."""
_PREFIX, _ROUTE, _PREF64 = 32, 24, 16
"""Octets of a prefix (RFC 4861 §4.6.2), a route (RFC 4191 §2.3) and PREF64 (RFC 8781 §4)."""
_BEFORE_LISTS, _IA_ADDRESS = 40 + 8 + 4 + 18 + 14 + 5 + 16 + 4 + 65, 28
"""IPv6, UDP, message, both identifiers, preference, IA_NA and FQDN of DHCPv6; of each address in the IA_NA."""
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
            *_by_dhcpv6(lease),
        ),
    )


def _by_dhcpv6(lease: Lease6) -> list[str]:
    """Say what of the time servers a reply of DHCPv6 has no room for; the rest is advertised as well."""
    room = max(lease.mtu or _LONGEST, SMALLEST_IPV6_MTU) - _BEFORE_LISTS - _IA_ADDRESS * len(lease.addresses)
    labels = [label.encode() for domain in lease.domain_search for label in (*domain.split("."), "")]
    names = b"".join(bytes((len(label),)) + label for label in labels)
    lists = {
        DNS: bytes(4 + 16 * len(lease.nameservers)),
        SEARCH: bytes(4) + names,
        NTP: bytes(4 + 20 * len(lease.ntp_servers)),
    }
    left: LeftOut = {}
    for code in sorted(lists, key=lambda code: len(lists[code]) > room // 2):  # what is long comes after the rest
        part, told, of = option_fitted(code, lists[code], room)
        room -= len(part)
        left |= {code: (told, of)} if told < of and code == NTP else {}
    return [f"{said}: a DHCPv6 message has no room for more" for said in sentences(left, DHCPV6)]


def _fitted(router: Router, room: int) -> Router:
    return replace(router, routes=router.routes[: room // _ROUTE])


def _search_list(domains: tuple[str, ...]) -> int:
    """Octets of DNSSL: names as RFC 1035 §3.1 has them, padded to a multiple of 8."""
    names = sum(len(domain) + 2 for domain in domains)
    return _LIST_HEAD + (names + 7) // 8 * 8 if domains else 0
