"""The only touch: each `Change` as one call to the kernel."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

from vmnet.errors import KernelError
from vmnet.kernel import firewall, offload_check, sysctl, tap
from vmnet.kernel.netlink import (
    AF_BRIDGE,
    METRIC_NUMBERS,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    NTF_MASTER,
    NTF_PROXY,
    NUD_NOARP,
    NUD_PERMANENT,
    NUD_STALE,
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_DELLINKPROP,
    RTM_DELNEIGH,
    RTM_DELROUTE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWLINKPROP,
    RTM_NEWNEIGH,
    RTM_NEWROUTE,
    family_settings,
    ifaddrmsg,
    ifinfmsg,
    ndmsg,
    rtmsg,
)
from vmnet.model.change import AddEntry, AlterLink, CreateLink, DeleteCheck, DeleteLink, DeleteRules, LoadRules
from vmnet.model.links import FOREVER, Address, Neighbour, Note, ProxyNeighbour, Route

if TYPE_CHECKING:
    from vmnet.kernel.netlink import NetlinkSocket
    from vmnet.model.change import Change
    from vmnet.model.links import FdbEntry, LinkEntry, LinkSpec

    Message = Any  # pyroute2 is untyped

_IFF_UP = 0x1
_METRIC_NAMES = {number: name for name, number in METRIC_NUMBERS.items()}
_FAMILY_SETTINGS = ("arp_ignore", "addr_gen_mode")
_TABLES_IN_OCTET = 256
"""A table with a larger number is told by RTA_TABLE alone (rtnetlink(7))."""
_IPV6_SYSCTLS = frozenset({"accept_ra", "disable_ipv6"})
_ALREADY_THERE = frozenset({errno.EEXIST})
_ALREADY_GONE = frozenset({errno.ENODEV, errno.ESRCH, errno.EADDRNOTAVAIL, errno.ENOENT})
_MISSING = {errno.EPERM: "CAP_NET_ADMIN", errno.EACCES: "CAP_NET_ADMIN", errno.EOPNOTSUPP: "kernel support"}
_REFUSED_WHILE_UP = errno.EBUSY
_LONGEST_TENTATIVE = 5.0
"""Seconds. The kernel looks for duplicates of a new IPv6 address for 1 to 2; without that it takes a moment."""
_RTMGRP_IPV6_IFADDR, _ENOUGH = 0x100, 1 << 16


def apply(netlink: NetlinkSocket, change: Change) -> None:
    """Make one change. What is already there, or already gone, is no error: the verifying read decides.

    Raises:
        KernelError: the kernel refused; it names the change, the errno and, where known, what is missing.
    """
    try:
        _call(netlink, change)
    except KernelError:
        raise
    except OSError as error:
        code = error.errno or 0
        if code not in _tolerated(change):
            raise KernelError(code, str(change), _MISSING.get(code, "")) from error


def _ifindex(ifname: str) -> int:
    try:
        return socket.if_nametoindex(ifname)
    except OSError as error:  # which carries no errno
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV)) from error


def _tolerated(change: Change) -> frozenset[int]:
    """The errnos that mean: it is so already. A link that cannot be altered is not yet as it shall be."""
    if isinstance(change, AddEntry | CreateLink):
        return _ALREADY_THERE
    return frozenset() if isinstance(change, AlterLink) else _ALREADY_GONE


def _call(netlink: NetlinkSocket, change: Change) -> None:
    if isinstance(change, CreateLink):
        _create_link(netlink, change.link)
    elif isinstance(change, DeleteLink):
        netlink.request(_link_message(change.ifindex), RTM_DELLINK, 0)
    elif isinstance(change, AlterLink):
        _alter_link(netlink, change)
    elif isinstance(change, LoadRules):
        _load_rules(netlink, change)
    elif isinstance(change, DeleteCheck):
        offload_check.detach(netlink, change.ifname, keep_place=change.keep_place)
    elif isinstance(change, DeleteRules):
        firewall.delete(change.table, change.families)
    else:
        adding = isinstance(change, AddEntry)
        message, operation, flags = _entry_request(change.entry, adding)
        try:
            netlink.request(message, operation, flags if adding else 0)
        except OSError as error:
            if not (adding and error.errno == errno.EINVAL and _has_ipv6_source(change.entry)):
                raise
            _request_when_source_is_known(netlink, message, operation, flags)


def _request_when_source_is_known(netlink: NetlinkSocket, message: Message, operation: int, flags: int) -> None:
    """Ask again at each word of the kernel on an IPv6 address, until it takes it or the time is over."""
    deadline = time.monotonic() + _LONGEST_TENTATIVE
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as told:
        told.bind((0, _RTMGRP_IPV6_IFADDR))
        while True:
            try:
                netlink.request(message, operation, flags)
            except OSError as error:
                left = deadline - time.monotonic()
                if error.errno != errno.EINVAL or left <= 0:
                    raise
                told.settimeout(left)
                with contextlib.suppress(OSError):  # the time is over, or a word was lost
                    told.recv(_ENOUGH)
            else:
                return


def _has_ipv6_source(entry: object) -> bool:
    """Whether it is a route that the kernel refuses while its source is tentative (net/ipv6/route.c)."""
    return isinstance(entry, Route) and entry.ipv6 and bool(entry.prefsrc)


def _load_rules(netlink: NetlinkSocket, change: LoadRules) -> None:
    """Load the best rules there can be: those beside the check of unfinished frames only where that stands."""
    counting_on_it = (ruleset for ruleset in change.rulesets if ruleset.checks)
    best = next(counting_on_it, None)
    checked = best is not None and offload_check.attach(netlink, best.checks, best.program)
    rulesets = tuple(ruleset for ruleset in change.rulesets if bool(ruleset.checks) is checked)
    firewall.load(change.table, rulesets, change.standing)


def _create_link(netlink: NetlinkSocket, spec: LinkSpec) -> None:
    if spec.kind == "tun":
        tap.create_tap(spec)
        return
    message = _link_message(0)
    _attach(message, "IFLA_IFNAME", spec.ifname)
    _attach(message, "IFLA_ADDRESS", spec.mac)
    _attach(message, "IFLA_MTU", spec.mtu)
    _attach_linkinfo(message, spec.kind, {"stp": spec.stp, "mcast_snooping": spec.mcast_snooping})
    netlink.request(message, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL)


def _alter_link(netlink: NetlinkSocket, change: AlterLink) -> None:
    ifindex = _ifindex(change.ifname)
    values = dict(change.values)
    for name in _IPV6_SYSCTLS & values.keys():
        sysctl.set_ipv6(change.ifname, name, int(values.pop(name)))
    families = {field: values.pop(field) for field in _FAMILY_SETTINGS if field in values}
    if families:
        netlink.request(_family_settings(ifindex, families), RTM_NEWLINK, 0)
    if not values:
        return
    message = _alteration(ifindex, values)
    try:
        netlink.request(message, RTM_NEWLINK, 0)
    except OSError as error:
        # A rename of a link that is up needs Linux 6.2, and some drivers change their MAC only while down.
        if error.errno != _REFUSED_WHILE_UP:
            raise
        netlink.request(_up_message(ifindex, up=False), RTM_NEWLINK, 0)
        try:
            netlink.request(message, RTM_NEWLINK, 0)
        finally:  # where that was not the reason, the guest must not lose its link to the attempt
            netlink.request(_up_message(ifindex, up=True), RTM_NEWLINK, 0)


def _alteration(ifindex: int, values: dict[str, int | str]) -> Message:
    message = _up_message(ifindex, up=bool(values["up"])) if "up" in values else _link_message(ifindex)
    _attach(message, "IFLA_IFNAME", values.get("ifname"))
    _attach(message, "IFLA_ADDRESS", values.get("mac"))
    _attach(message, "IFLA_MTU", values.get("mtu"))
    if "controller" in values:
        bridge = str(values["controller"])
        _attach(message, "IFLA_MASTER", _ifindex(bridge) if bridge else 0)
    if "learning" in values:
        port = {"attrs": [("IFLA_BRPORT_LEARNING", int(values["learning"]))]}
        _attach(
            message,
            "IFLA_LINKINFO",
            {"attrs": [("IFLA_INFO_SLAVE_KIND", "bridge"), ("IFLA_INFO_SLAVE_DATA", port)]},
        )
    if "stp" in values or "mcast_snooping" in values:
        _attach_linkinfo(message, "bridge", values)
    return message


def _family_settings(ifindex: int, values: dict[str, int | str]) -> Message:
    message = family_settings()
    message["index"] = ifindex
    families: list[tuple[str, Any]] = []
    if "arp_ignore" in values:
        conf = {"attrs": [("IPV4_DEVCONF_ARP_IGNORE", values["arp_ignore"])]}
        families.append(("AF_INET", {"attrs": [("IFLA_INET_CONF", conf)]}))
    if "addr_gen_mode" in values:
        families.append(("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", values["addr_gen_mode"])]}))
    message["attrs"] = [("IFLA_AF_SPEC", {"attrs": families})]
    return message


def _attach_linkinfo(message: Message, kind: str | None, values: dict[str, Any]) -> None:
    settings = (("IFLA_BR_STP_STATE", "stp"), ("IFLA_BR_MCAST_SNOOPING", "mcast_snooping"))
    data = [(name, int(values[field])) for name, field in settings if values.get(field) is not None]
    attrs: list[tuple[str, Any]] = [("IFLA_INFO_KIND", kind)]
    if data:
        attrs.append(("IFLA_INFO_DATA", {"attrs": data}))
    _attach(message, "IFLA_LINKINFO", {"attrs": attrs})


def _link_message(ifindex: int) -> Message:
    message = ifinfmsg()
    message["index"] = ifindex
    message["attrs"] = []
    return message


def _up_message(ifindex: int, *, up: bool) -> Message:
    message = _link_message(ifindex)
    message["flags"] = _IFF_UP if up else 0
    message["change"] = _IFF_UP
    return message


def _attach(message: Message, name: str, value: object) -> None:
    if value is not None:
        message["attrs"].append((name, value))


def _entry_request(entry: LinkEntry, adding: bool) -> tuple[Message, int, int]:
    """Return the message, its operation and the flags of an addition."""
    ifindex = _ifindex(entry.ifname)
    if isinstance(entry, Address):
        return _address(entry, ifindex), RTM_NEWADDR if adding else RTM_DELADDR, NLM_F_CREATE | NLM_F_EXCL
    if isinstance(entry, Route):
        # IPv6 would make one multipath route of two appended ones (net/ipv6/ip6_fib.c, fib6_add_rt2node).
        end = NLM_F_EXCL if entry.ipv6 else NLM_F_APPEND
        return _route(entry, ifindex), RTM_NEWROUTE if adding else RTM_DELROUTE, NLM_F_CREATE | end
    if isinstance(entry, Note):
        return _note(entry, ifindex), RTM_NEWLINKPROP if adding else RTM_DELLINKPROP, NLM_F_CREATE | NLM_F_EXCL
    operation = RTM_NEWNEIGH if adding else RTM_DELNEIGH
    if isinstance(entry, ProxyNeighbour):
        return _proxy(entry, ifindex), operation, NLM_F_CREATE | NLM_F_REPLACE
    return _neighbour(entry, ifindex), operation, NLM_F_CREATE | NLM_F_REPLACE


def _note(entry: Note, ifindex: int) -> Message:
    message = _link_message(ifindex)
    _attach(message, "IFLA_PROP_LIST", {"attrs": [("IFLA_ALT_IFNAME", name) for name in entry.names]})
    return message


def _address(entry: Address, ifindex: int) -> Message:
    message = ifaddrmsg()
    message["family"] = socket.AF_INET6 if entry.ipv6 else socket.AF_INET
    message["index"] = ifindex
    message["prefixlen"] = entry.prefixlen
    message["scope"] = entry.scope
    message["attrs"] = [
        ("IFA_LOCAL", entry.local),
        ("IFA_ADDRESS", entry.peer or entry.local),
        ("IFA_FLAGS", entry.flags),
    ]
    _attach(message, "IFA_BROADCAST", entry.broadcast or None)
    _attach(message, "IFA_LABEL", entry.label or None)
    _attach(message, "IFA_RT_PRIORITY", entry.metric or None)
    _attach(message, "IFA_PROTO", entry.protocol or None)
    if (entry.valid_lifetime, entry.preferred_lifetime) != (FOREVER, FOREVER):
        lifetimes = {
            "ifa_valid": entry.valid_lifetime,
            "ifa_preferred": entry.preferred_lifetime,
            "cstamp": 0,
            "tstamp": 0,
        }
        message["attrs"].append(("IFA_CACHEINFO", lifetimes))
    return message


def _route(entry: Route, ifindex: int) -> Message:
    message = rtmsg()
    address, length = entry.dst.split("/")
    message["family"] = socket.AF_INET6 if entry.ipv6 else socket.AF_INET
    message["dst_len"] = int(length)
    message["table"] = entry.table if entry.table < _TABLES_IN_OCTET else 0
    message["tos"] = entry.tos
    message["scope"] = entry.scope
    message["proto"] = entry.protocol
    message["type"] = entry.type
    message["flags"] = entry.flags
    message["attrs"] = [("RTA_OIF", ifindex), ("RTA_TABLE", entry.table)]
    if int(length):
        message["attrs"].append(("RTA_DST", address))
    if entry.gateway and (":" in entry.gateway) != entry.ipv6:
        message["attrs"].append(("RTA_VIA", {"family": socket.AF_INET6, "addr": entry.gateway}))
    else:
        _attach(message, "RTA_GATEWAY", entry.gateway or None)
    _attach(message, "RTA_PREFSRC", entry.prefsrc or None)
    _attach(message, "RTA_PRIORITY", entry.metric or None)
    if entry.ipv6:
        message["attrs"].append(("RTA_PREF", entry.pref))
    if entry.lifetime != FOREVER:
        message["attrs"].append(("RTA_EXPIRES", struct.pack("=I", entry.lifetime)))
    if entry.metrics:
        metrics = [(_METRIC_NAMES[number], value) for number, value in entry.metrics]
        message["attrs"].append(("RTA_METRICS", {"attrs": metrics}))
    return message


def _neighbour(entry: Neighbour | FdbEntry, ifindex: int) -> Message:
    message = ndmsg()
    message["ifindex"] = ifindex
    message["attrs"] = [("NDA_LLADDR", entry.mac)]
    if isinstance(entry, Neighbour):
        message["family"] = socket.AF_INET6 if ":" in entry.dst else socket.AF_INET
        message["state"] = NUD_PERMANENT if entry.permanent else NUD_STALE
        message["flags"] = entry.flags
        message["attrs"].append(("NDA_DST", entry.dst))
    else:
        message["family"] = AF_BRIDGE
        message["state"] = NUD_NOARP
        message["flags"] = NTF_MASTER
    return message


def _proxy(entry: ProxyNeighbour, ifindex: int) -> Message:
    message = ndmsg()
    message["ifindex"] = ifindex
    message["family"] = socket.AF_INET6 if ":" in entry.dst else socket.AF_INET
    message["flags"] = NTF_PROXY | entry.flags
    message["attrs"] = [("NDA_DST", entry.dst)]
    _attach(message, "NDA_PROTOCOL", entry.protocol or None)
    return message
