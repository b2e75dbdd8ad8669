"""The pod's IPv6 routes as router advertisements carry them (RFC 4861, RFC 4191). Pure.

A router speaks from a link-local address. A gateway that is global gets one that nobody bears, behind which our
server gives its MAC (docs/decisions/0020).
"""

from __future__ import annotations

from socket import AF_INET6, inet_ntop, inet_pton
from typing import TYPE_CHECKING

from vmnet.lease import shared
from vmnet.lease.shared import ipv6_defaults
from vmnet.model import traffic
from vmnet.model.lease import LeasedAddress, Router
from vmnet.model.links import RTAX_MTU, Neighbour, Route, is_link_local, is_unicast

if TYPE_CHECKING:
    from vmnet.model.pod import PodInterface

HIGH, MEDIUM, LOW = 1, 0, 3
"""RFC 4191 §2.1."""
_MOST_ROUTERS = 16
_OWN_NAMES = tuple(f"fe80::766d:6e65:74{number:02x}" for number in range(256))
"""Link-local addresses with "vmnet" in ASCII in them: the first is our server's, the others are routers'."""


def routers(
    pod: PodInterface, addresses: tuple[LeasedAddress, ...]
) -> tuple[str, tuple[Router, ...], tuple[str, ...], list[str]]:
    """The server's address, the routers with the best default first, what is on-link, and what is not carried."""
    warnings: list[str] = []
    defaults = _defaults(pod, warnings)
    best = _best(pod, warnings)
    behind: dict[str, list[str]] = {route.gateway: [] for route in defaults}
    for prefix, route in best.items():
        if route.gateway:
            behind.setdefault(route.gateway, []).append(prefix)
    warnings += _unsaid([*defaults, *best.values()], addresses[0].address, defaults)
    warnings += _too_many([*behind][_MOST_ROUTERS:])
    server_address, *free = (name for name in _OWN_NAMES if name not in _borne(pod))
    known = _neighbours(pod, set(behind), warnings)
    found = tuple(
        Router(
            address=gateway if is_link_local(gateway) else free.pop(0),
            gateway=gateway,
            mac=known[gateway].mac if gateway in known else "",
            permanent=gateway in known and known[gateway].permanent,
            is_default=place < len(defaults),
            preference=_preference(place, defaults),
            routes=tuple(behind[gateway]),
        )
        for place, gateway in enumerate([*behind][:_MOST_ROUTERS])
    )
    nobody = Router(address=server_address, gateway="")
    own = {f"{address}/128" for address in (*behind, *(leased.address for leased in addresses))}
    on_link = tuple(prefix for prefix, route in best.items() if not route.gateway and prefix not in own)
    return server_address, found or (nobody,), on_link, warnings


def _defaults(pod: PodInterface, warnings: list[str]) -> list[Route]:
    """The default routes, the best first, one a gateway."""
    every = ipv6_defaults(pod)
    first: dict[str, Route] = {}
    for route in every:
        first.setdefault(route.gateway, route)
    defaults = list(first.values())
    warnings += [_second(route) for route in every if route not in defaults]
    warnings += [
        f"route ::/0 via {route.gateway} metric {route.metric}: router advertisements say of two defaults only "
        "which is better, to the guest this one is as good as the second"
        for route in defaults[2:]
        if route.metric != defaults[1].metric
    ]
    return defaults


def _best(pod: PodInterface, warnings: list[str]) -> dict[str, Route]:
    """Of each destination but the default the route that the pod uses: the lowest metric, the first of equals."""
    best: dict[str, Route] = {}
    candidates = [route for route in traffic.routes(pod) if route.ipv6 and not _every_link_has(route)]
    warnings += shared.passed_over(pod, ipv6=True)
    for route in sorted(candidates, key=lambda route: route.metric):
        obstacle = _obstacle(route)
        if obstacle:
            warnings.append(f"route {route.dst}: {obstacle}, the guest does not get it")
        elif not route.is_default and best.setdefault(_prefix(route.dst), route) is not route:
            warnings.append(_second(route))
    return best


def _every_link_has(route: Route) -> bool:
    """Whether the guest's kernel makes that route by itself: to link-local and multicast addresses."""
    return not route.gateway and (is_link_local(route.dst) or route.dst.startswith("ff"))


def _obstacle(route: Route) -> str:
    if not is_unicast(route):
        return f"router advertisements carry no routes of type {route.type}"
    if route.is_default and not route.gateway:
        return "router advertisements carry no default without a gateway"
    return ""


def _second(route: Route) -> str:
    where = f"via {route.gateway}" if route.gateway else "on-link"
    return f"route {route.dst} {where} metric {route.metric}: the guest gets only the best of this destination"


def _prefix(dst: str) -> str:
    """The destination with the bits beyond its length zero."""
    address, _, length = dst.partition("/")
    host_bits = 128 - int(length)
    number = int.from_bytes(inet_pton(AF_INET6, address)) >> host_bits << host_bits
    return f"{inet_ntop(AF_INET6, number.to_bytes(16))}/{length}"


def _preference(place: int, defaults: list[Route]) -> int:
    """The best default has its own preference, but is never as low as the others."""
    if place >= len(defaults):
        return MEDIUM  # RFC 4191 §2.2: without a lifetime it has none
    own = defaults[0].pref
    if place:
        return LOW
    return own if own == HIGH or (own == LOW and len(defaults) == 1) else MEDIUM


def _unsaid(carried: list[Route], source: str, defaults: list[Route]) -> list[str]:
    """What the carried routes have besides destination and gateway. The best default's MTU is told."""
    warnings = []
    for route in carried:
        said = f"route {route.dst}: router advertisements carry no"
        metrics = [name for name, _ in route.metrics if name != RTAX_MTU or route not in defaults[:1]]
        if metrics:
            numbers = ", ".join(map(str, metrics))
            warnings.append(f"{said} route metrics, the guest lacks RTAX {numbers}")
        if route.prefsrc and route.prefsrc != source:
            warnings.append(f"{said} source address, the guest lacks {route.prefsrc}")
    return warnings


def _too_many(gateways: list[str]) -> list[str]:
    return [
        f"gateway {gateway}: the guest learns of {_MOST_ROUTERS} at most, it does not get this one"
        for gateway in gateways
    ]


def _borne(pod: PodInterface) -> set[str]:
    """What the pod and its neighbours are called."""
    names = {address.local for address in pod.addresses} | {neighbour.dst for neighbour in pod.neighbours}
    return names | {route.gateway for route in pod.routes}


def _neighbours(pod: PodInterface, gateways: set[str], warnings: list[str]) -> dict[str, Neighbour]:
    """The gateways whose MAC the pod knew; what it was told for good counts most."""
    entries = sorted(
        (entry for entry in pod.neighbours if ":" in entry.dst and _is_unicast_mac(entry.mac)),
        key=lambda entry: entry.permanent,
    )
    warnings += [
        f"neighbour {entry.dst}: nothing carries permanent entries, the guest must be answered its solicitations"
        for entry in entries
        if entry.permanent and entry.dst not in gateways
    ]
    return {entry.dst: entry for entry in entries if entry.dst in gateways}


def _is_unicast_mac(mac: str) -> bool:
    return not int(mac[:2], 16) & 1 and bool(mac.strip("0:"))
