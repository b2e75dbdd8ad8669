"""Status → PodInterface, or a refusal that says what is in the way and what helps."""

from __future__ import annotations

from vmnet.errors import NotYetError, RefusedError
from vmnet.model import Address, Link, PodInterface, Settings, Status
from vmnet.plumbing.names import bridge_name, nic_name

_SCOPE_UNIVERSE = 0
"""RT_SCOPE_UNIVERSE (linux/rtnetlink.h): of an IPv6 address that is no link-local one."""
_USUAL_NAME = "eth0"
_BRIDGEABLE_MACVLAN = "passthru"


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
    return PodInterface(
        ifname=link.ifname,
        ifindex=link.ifindex,
        mac=link.mac,
        mtu=link.mtu,
        addr_gen_mode=link.addr_gen_mode,
        addresses=_addresses(status, link),
        routes=tuple(route for route in status.routes if route.ifname == link.ifname),
        neighbours=tuple(neighbour for neighbour in status.neighbours if neighbour.ifname == link.ifname),
    )


def refuse_names_taken(status: Status, pod: PodInterface, settings: Settings) -> None:
    """Refuse where somebody else's links bear the names that ours will have.

    Raises:
        RefusedError: one does.
    """
    for name in (settings.tap, bridge_name(pod.ifname), nic_name(pod.ifname)):
        if status.link(name):
            raise RefusedError(
                f"{name} exists already and is not ours; remove it (ip link del {name}) or choose another name"
            )


def refuse_orphans(status: Status, ifname: str = "") -> None:
    """Refuse where our links stand but their journal is lost: what eth0 shows then is the stand-in's.

    Raises:
        RefusedError: a bridge of our name has ports.
    """
    controllers = {link.controller for link in status.links}
    for link in status.links:
        ours = link.ifname == bridge_name(ifname) if ifname else link.ifname.startswith(bridge_name(""))
        if ours and link.ifname in controllers:
            raise RefusedError(
                f"{link.ifname} joins a NIC and a tap already, but the state directory holds no facts about it; "
                "name the one it was brought up with (--state-dir)"
            )


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
    defaults = sorted((route for route in status.routes if route.is_default), key=lambda route: route.metric)
    return defaults[0].ifname if defaults else ""


def refuse_unbridgeable(link: Link) -> None:
    """Refuse what cannot be a port of our bridge.

    Raises:
        RefusedError: it cannot.
    """
    if link.loopback or not link.ethernet:
        raise RefusedError(f"{link.ifname} is no Ethernet interface; only such can be joined to a bridge")
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
            f"{link.ifname} is already a port of {link.controller}; take it out first: "
            f"ip link set {link.ifname} nomaster"
        )


def refuse_not_restorable(status: Status, link: Link) -> None:
    """Refuse where the pod could not be given back as it was.

    Raises:
        RefusedError: something of it is beyond us.
    """
    for ifname, what in status.not_restorable:
        if ifname == link.ifname:
            raise RefusedError(f"{ifname} has a {what}, which vmnet could not give back; remove it first")


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


def _addresses(status: Status, link: Link) -> tuple[Address, ...]:
    return tuple(address for address in status.addresses if address.ifname == link.ifname)
