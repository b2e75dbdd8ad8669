"""The bridge binding: PodInterface → Spec, and back to how the pod was found.

pod network ── eth0-nic ─┐
                         k6t-eth0 ── tap0 ── the VM, with the pod's MAC and addresses
            eth0 (stand-in: the pod's name, MAC and addresses, joined to nothing)
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vmnet.bindings.isolation import rulesets
from vmnet.bindings.names import bridge_name, nic_name, own_mac, table_name
from vmnet.model.links import Address, FdbEntry, LinkSpec, Note, Spec

if TYPE_CHECKING:
    from vmnet.model.pod import PodInterface
    from vmnet.model.settings import Settings

_ADDR_GEN_MODE_NONE = 1
"""IN6_ADDR_GEN_MODE_NONE (linux/if_link.h): no IPv6 link-local address by itself."""
_ARP_ONLY_FOR_OWN_LINK = 1
"""arp_ignore: answer only for addresses of the link the request came in on; else the pod answers for the VM."""
_IFA_F_NODAD, _IFA_F_NOPREFIXROUTE = 0x02, 0x200
_SCOPE_LINK = 253


def bound(pod: PodInterface, settings: Settings, *, ipv6_settable: bool, note: tuple[str, ...] = ()) -> Spec:
    """Say how the namespace shall be while the VM has the pod's identity.

    `ipv6_settable` tells whether /proc/sys can be written; without it accept_ra and disable_ipv6 are left
    alone. `note` is written on the NIC, for when the journal is lost.
    """
    bridge = bridge_name(pod.ifname)
    links = (
        _bridge(bridge, pod, accept_ra=0 if ipv6_settable else None),
        _tap(bridge, pod, settings, disable_ipv6=1 if ipv6_settable else None),
        _nic(bridge, pod, accept_ra=0 if ipv6_settable and pod.accept_ra is not None else None),
        _stand_in(pod),
    )
    return Spec(
        links=links,
        addresses=tuple(_parked(address, pod.ifname) for address in pod.addresses if not _made_by_kernel(address)),
        fdb=(FdbEntry(ifname=settings.tap, mac=settings.mac or pod.mac),),
        notes=(Note(nic_name(pod.ifname), note),) if note else (),
        table=table_name(pod.ifname),
        rulesets=rulesets(pod, settings),
        guarded=settings.tap,
        place_kept=nic_name(pod.ifname) if pod.bare_clsact else "",
    )


def unbound(pod: PodInterface, settings: Settings) -> Spec:
    """Say how the namespace was before: everything of `pod` on its NIC, nothing of ours."""
    nic = LinkSpec(
        ifname=pod.ifname,
        ifindex=pod.ifindex,
        mac=pod.mac,
        mtu=pod.mtu,
        up=True,
        controller="",
        addr_gen_mode=pod.addr_gen_mode,
        accept_ra=pod.accept_ra,
    )
    return Spec(
        links=(nic,),
        addresses=pod.addresses,
        routes=pod.routes,
        neighbours=pod.neighbours,
        proxies=pod.proxies,
        absent=(pod.ifname, settings.tap, bridge_name(pod.ifname), nic_name(pod.ifname)),
        table=table_name(pod.ifname),
        place_kept=pod.ifname if pod.bare_clsact else "",
    )


def _bridge(bridge: str, pod: PodInterface, accept_ra: int | None) -> LinkSpec:
    return LinkSpec(
        ifname=bridge,
        kind="bridge",
        mac=own_mac(pod.mac, "bridge"),
        mtu=pod.mtu,
        up=True,
        stp=False,  # else its ports are silent for 30 s
        mcast_snooping=False,  # else neighbour discovery to the guest is lost once an MLD querier is about
        arp_ignore=_ARP_ONLY_FOR_OWN_LINK,
        addr_gen_mode=_ADDR_GEN_MODE_NONE,
        accept_ra=accept_ra,  # else one RA of the guest gives the pod a default route through the guest
    )


def _tap(bridge: str, pod: PodInterface, settings: Settings, disable_ipv6: int | None) -> LinkSpec:
    return LinkSpec(
        ifname=settings.tap,
        kind="tun",
        mac=own_mac(pod.mac, "tap"),
        mtu=pod.mtu,
        up=True,
        controller=bridge,
        learning=False,  # a guest could fill the forwarding table; its one MAC is entered by hand
        owner=settings.owner,
        group=settings.group,
        multi_queue=settings.multi_queue,
        addr_gen_mode=_ADDR_GEN_MODE_NONE,
        disable_ipv6=disable_ipv6,  # else the pod hears the guest on it, as below
    )


def _nic(bridge: str, pod: PodInterface, accept_ra: int | None) -> LinkSpec:
    return LinkSpec(
        ifname=nic_name(pod.ifname),
        ifindex=pod.ifindex,
        mac=own_mac(pod.mac, "nic"),  # two ports with the VM's MAC would cut the guest off
        mtu=pod.mtu,
        up=True,
        controller=bridge,
        learning=False,
        addr_gen_mode=_ADDR_GEN_MODE_NONE,
        accept_ra=accept_ra,  # what is addressed to a group of the bridge reaches it (net/bridge/br_input.c)
    )


def _stand_in(pod: PodInterface) -> LinkSpec:
    return LinkSpec(
        ifname=pod.ifname,
        kind="bridge",
        mac=pod.mac,
        mtu=pod.mtu,
        up=True,
        stp=False,
        mcast_snooping=False,
        arp_ignore=_ARP_ONLY_FOR_OWN_LINK,
        addr_gen_mode=_ADDR_GEN_MODE_NONE,
    )


def _made_by_kernel(address: Address) -> bool:
    return address.ipv6 and address.scope == _SCOPE_LINK


def _parked(address: Address, ifname: str) -> Address:
    """Make the address as the stand-in holds it: seen by the pod, never announced, routed to nowhere.

    To the peer of an IPv6 address the kernel makes a route all the same, and late (net/ipv6/addrconf.c,
    __ipv6_ifa_notify).
    """
    quiet = _IFA_F_NOPREFIXROUTE | (_IFA_F_NODAD if address.ipv6 else 0)
    peer = "" if address.ipv6 else address.peer
    return replace(address, ifname=ifname, flags=address.flags | quiet, peer=peer)
