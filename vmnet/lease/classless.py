"""The pod's routes as option 121 carries them (RFC 3442). Pure.

The pod's order is kept within each group: on-link routes, so that every gateway is reachable when a client comes
to it; then routes via a gateway; then the default, which must be here since a client that reads 121 ignores 3.
"""

from __future__ import annotations

from socket import inet_aton, inet_ntoa
from typing import TYPE_CHECKING

from vmnet.lease import shared
from vmnet.model import traffic
from vmnet.model.lease import ClasslessRoute
from vmnet.model.links import RTAX_MTU, Address, Route

if TYPE_CHECKING:
    from collections.abc import Sized

    from vmnet.model.pod import PodInterface

ON_LINK = "0.0.0.0"  # noqa: S104 - RFC 3442's "no router", not an address to bind to
_RTN_UNICAST = 1
_MOST = 1000
"""Entries of a kind: an answer of 1500 octets has room for 150, and what is compiled has fields of 64 KiB."""


def routes(pod: PodInterface, address: Address) -> tuple[tuple[ClasslessRoute, ...], Route | None, list[str]]:
    """The entries of option 121 in wire order, the default route among them, and what could not be carried."""
    warnings: list[str] = []
    best = _best(pod, warnings)
    default = best.pop((0, 0), None)
    subnet = network(f"{address.local}/{own_prefixlen(pod, address)}")
    connected = best.get(subnet)
    if connected and not connected.gateway:
        del best[subnet]  # the guest makes it from its mask
    on_link = [_text(key) for key, route in best.items() if not route.gateway]
    via = [entry for key, route in best.items() if route.gateway for entry in _via(key, route, subnet)]
    warnings += _too_many(via, on_link)
    via, on_link = via[:_MOST], on_link[:_MOST]
    via += [ClasslessRoute("0.0.0.0/0", default.gateway or ON_LINK)] if default else []
    direct, behind = {subnet, *map(network, on_link)}, {network(entry.dst) for entry in via}
    for gateway in dict.fromkeys(entry.gateway for entry in via if entry.gateway != ON_LINK):
        # A route via another gateway, or via itself, that is more specific leads the guest away from its link.
        if _longest(direct, gateway) <= _longest(behind, gateway):
            on_link.append(f"{gateway}/32")
    warnings += _unsaid([*best.values(), *([default] if default else [])], address, default)
    warnings += shared.passed_over(pod, ipv6=False)
    return (*(ClasslessRoute(dst, ON_LINK) for dst in on_link), *via), default, warnings


def own_prefixlen(pod: PodInterface, address: Address) -> int:
    """The length of the guest's own mask: that of the pod's address, unless the pod's link is smaller.

    Of its mask the guest makes an on-link route. Where the pod has none (`noprefixroute`, or the CNI took it
    away), the mask is that of the on-link route that holds the address, else of 32 bits: what the pod reached by
    its gateway the guest reaches by it, too. A route of the very subnet via a gateway (CNI's ptp) is told in
    halves. With a peer, the kernel's prefix belongs to the peer's side.
    """
    if address.peer and address.peer != address.local:
        return 32
    subnet = network(f"{address.local}/{address.prefixlen}")
    best = _best(pod, [])
    wider = [key for key in best if key[1] <= subnet[1] and covers(_text(key), address.local)]
    closest = best[max(wider, key=lambda key: key[1])] if wider else None
    if closest and (subnet in best or not closest.gateway):
        return subnet[1]
    narrower = (key[1] for key, route in best.items() if not route.gateway and covers(_text(key), address.local))
    return min((length for length in narrower if length > subnet[1]), default=32)


def network(prefix: str) -> tuple[int, int]:
    """The network number and length of `address/length`, host bits cleared."""
    address, _, length = prefix.partition("/")
    bits = int(length)
    return int.from_bytes(inet_aton(address)) >> (32 - bits) << (32 - bits), bits


def covers(prefix: str, address: str) -> bool:
    """Whether the IPv4 prefix holds the IPv4 address."""
    return network(prefix) == network(f"{address}/{network(prefix)[1]}")


def _text(key: tuple[int, int]) -> str:
    return f"{inet_ntoa(key[0].to_bytes(4))}/{key[1]}"


def _best(pod: PodInterface, warnings: list[str]) -> dict[tuple[int, int], Route]:
    """Of each destination the route that the pod uses: the lowest metric, the first of equals."""
    best: dict[tuple[int, int], Route] = {}
    for route in traffic.routes(pod):
        if route.ipv6:
            continue
        obstacle = _obstacle(route)
        key = network(route.dst)
        if obstacle:
            warnings.append(f"route {route.dst}: {obstacle}, the guest does not get it")
        elif key not in best or route.metric < best[key].metric:
            warnings += [_second(best[key])] if key in best else []
            best[key] = route
        else:
            warnings.append(_second(route))
    return best


def _obstacle(route: Route) -> str:
    if route.type != _RTN_UNICAST:
        return f"DHCP carries no routes of type {route.type}"
    if route.tos:
        return "DHCP carries no routes for a type of service"
    if ":" in route.gateway:
        return "DHCP carries no IPv6 gateway for IPv4"
    return ""


def _second(route: Route) -> str:
    where = f"via {route.gateway}" if route.gateway else "on-link"
    return f"route {route.dst} {where} metric {route.metric}: the guest gets only the best of this destination"


def _via(key: tuple[int, int], route: Route, subnet: tuple[int, int]) -> list[ClasslessRoute]:
    """A route via a gateway. Its own subnet (CNI's ptp) goes as two halves.

    The guest has an on-link route of that very prefix from its mask, and clients fail to add a second one
    (EEXIST); the halves are more specific, so they win with every client.
    """
    if key != subnet:
        return [ClasslessRoute(_text(key), route.gateway)]
    number, bits = key[0], key[1] + 1
    return [ClasslessRoute(_text((half, bits)), route.gateway) for half in (number, number | 1 << (32 - bits))]


def _too_many(*groups: Sized) -> list[str]:
    """Say how many routes no answer has room for."""
    more = sum(max(0, len(group) - _MOST) for group in groups)
    return [f"the pod has {more} routes more than {_MOST}, which no DHCP answer has room for"] if more else []


def _longest(prefixes: set[tuple[int, int]], address: str) -> int:
    """The length of the most specific prefix that holds the IPv4 address; -1 where none does."""
    number = network(f"{address}/32")[0]
    lengths = (bits for bits in range(32, -1, -1) if (number >> (32 - bits) << (32 - bits), bits) in prefixes)
    return next(lengths, -1)


def _unsaid(carried: list[Route], address: Address, default: Route | None) -> list[str]:
    """What the carried routes have besides destination and gateway. The default's MTU goes into option 26."""
    warnings = []
    for route in carried:
        metrics = [name for name, _ in route.metrics if name != RTAX_MTU or route is not default]
        if metrics:
            numbers = ", ".join(map(str, metrics))
            warnings.append(f"route {route.dst}: DHCP carries no route metrics, the guest lacks RTAX {numbers}")
        if route.prefsrc and route.prefsrc != address.local:
            warnings.append(f"route {route.dst}: DHCP carries no source address, the guest lacks {route.prefsrc}")
    return warnings
