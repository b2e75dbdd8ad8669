"""What the guest is told of IPv6: PodInterface, resolv.conf and the user's settings → Lease6. Pure.

Whatever of the pod's network neither router advertisements nor DHCPv6 can carry becomes a sentence in
`Lease6.warnings`, never silence.
"""

from __future__ import annotations

from socket import AF_INET6, inet_pton
from typing import TYPE_CHECKING

from vmnet.lease import shared
from vmnet.lease.autonomous import autonomous_warnings
from vmnet.lease.fitting6 import fitted
from vmnet.lease.routers import routers
from vmnet.model.lease import PREF64_LENGTHS, Lease6, LeasedAddress, Resolver
from vmnet.model.settings import DHCP_ON, Settings

if TYPE_CHECKING:
    from vmnet.model.pod import PodInterface

_IFA_F_DEPRECATED = 0x20


def lease6(pod: PodInterface, resolver: Resolver, settings: Settings) -> Lease6 | None:
    """Compose the one lease there is; None where the guest is told nothing of IPv6."""
    if not shared.is_told_ipv6(pod, settings):
        return None
    told = settings.told
    addresses = _addresses(pod, told.lease_time)
    server_address, found, prefixes, route_warnings = routers(pod, addresses)
    _, nameservers, nameserver_warnings = shared.nameservers(pod, resolver, settings)
    _, ntp_servers, ntp_warnings = shared.ntp_servers(pod, settings)
    search, search_warnings = shared.domain_search(resolver, settings)
    hostname, hostname_warnings = shared.hostname(settings.hostname)
    nat64_prefix, nat64_warnings = _nat64_prefix(told.nat64_prefix)
    return fitted(
        Lease6(
            chaddr=(settings.mac or pod.mac).lower(),
            server_address=server_address,
            addresses=addresses,
            routers=found,
            prefixes=prefixes,
            autonomous=told.autonomous,
            mtu=shared.ipv6_mtu(pod, settings),
            nameservers=nameservers,
            domain_search=search,
            ntp_servers=ntp_servers,
            nat64_prefix=nat64_prefix,
            hostname=hostname,
            warnings=(
                *route_warnings,
                *nameserver_warnings,
                *search_warnings,
                *ntp_warnings,
                *shared.mtu_warnings(pod, settings),
                *hostname_warnings,
                *nat64_warnings,
                *autonomous_warnings(prefixes, settings),
            ),
            served=settings.dhcp == DHCP_ON,
        )
    )


def untold(pod: PodInterface, settings: Settings) -> tuple[str, ...]:
    """In words, why the guest is told nothing of the IPv6 that the pod has; nothing where the user wants that."""
    addresses = shared.global_addresses(pod, ipv6=True)
    if not addresses or not settings.told.ipv6 or shared.is_told_ipv6(pod, settings):
        return ()
    mtu = shared.ipv6_mtu(pod, settings)
    least = shared.SMALLEST_IPV6_MTU
    return tuple(
        f"address {address.local}/{address.prefixlen}: the MTU {mtu} is below the IPv6 minimum of {least}, the "
        "guest does not get it"
        for address in addresses
    )


def _addresses(pod: PodInterface, lease_time: int) -> tuple[LeasedAddress, ...]:
    """What the guest is given, no longer than the pod has it; what is to be used no more comes last."""
    leased = [
        LeasedAddress(
            address.local,
            0 if address.flags & _IFA_F_DEPRECATED else min(lease_time, address.preferred_lifetime),
            min(lease_time, address.valid_lifetime),
            shared.ends(pod, address.preferred_lifetime),
            shared.ends(pod, address.valid_lifetime),
        )
        for address in shared.global_addresses(pod, ipv6=True)
    ]
    return tuple(sorted(leased, key=lambda address: not address.preferred_lifetime))


def _nat64_prefix(prefix: str) -> tuple[str, list[str]]:
    address, _, length = prefix.partition("/")
    if not prefix:
        return "", []
    try:
        number = int.from_bytes(inet_pton(AF_INET6, address))
        if int(length) in PREF64_LENGTHS and not number & (1 << (128 - int(length))) - 1:
            return prefix, []
    except (OSError, ValueError):
        pass
    lengths = ", ".join(f"/{length}" for length in PREF64_LENGTHS)
    return "", [f"the NAT64 prefix {prefix!r} is not of a length that RFC 8781 has ({lengths}): left out"]
