"""cloud-init's network configuration, version 1: each of its renderers makes a working network of it. Pure.

Version 2 is handed to netplan as it is, and to all others in parts: they know neither a route without a gateway
nor a gateway beyond the prefix, and NetworkManager's gets the routes of both families in one. So the address has a
prefix that holds its gateway. Where the pod's own does not, it gets the smallest that does, whose halves, being
more specific, go by the gateway as well. Where there is none (10.0.0.5 and 169.254.1.1 differ in their first bit),
or the address has a link of its own, the gateway is on the link by 0.0.0.0, which is RFC 3442's word for that.
"""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING

from vmnet.lease.static import DEFAULT4, DEFAULT6, Rendered, StaticRoute

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Address, IPv6Address

    from vmnet.lease.static import Static

_NAME = "eth0"
"""cloud-init gives the NIC this name, whatever the kernel called it."""
_ON_LINK = ("0.0.0.0", "::")  # noqa: S104 - not addresses to bind to
_LINK_LOCAL = ip_network("fe80::/10")


def cloud_init(nic: Static) -> Rendered:
    """Write version 1; what no renderer can say is a warning."""
    lines = [
        "version: 1",
        "config:",
        "  - type: physical",
        f"    name: {_NAME}",
        f"    mac_address: {json.dumps(nic.mac)}",
        *([f"    mtu: {nic.mtu}"] if nic.mtu else []),
        "    accept-ra: false",
        "    subnets:",
    ]
    warnings: list[str] = []
    for at, address in enumerate(nic.addresses):
        first = address in (nic.ipv4, *nic.ipv6[:1])
        lines += _subnet(nic, address, warnings, first=first)
        if at == 0:
            lines += _dns(nic)
    return Rendered("\n".join([*lines, ""]), tuple(warnings))


def _subnet(nic: Static, address: str, warnings: list[str], *, first: bool) -> Iterator[str]:
    """One address; the routes of its family stand with the first."""
    ipv6 = ":" in address
    routes = [route for route in nic.routes if route.ipv6 is ipv6]
    default = next((route.gateway for route in routes if route.dst in (DEFAULT4, DEFAULT6)), "") if first else ""
    on_link = [route.dst for route in routes if not route.gateway]
    own = _with_prefix(address, on_link)
    ways = [route for route in routes if route.gateway and route.dst not in (DEFAULT4, DEFAULT6)]
    beyond: tuple[str, ...] = ()
    if default and not _holds(own, default):
        own, halves = _widened(own, default)
        ways = [*(StaticRoute(half, default) for half in halves), *ways]
        beyond = () if halves else (default,)
        ways = [*(StaticRoute(str(ip_network(gateway)), _ON_LINK[ipv6]) for gateway in beyond), *ways]
    yield f"      - type: {'static6' if ipv6 else 'static'}"
    yield f"        address: {json.dumps(own)}"
    yield from [f"        mtu: {nic.ipv6_mtu}"] if ipv6 and nic.ipv6_mtu else []
    if not first:
        return
    yield from [f"        gateway: {json.dumps(default)}"] if default else []
    said = [way for way in ways if way.gateway in (*_ON_LINK, *beyond) or _holds(own, way.gateway)]
    yield from ["        routes:"] if said else []
    for way in said:
        yield f"          - {{destination: {json.dumps(way.dst)}, gateway: {json.dumps(way.gateway)}}}"
    lost = [f"{way.dst} via {way.gateway}" for way in ways if way not in said]
    owns = [own, *(_with_prefix(other, on_link) for other in nic.addresses if (":" in other) is ipv6)]
    elsewhere = [dst for dst in on_link if not any(_inside(dst, prefix) for prefix in owns)]
    lost += [f"{dst} on-link" for dst in elsewhere if ip_network(dst)[0] != _address(default)]
    warnings += [f"route {route}: left out, as some renderers of cloud-init cannot write it" for route in lost]


def _dns(nic: Static) -> Iterator[str]:
    """All of it with the first address: sysconfig's renderer would number those of a second from 1 again."""
    yield from [f"        dns_nameservers: {json.dumps(list(nic.nameservers))}"] if nic.nameservers else []
    yield from [f"        dns_search: {json.dumps(list(nic.domain_search))}"] if nic.domain_search else []


def _with_prefix(address: str, on_link: list[str]) -> str:
    """The address in the longest prefix on the link that holds it, else in its own."""
    own = ip_interface(address)
    found = [prefix for prefix in map(ip_network, on_link) if own.ip in prefix]
    length = max((prefix.prefixlen for prefix in found), default=own.network.prefixlen)
    return f"{own.ip}/{min(length, own.network.prefixlen)}"


def _holds(own: str, gateway: str) -> bool:
    """Whether a gateway is on the link of an address with this prefix; link-local ones always are."""
    address = ip_address(gateway)
    return address in ip_interface(own).network or address in _LINK_LOCAL


def _inside(dst: str, own: str) -> bool:
    """Whether a route on the link is said by the address's prefix, or leads to a gateway that is."""
    inner, outer = ip_network(dst), ip_interface(own).network
    return inner.version == outer.version and inner.network_address in outer


def _address(text: str) -> IPv4Address | IPv6Address | None:
    return ip_address(text) if text else None


def _widened(own: str, gateway: str) -> tuple[str, tuple[str, ...]]:
    """The address in the smallest prefix that holds the gateway too, and its halves; none where that is all."""
    interface, other = ip_interface(own), ip_address(gateway)
    if interface.network.num_addresses > 1:  # its own link would be lost in a wider one
        return own, ()
    address = interface.ip
    length = address.max_prefixlen - (int(address) ^ int(other)).bit_length()
    if not length:  # Linux makes no route of such a prefix
        return own, ()
    return f"{address}/{length}", tuple(map(str, ip_network(f"{address}/{length}", strict=False).subnets()))
