"""What a pod had of IPv6 and what a guest got, compared fact by fact.

A next hop is named by its MAC: the pod's gateway may be a global address, the guest's is link-local always, and
where packets go is what counts. For the same reason the length of an address's prefix is no fact: what is on the
link is said by routes (RFC 5942 §4).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from testbed.facts import Comparison, NoFactsError, RouteFact, compare_routes, comparison, report
from testbed.netns import TestbedError
from testbed.pods import ping

if TYPE_CHECKING:
    from collections.abc import Iterable

    from testbed.netns import Netns
    from testbed.pods import Pod

DEFAULT = "::/0"
LINK_LOCAL = "fe80:"


@dataclass(frozen=True, slots=True)
class Facts6:
    """The IPv6 part of a network identity, the pod's or a guest's."""

    addresses: tuple[str, ...]
    """Without the link-local one."""
    gateway: str
    """The MAC of the default router."""
    routes: tuple[RouteFact, ...]
    """Of equal destinations the one that is used stands first; a gateway is named by its MAC."""
    mtu: int
    """What the path beyond the gateway may carry: the default route's MTU, else the device's for IPv6."""
    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()


def read_facts6(namespace: Netns, ifname: str, peer: str) -> Facts6:
    """Read what the kernel of a namespace knows, once it has had to find the gateway to ping that peer."""
    if not ping(namespace, peer):
        raise TestbedError(f"{peer} does not answer a ping from {namespace.name}, so that no gateway has a MAC")
    [link] = namespace.ip("-6", "address", "show", "dev", ifname)
    shown = namespace.ip("-6", "route", "show", "table", "main", "dev", ifname)
    neighbours = namespace.ip("-6", "neighbour", "show", "dev", ifname)
    macs = {entry["dst"]: entry["lladdr"] for entry in neighbours if "lladdr" in entry}
    shown.sort(key=lambda route: int(route.get("metric", 0)))
    addresses = tuple(entry["local"] for entry in link["addr_info"] if entry["scope"] == "global")
    default = next((route for route in shown if route["dst"] == "default"), None)
    if not addresses or default is None:
        raise NoFactsError(f"{ifname}: no IPv6 address or no default route: {addresses} {shown}")
    routes = [route_fact6(route["dst"], route.get("gateway", "")) for route in _single(shown)]
    mtu = _mtu(default) or int(namespace.run("cat", f"/proc/sys/net/ipv6/conf/{ifname}/mtu").stdout)
    return named_by_mac(addresses, routes, macs, mtu)


def route_fact6(dst: str, gateway: str) -> RouteFact:
    """A route as iproute2 or busybox shows it."""
    return RouteFact(DEFAULT if dst == "default" else dst if "/" in dst else f"{dst}/128", gateway)


def named_by_mac(
    addresses: tuple[str, ...], routes: Iterable[RouteFact], macs: dict[str, str], mtu: int
) -> Facts6:
    """Put the facts together: `routes` by metric and with the gateways' addresses, whose MACs are known."""
    own = {f"{address}/128" for address in addresses}
    other = [route for route in routes if route.dst not in own and not route.dst.startswith(LINK_LOCAL)]
    named = tuple(dict.fromkeys(_by_mac(route, macs) for route in other))
    gateway = next((route.gateway for route in named if route.dst == DEFAULT), "")
    return Facts6(tuple(sorted(addresses)), gateway, named, mtu)


def _single(routes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Take a route of several next hops, as the kernel shows routes by equal routers, for so many routes."""
    return [{**route, **hop} for route in routes for hop in route.get("nexthops", [{}])]


def _by_mac(route: RouteFact, macs: dict[str, str]) -> RouteFact:
    """A router is there at its MAC, whether it is said to be on the link or to be its own next hop."""
    next_hop = route.gateway or route.dst.removesuffix("/128")
    return replace(route, gateway=macs.get(next_hop, route.gateway))


def _mtu(route: dict[str, Any]) -> int:
    return int(next((entry["mtu"] for entry in route.get("metrics", ()) if "mtu" in entry), 0))


def read_pod6(pod: Pod) -> Facts6:
    """Read the pod's IPv6 identity, before `vmnet up`: what a guest shall have."""
    facts = read_facts6(pod.netns, pod.ifname, pod.peer6)
    return replace(facts, nameservers=pod.nameservers6, search=pod.search)


def compare6(pod: Facts6, guest: Facts6) -> list[Comparison]:
    """Put the pod's facts beside the guest's."""
    before, after = (
        [comparison(fact, getattr(pod, fact), getattr(guest, fact)) for fact in names]
        for names in (("addresses", "gateway"), ("mtu", "nameservers", "search"))
    )
    return [*before, *compare_routes(pod.routes, guest.routes), *after]


def differences6(pod: Facts6, guest: Facts6) -> str:
    """Name in words, one line each, what a guest has otherwise than the pod; empty when guest = pod."""
    return report(compare6(pod, guest))
