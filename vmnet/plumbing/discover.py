"""Status → PodInterface, or a refusal that says what is in the way and what helps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmnet.bindings.names import bridge_name, nic_name
from vmnet.bindings.whose import VMNET, bound_elsewhere, described, in_the_way
from vmnet.errors import BoundElsewhereError, NotYetError, RefusedError
from vmnet.model import traffic
from vmnet.model.links import RT_TABLE_MAIN, Address, Link, Neighbour, OffloadCheck, Status, is_unicast
from vmnet.model.pod import PodInterface

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vmnet.model.links import Holder, Route

_NTF_EXT_LEARNED = 0x10
"""linux/neighbour.h: only netlink sets it, no packet."""
_SCOPE_UNIVERSE = 0
"""RT_SCOPE_UNIVERSE (linux/rtnetlink.h): of an IPv6 address that is no link-local one."""
_USUAL_NAME = "eth0"
_BRIDGEABLE_MACVLAN = "passthru"
_NEVER_A_PORT = {
    "bridge": "a bridge, which cannot be a port of another one; hand over an interface outside it with "
    "--interface, or let the CNI give the pod a veth",
    "vrf": "a VRF, which cannot be a port of a bridge; hand over an interface outside it with --interface",
}
_PAIRS = ("veth", "netkit")
"""Kinds whose lower link is their peer, which they do not stand on."""
_SMALLEST_MTU, _LARGEST_MTU = 68, 65535 - 14
"""What a tap takes, bytes (linux/if_ether.h, ETH_MIN_MTU; drivers/net/tun.c, MAX_MTU less the header)."""
_ANOTHER_TAP = "name another one with --tap, or omit --tap: vmnet then takes a free name"


def discover(status: Status, ifname: str = "") -> PodInterface:
    """Return the network identity of the pod interface `ifname`.

    Without a name it is eth0, or the interface that carries the best default route.

    Raises:
        NotYetError: the interface is not there, not up or has no address yet.
        RefusedError: the interface cannot be handed to a VM as it is.
    """
    link = pod_link(status, ifname)
    refuse_unbridgeable(link)
    refuse_not_restorable(status, link)
    refuse_not_ready(status, link)
    refuse_occupied(status, link)
    addresses = _addresses(status, link)
    routes = tuple(route for route in status.routes if route.ifname == link.ifname)
    return PodInterface(
        ifname=link.ifname,
        ifindex=link.ifindex,
        mac=link.mac,
        mtu=link.mtu,
        addr_gen_mode=link.addr_gen_mode,
        accept_ra=link.accept_ra,
        addresses=addresses,
        routes=routes,
        neighbours=tuple(_needed_neighbours(status, link)),
        lookups=traffic.lookups(status.rules, _sources(addresses), (route.table for route in routes)),
        proxies=tuple(proxy for proxy in status.proxies if proxy.ifname == link.ifname),
        read_at=status.read_at,
        bare_clsact=OffloadCheck(link.ifname, "") in status.checks,
    )


def refuse_names_taken(
    status: Status, pod: PodInterface, tap: str, ours: dict[str, str], holders: tuple[Holder, ...] = ()
) -> None:
    """Refuse where other links bear the names that ours will have; `ours` says which are of other bindings.

    Raises:
        RefusedError: one does; it says whose that is.
    """
    if tap == pod.ifname:
        raise RefusedError(f"{tap} is the pod's own NIC, not a free name for the tap; {_ANOTHER_TAP}")
    if tap in ours or status.link(tap):
        link = status.link(tap)
        whose = ours[tap] if link is None else described(status, link, ours, holders)
        raise RefusedError(f"{tap} is {whose}; {_ANOTHER_TAP}")
    for name, part in ((bridge_name(pod.ifname), "bridge"), (nic_name(pod.ifname), "NIC")):
        link = status.link(name)
        if link:
            whose = described(status, link, ours, holders)
            raise RefusedError(
                f"{name} is {whose}; vmnet needs that name for {pod.ifname}'s {part}: "
                "hand over another interface with --interface, or run the VM in a pod where that name is free"
            )


def refuse_orphans(status: Status, ifname: str = "", known: Iterable[str] = ()) -> None:
    """Refuse where our links stand but their journal is lost: what eth0 shows then is the stand-in's.

    Raises:
        RefusedError: a bridge of our name joins links that vmnet has made.
    """
    found = in_the_way([one for one in bound_elsewhere(status, known) if one.who == VMNET], _meant(status, ifname))
    if found:
        raise RefusedError(f"{found.what}; {found.remedy}")


def refuse_bound_elsewhere(status: Status, ifname: str = "", known: Iterable[str] = ()) -> None:
    """Refuse an interface that another program has bound.

    Raises:
        BoundElsewhereError: one has; it says which.
    """
    found = in_the_way([one for one in bound_elsewhere(status, known) if one.who != VMNET], _meant(status, ifname))
    if found:
        raise BoundElsewhereError(f"{found.what}; {found.remedy}")


def _meant(status: Status, ifname: str) -> str:
    """Name the interface that would be handed over; empty where there is none."""
    try:
        return pod_link(status, ifname).ifname
    except NotYetError:
        return ifname


def pod_link(status: Status, ifname: str = "") -> Link:
    """Return the pod interface `ifname`; without a name, eth0 or the one with the best default route.

    Raises:
        NotYetError: there is none.
    """
    name = ifname or (_USUAL_NAME if status.link(_USUAL_NAME) else _default_route_ifname(status))
    link = status.link(name)
    if link is None:
        there = ", ".join(link.ifname for link in status.links if not link.loopback) or "none but lo"
        raise NotYetError(
            f"no interface {name or _USUAL_NAME} in this network namespace (there is: {there}); "
            "name another with --interface, or try again when the CNI has made it"
        )
    return link


def _default_route_ifname(status: Status) -> str:
    defaults = _defaults(status)
    return defaults[0].ifname if defaults else ""


def _defaults(status: Status) -> list[Route]:
    """Return the default routes of the main table, the best first."""
    defaults = (route for route in status.routes if route.is_default and route.table == RT_TABLE_MAIN)
    return sorted(filter(is_unicast, defaults), key=lambda route: route.metric)


def better_interface(status: Status, pod: PodInterface) -> str:
    """Say so where the default route is elsewhere than on the interface that was taken without a name."""
    own = [route for route in traffic.routes(pod) if route.is_default and is_unicast(route)]
    links = {link.ifname for link in status.links if link.ethernet and not link.loopback}
    others = [route for route in _defaults(status) if route.ifname != pod.ifname and route.ifname in links]
    for ipv6 in (False, True):
        best = next((route for route in others if route.ipv6 is ipv6), None)
        mine = min((route.metric for route in own if route.ipv6 is ipv6), default=None)
        if best and (mine is None or best.metric < mine):
            has = "has no default route" if mine is None else f"has a default route of metric {mine}"
            other = "has one" if mine is None else f"has a better one, of metric {best.metric}"
            return (
                f"{pod.ifname} {has}{' of IPv6' if ipv6 else ''}; {best.ifname} {other}: "
                f"--interface {best.ifname} hands that over instead"
            )
    return ""


def refuse_unbridgeable(link: Link) -> None:
    """Refuse what cannot be a port of our bridge.

    Raises:
        RefusedError: it cannot.
    """
    if link.loopback or not link.ethernet:
        raise RefusedError(
            f"{link.ifname} is not an Ethernet interface, so it cannot be a port of a bridge; name another with "
            "--interface"
        )
    if link.kind in _NEVER_A_PORT:
        raise RefusedError(f"{link.ifname} is {_NEVER_A_PORT[link.kind]}")
    if link.kind == "ipvlan":
        raise RefusedError(
            f"{link.ifname} is an ipvlan interface, which shares its parent's MAC and drops a VM's frames; "
            "give the pod a veth, or macvlan in passthru mode"
        )
    if link.kind in ("macvlan", "macvtap") and link.mode != _BRIDGEABLE_MACVLAN:
        raise RefusedError(
            f"{link.ifname} is a {link.kind} interface in {link.mode} mode, which drops frames that come "
            "through a bridge; give the pod a veth, or macvlan in passthru mode"
        )
    if link.controller:
        raise RefusedError(
            f"{link.ifname} is a port of {link.controller} already, which vmnet has not made; "
            "hand over another interface with --interface, or let whoever made that bridge leave it out"
        )


def refuse_occupied(status: Status, link: Link) -> None:
    """Refuse where another link stands on it, or where our links could not have its MTU.

    Raises:
        RefusedError: the kernel would refuse to join it to a bridge, or what stands on it would lose its network.
    """
    for other in status.links:
        if other.lower == link.ifname and other.kind not in _PAIRS:
            raise RefusedError(
                f"{other.ifname} ({other.kind}) stands on {link.ifname} and would lose its network to the VM; "
                f"name another interface with --interface, or let {other.ifname} stand on another one"
            )
    if not _SMALLEST_MTU <= link.mtu <= _LARGEST_MTU:
        raise RefusedError(
            f"{link.ifname} has an MTU of {link.mtu}, and a tap can have {_SMALLEST_MTU} to {_LARGEST_MTU}; "
            "set such an MTU in the CNI's configuration"
        )


def refuse_not_restorable(status: Status, link: Link) -> None:
    """Refuse where the pod could not be given back as it was.

    Raises:
        RefusedError: something of it is beyond us.
    """
    for what in not_restorable(status, link):
        raise RefusedError(
            f"{what}, which vmnet did not make and could not restore, so nothing was touched; hand over another "
            "interface with --interface, or start a new pod without it: its CNI, or a program in the pod, made it"
        )


def not_restorable(status: Status, link: Link) -> tuple[str, ...]:
    """Say what could not be given back, a clause each."""
    own = [f"{ifname} has a {what}" for ifname, what in status.not_restorable if ifname == link.ifname]
    borne = {address.local for address in _addresses(status, link)}
    borne -= {address.local for address in status.addresses if address.ifname != link.ifname}
    # With an address go the routes of all links that have it as their source (net/ipv4/fib_semantics.c,
    # fib_sync_down_addr; net/ipv6/route.c, rt6_remove_prefsrc).
    lost = [
        f"{route.ifname} has a route {route.dst} with the source {route.prefsrc}, an address of {link.ifname}"
        for route in status.routes
        if route.ifname != link.ifname and route.prefsrc in borne and (route.ipv6 or route.table == RT_TABLE_MAIN)
    ]
    return (*own, *lost)


def refuse_not_ready(status: Status, link: Link) -> None:
    """Refuse what the CNI has not set up yet.

    Raises:
        NotYetError: it is down, or has no address that could be handed over.
    """
    if not link.up:
        raise NotYetError(f"{link.ifname} is down; try again when the CNI has set it up")
    addresses = _addresses(status, link)
    if not any(not address.ipv6 or address.scope == _SCOPE_UNIVERSE for address in addresses):
        raise NotYetError(
            f"{link.ifname} has neither an IPv4 nor a global IPv6 address; try again when the CNI has given it one"
        )


def _needed_neighbours(status: Status, link: Link) -> Iterator[Neighbour]:
    """Find the entries that were made by hand and the gateways': of all others a neighbour makes any number."""
    gateways = {route.gateway for route in status.routes if route.ifname == link.ifname}
    for entry in status.neighbours:
        by_hand = entry.permanent or entry.flags & _NTF_EXT_LEARNED
        if entry.ifname == link.ifname and (by_hand or entry.dst in gateways):
            yield entry


def _addresses(status: Status, link: Link) -> tuple[Address, ...]:
    return tuple(address for address in status.addresses if address.ifname == link.ifname)


def _sources(addresses: tuple[Address, ...]) -> tuple[str, str]:
    """Return the IPv4 and the IPv6 address that the guest will send from; empty where there is none."""
    found = {
        ipv6: next((a.local for a in addresses if a.ipv6 is ipv6 and a.scope == _SCOPE_UNIVERSE), "")
        for ipv6 in (False, True)
    }
    return found[False], found[True]
