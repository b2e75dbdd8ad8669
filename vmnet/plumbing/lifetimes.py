"""What is left of the lifetimes of the pod's addresses and routes: they run down while the VM has them. Pure.

The kernel's own count is the truth where it shows the address, on the stand-in or on the NIC; where it does not,
the clock says how long ago it was read.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vmnet.model.links import FOREVER, Address, Spec
from vmnet.model.traffic import covers

if TYPE_CHECKING:
    from vmnet.model.links import Route, Status
    from vmnet.model.pod import PodInterface

_RTPROT_KERNEL = 2
"""linux/rtnetlink.h."""


def lasting(spec: Spec, pod: PodInterface, now: Status) -> Spec:
    """Return the spec with the lifetimes that are left now, and without what has run out."""
    addresses = tuple(left for address in spec.addresses if (left := _left(address, pod, now)))
    routes = [lasts for route in spec.routes if (lasts := _route_left(route, addresses, _elapsed(pod, now)))]
    gone = {address.local for address in ran_out(pod, now)}
    if gone:
        routes = _without(gone, routes, addresses)
    return replace(spec, addresses=addresses, routes=tuple(routes))


def _without(gone: set[str], routes: list[Route], addresses: tuple[Address, ...]) -> list[Route]:
    """Leave out the routes that went with the addresses, or that the kernel takes no more without them.

    With the last IPv4 address go all IPv4 routes (net/ipv4/fib_frontend.c, fib_inetaddr_event).
    """
    kept = [route for route in routes if route.prefsrc not in gone]
    if all(address.ipv6 for address in addresses):
        kept = [route for route in kept if route.ipv6]
    on_link = [route.dst for route in kept if not route.gateway and not route.is_default]
    on_link += [f"{address.peer or address.local}/{address.prefixlen}" for address in addresses]
    return [
        route
        for route in kept
        if not route.gateway or route.flags or any(covers(prefix, route.gateway) for prefix in on_link)
    ]


def ran_out(pod: PodInterface, now: Status) -> tuple[Address, ...]:
    """Return the addresses of the pod that have run out since it was bound."""
    return tuple(address for address in pod.addresses if _left(address, pod, now) is None)


def _left(address: Address, pod: PodInterface, now: Status) -> Address | None:
    if FOREVER == address.valid_lifetime == address.preferred_lifetime:
        return address
    nic = now.link_of_index(pod.ifindex)
    links = {pod.ifname, nic.ifname if nic else pod.ifname}
    for shown in now.addresses:
        if shown.ifname in links and (shown.local, shown.prefixlen) == (address.local, address.prefixlen):
            lifetimes = shown.valid_lifetime, shown.preferred_lifetime
            return replace(address, valid_lifetime=lifetimes[0], preferred_lifetime=lifetimes[1])
    elapsed = _elapsed(pod, now)
    valid, preferred = _less(address.valid_lifetime, elapsed), _less(address.preferred_lifetime, elapsed)
    return replace(address, valid_lifetime=valid, preferred_lifetime=preferred) if valid else None


def _route_left(route: Route, addresses: tuple[Address, ...], elapsed: int) -> Route | None:
    """Return the route with what is left of it; one that the kernel makes of an address lasts as long as that.

    Of such a one the kernel's own count is wrong after a lifetime was changed.
    """
    left = _less(route.lifetime, elapsed)
    if route.protocol == _RTPROT_KERNEL and any(covers(route.dst, address.local) for address in addresses):
        left = max(1, left)
    return replace(route, lifetime=left) if left else None


def _less(lifetime: int, elapsed: int) -> int:
    return lifetime if lifetime == FOREVER else max(0, lifetime - elapsed)


def _elapsed(pod: PodInterface, now: Status) -> int:
    """Seconds since the facts were read; 0 where that is not known."""
    return max(0, now.read_at - pod.read_at) if pod.read_at and now.read_at else 0
