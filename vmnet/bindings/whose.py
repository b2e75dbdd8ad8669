"""Whose a link is that stands in our way: told by what it is and what it is joined to. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmnet.bindings.names import bridge_name, is_own_mac, nic_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vmnet.model.links import Holder, Link, Status

VMNET, KUBEVIRT, KATA, OTHER = "vmnet", "KubeVirt", "Kata Containers", "another program"
_BRIDGE = bridge_name("")
_HASHED = "pod"
"""What the name of a further NIC begins with that KubeVirt names by a hash; its bridge's name leaves it out."""
_KATA_SUFFIX = "_kata"
"""Of the tap that Kata makes for its own VM (tap0_kata), joined to eth0 by tc filters."""
_KUBERNETES_GUIDE = "docs/guide/kubernetes.md"


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """An interface that is bound, or a name that is taken, and not by a binding that we know."""

    who: str
    """VMNET, where a binding of vmnet's has lost its facts."""
    bridge: str
    ifname: str
    """The pod interface; empty where it cannot be known."""
    what: str
    remedy: str


def bound_elsewhere(status: Status, known: Iterable[str] = ()) -> tuple[Elsewhere, ...]:
    """Return every binding here but those of the interfaces that are `known` to be bound by us."""
    return tuple(_elsewhere(status, {bridge_name(ifname) for ifname in known}))


def _elsewhere(status: Status, ours: set[str]) -> Iterator[Elsewhere]:
    for link in status.links:
        ports = [port for port in status.links if port.controller == link.ifname]
        if link.ifname.startswith(_BRIDGE) and ports and link.ifname not in ours:
            yield _bridge(status, link, ports)
        if link.kind == "tun" and link.ifname.endswith(_KATA_SUFFIX):
            yield Elsewhere(
                KATA,
                "",
                "",
                f"Kata Containers runs this pod in a VM of its own, which has the pod's network ({link.ifname})",
                "run vmnet inside that VM, or give the pod another runtimeClassName",
            )


def _bridge(status: Status, bridge: Link, ports: list[Link]) -> Elsewhere:
    ifname = _pod_interface(status, bridge.ifname)
    joins = f"{bridge.ifname} joins {' and '.join(sorted(port.ifname for port in ports))}"
    if any(is_own_mac(link.mac) for link in (bridge, *ports)):
        what = f"{joins}, which vmnet has made, but this state directory has no journal of it"
        return Elsewhere(
            VMNET,
            bridge.ifname,
            ifname,
            what,
            "repeat the command with the --state-dir that the binding was brought up with",
        )
    if any(port.kind == "tun" for port in ports):
        return Elsewhere(
            KUBEVIRT,
            bridge.ifname,
            ifname,
            f"KubeVirt has bound {ifname or 'an interface'} already: {joins}, and virt-launcher answers its DHCP",
            f"leave it to KubeVirt, or give the VM's interface the binding vmnet in the VM's spec "
            f"({_KUBERNETES_GUIDE}), or hand over another interface with --interface",
        )
    return Elsewhere(
        OTHER,
        bridge.ifname,
        ifname,
        f"{joins}, and vmnet has not made it",
        "hand over another interface with --interface, or run the VM in a pod where that name is free",
    )


def _pod_interface(status: Status, bridge: str) -> str:
    """Name the interface that a bridge is for: ours shortens a long name, KubeVirt's leaves `pod` out."""
    rest = bridge.removeprefix(_BRIDGE)
    for link in status.links:
        if bridge_name(link.ifname) == bridge or link.ifname in (rest, f"{_HASHED}{rest}"):
            return link.ifname
    return ""


def in_the_way(elsewhere: Iterable[Elsewhere], ifname: str) -> Elsewhere | None:
    """Return what keeps this interface from being bound; without a name, whatever there is."""
    return next((one for one in elsewhere if not ifname or one.who == KATA or _concerns(one, ifname)), None)


def _concerns(one: Elsewhere, ifname: str) -> bool:
    return ifname == one.ifname or bridge_name(ifname) == one.bridge


def of_bindings(bindings: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Say of each name that a binding has, whether or not the link is there now, what bears it.

    Of each binding its pod interface and its tap are given.
    """
    names = {}
    for ifname, tap in bindings:
        parts = {
            ifname: "stand-in",
            bridge_name(ifname): "bridge",
            nic_name(ifname): "NIC",
            tap: "tap",
        }
        names.update({name: f"the {part} of {ifname}'s binding" for name, part in parts.items()})
    return names


def described(status: Status, link: Link, ours: dict[str, str], holders: Iterable[Holder]) -> str:
    """Say whose a link is, as well as can be told."""
    if link.ifname in ours:
        return ours[link.ifname]
    open_in = [str(holder) for holder in holders if holder.ifname == link.ifname]
    joined = f", a port of {link.controller}" if link.controller else ""
    if link.kind == "tun" and open_in:
        return f"a tap that {' and '.join(open_in)} has open{joined}"
    if any(route.is_default and route.ifname == link.ifname for route in status.routes):
        return "a NIC of the pod: its default route leads there"
    kind = "a tap" if link.kind == "tun" else f"a link of kind {link.kind or 'hardware'}"
    return f"{kind}{joined} that vmnet has not made"
