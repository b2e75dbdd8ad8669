"""What the guest is told, one fact at a time: a word and a phrase, for whatever shows it to people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmnet.model.links import FOREVER

if TYPE_CHECKING:
    from vmnet.model.lease import Lease, Lease6, Leases, Router

Fact = tuple[str, str]
"""A word, and what there is to say of it."""


def lease_facts(leases: Leases) -> tuple[Fact, ...]:
    """Return what the leases say, IPv4 first; what both say, once."""
    said = [
        *(_ipv4(leases.lease) if leases.lease else ()),
        *(_ipv6(leases.lease6) if leases.lease6 else ()),
    ]
    return tuple(dict.fromkeys(fact for fact in said if fact[1]))


def _ipv4(lease: Lease) -> tuple[Fact, ...]:
    return (
        ("address", f"{lease.yiaddr}/{lease.prefixlen}"),
        ("MAC", lease.chaddr),
        ("gateway", lease.router or "none"),
        (
            "routes",
            ", ".join(
                f"{route.dst} on-link" if route.gateway == "0.0.0.0" else f"{route.dst} via {route.gateway}"  # noqa: S104
                for route in lease.classless_routes
            ),
        ),
        ("MTU", str(lease.interface_mtu or "")),
        ("DNS", ", ".join(lease.nameservers)),
        ("search", ", ".join(lease.domain_search)),
        ("host name", lease.hostname),
        ("NTP", ", ".join(lease.ntp_servers)),
        ("boot", " ".join(filter(None, (lease.boot.server, lease.boot.file, lease.boot.vendor_class)))),
        ("options", ", ".join(f"{option.code}={option.value}" for option in lease.options)),
        ("ARP", ", ".join(f"{entry.address} is at {entry.mac}" for entry in lease.neighbours)),
        ("lease", _duration(lease) if lease.served else "none: vmnet does not serve DHCP here"),
    )


def _ipv6(lease: Lease6) -> tuple[Fact, ...]:
    return (
        *(("address", leased.address) for leased in lease.addresses),
        ("MAC", lease.chaddr),
        *(("gateway", _router(router)) for router in lease.routers if router.is_default),
        *(
            ("routes", f"{', '.join(router.routes)} via {_router(router)}")
            for router in lease.routers
            if router.routes
        ),
        ("on-link", ", ".join(lease.prefixes)),
        ("MTU", str(lease.mtu or "")),
        ("DNS", ", ".join(lease.nameservers)),
        ("search", ", ".join(lease.domain_search)),
        ("host name", lease.hostname),
        ("NTP", ", ".join(lease.ntp_servers)),
        ("NAT64", lease.nat64_prefix),
        ("IPv6", "" if lease.served else "vmnet advertises no router and serves no DHCPv6 here"),
    )


def _router(router: Router) -> str:
    """Name the router as the guest sees it, and the pod's where that is another."""
    behind = f" for {router.gateway}" if router.synthetic and router.gateway else ""
    return f"{router.address}{behind}{f' at {router.mac}' if router.mac else ''}"


def _duration(lease: Lease) -> str:
    time = "infinite" if lease.lease_time == FOREVER else f"{lease.lease_time} s"
    longest = ", and never longer than the pod has the address" if lease.ends else ""
    return f"{time} from {lease.server_id}{longest}"
