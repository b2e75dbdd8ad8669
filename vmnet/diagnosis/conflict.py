"""In words: that the guest declined its address, who may hold it, and what is to be done. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmnet.bindings.names import nic_name
from vmnet.server.lease_state import DECLINED

if TYPE_CHECKING:
    from vmnet.control.report import ServerReport
    from vmnet.model.lease import Lease
    from vmnet.model.pod import PodInterface


def conflict(pod: PodInterface, lease: Lease | None, said: ServerReport | None) -> str:
    """Say so where the server reports that the guest declined its lease; else nothing."""
    if lease is None or said is None or said.ipv4.lease != DECLINED:
        return ""
    known = _known(pod, lease)
    gateway = f", or a gateway that answers ARP for others (the pod knew {known})"
    before = f", a machine that had it before{gateway}" if known else " or a machine that had it before"
    look = f"tcpdump -nei {nic_name(pod.ifname)} arp and host {lease.yiaddr}"
    return (
        f"ADDRESS CONFLICT: the guest declined {lease.yiaddr}, because another machine answers ARP for it: "
        f"another pod with the same address{before}. In this pod `{look}` shows its MAC when the guest asks "
        "again. Find out which of the two should have the address. If it is the other one: `vmnet down`, give the "
        "pod another address, `vmnet up`"
    )


def _known(pod: PodInterface, lease: Lease) -> str:
    """The gateways and permanent neighbours of the pod, with their MACs where the pod knew them."""
    macs = {entry.dst: entry.mac for entry in pod.neighbours if ":" not in entry.dst and entry.mac}
    permanent = [entry.dst for entry in pod.neighbours if entry.permanent and ":" not in entry.dst]
    gateways = [route.gateway for route in pod.routes if route.gateway and ":" not in route.gateway]
    addresses = [address for address in dict.fromkeys((*gateways, *permanent)) if address != lease.yiaddr]
    return ", ".join(f"{address} at {macs[address]}" if address in macs else address for address in addresses)
