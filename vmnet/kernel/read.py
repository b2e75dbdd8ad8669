"""The only look at the kernel: netlink dumps into a `Status`."""

from __future__ import annotations

import errno
import socket
import time
from typing import TYPE_CHECKING, Any

from vmnet.errors import KernelError
from vmnet.kernel import attached
from vmnet.kernel.firewall import read_chains
from vmnet.kernel.netlink import (
    AF_BRIDGE,
    METRIC_NUMBERS,
    NTF_EXT_LEARNED,
    NTF_ROUTER,
    NUD_NOARP,
    NUD_PERMANENT,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETNEIGH,
    RTM_GETROUTE,
    ifaddrmsg,
    ifinfmsg,
    name_of,
    ndmsg,
    rtmsg,
)
from vmnet.kernel.offload_check import read_checks
from vmnet.model.links import (
    FOREVER,
    NOTE_PREFIX,
    RT_TABLE_LOCAL,
    TABLE_PREFIX,
    Address,
    FdbEntry,
    Link,
    Neighbour,
    Note,
    Route,
    Status,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.kernel.netlink import NetlinkSocket

    Message = Any  # pyroute2 is untyped

_IFF_UP, _IFF_LOOPBACK = 0x1, 0x8
_ARPHRD_ETHER = 1
_USER_HZ = 100
"""asm-generic/param.h."""
_RTNH_F_ONLINK = 0x4
_RTPROT_KERNEL = 2
_TABLE_AT, _PROTOCOL_AT = 16 + 4, 16 + 5
"""Where a route message has its table and who made it (linux/rtnetlink.h, struct rtmsg)."""
_ADDRESS_FLAGS = 0x02 | 0x10 | 0x100 | 0x200 | 0x400
"""nodad, home, mngtmpaddr, noprefixroute, mcautojoin: what a user set; the other IFA_F_* bits are computed."""
_ROUTE_ATTRIBUTES = frozenset(
    {
        "RTA_TABLE",
        "RTA_DST",
        "RTA_GATEWAY",
        "RTA_VIA",
        "RTA_OIF",
        "RTA_PREFSRC",
        "RTA_PRIORITY",
        "RTA_METRICS",
        "RTA_CACHEINFO",
        "RTA_PREF",
    }
)
"""What a `Route` carries; a route with anything else could not be given back exactly."""
_WORDS = {
    "RTA_MULTIPATH": "several next hops",
    "RTA_FLOW": "a realm",
    "RTA_ENCAP": "an encapsulation",
    "RTA_ENCAP_TYPE": "an encapsulation",
    "RTA_NEWDST": "another MPLS label",
    "UNKNOWN": "a nexthop object or another attribute that vmnet does not know",
}
_IFA_F_TEMPORARY = 0x01
"""Of IPv6; the same bit says `secondary` of IPv4 (linux/if_addr.h)."""


def read(netlink: NetlinkSocket) -> Status:
    """Read links, addresses, routes of all tables, neighbours, forwarding entries, rules: all there is to see.

    Raises:
        KernelError: the kernel refused, or never stopped changing.
    """
    link_messages = netlink.dump(ifinfmsg(), RTM_GETLINK)
    names = {message["index"]: name_of(message.get_attr("IFLA_IFNAME")) for message in link_messages}
    address_messages = netlink.dump(ifaddrmsg(), RTM_GETADDR)
    route_messages = [*_dump_routes(netlink, socket.AF_INET), *_dump_routes(netlink, socket.AF_INET6)]
    forwarding = ndmsg()
    forwarding["family"] = AF_BRIDGE
    return Status(
        links=tuple(_link(message, names) for message in link_messages),
        addresses=tuple(_address(message, names) for message in address_messages if message["index"] in names),
        routes=tuple(_route(message, names) for message in route_messages if _obstacle(message) is None),
        neighbours=tuple(
            _neighbour(message, names)
            for message in netlink.dump(ndmsg(), RTM_GETNEIGH)
            if _is_known_neighbour(message, names)
        ),
        fdb=tuple(
            FdbEntry(ifname=names[message["ifindex"]], mac=message.get_attr("NDA_LLADDR"))
            for message in netlink.dump(forwarding, RTM_GETNEIGH)
            if message["state"] == NUD_NOARP and message.get_attr("NDA_MASTER") and message["ifindex"] in names
        ),
        chains=read_chains(TABLE_PREFIX),
        checks=read_checks(netlink, names),
        notes=tuple(note for message in link_messages if (note := _note(message)).names),
        not_restorable=(
            *_not_restorable(route_messages, names),
            *_temporary(address_messages, names),
            *attached.nexthops(netlink, names),
        ),
        proxies=attached.proxies(netlink, names),
        rules=attached.rules(netlink),
        read_at=int(time.monotonic()),
    )


def _dump_routes(netlink: NetlinkSocket, family: int) -> list[Message]:
    """Return the routes of all tables, but what the kernel puts into `local` for each address by itself."""
    request = rtmsg()
    request["family"] = family
    try:
        return netlink.dump(request, RTM_GETROUTE, passed_over=_is_kernels_own)
    except KernelError as error:
        if error.errno == errno.ENOENT:  # the tables come with the first route (net/ipv4/fib_frontend.c)
            return []
        raise


def _is_kernels_own(message: bytes) -> bool:
    return message[_TABLE_AT] == RT_TABLE_LOCAL and message[_PROTOCOL_AT] == _RTPROT_KERNEL


def _link(message: Message, names: dict[int, str]) -> Link:
    info = message.get_attr("IFLA_LINKINFO")
    kind = (info and info.get_attr("IFLA_INFO_KIND")) or ""
    data = info and info.get_attr("IFLA_INFO_DATA")
    controller = names.get(message.get_attr("IFLA_MASTER"), "")
    per_family = message.get_attr("IFLA_AF_SPEC")
    ipv4 = per_family and per_family.get_attr("AF_INET")
    ipv6 = per_family and per_family.get_attr("AF_INET6")
    ipv6_conf = ipv6 and ipv6.get_attr("IFLA_INET6_CONF")
    return Link(
        ifindex=message["index"],
        ifname=names[message["index"]],
        kind=kind,
        mac=message.get_attr("IFLA_ADDRESS") or "",
        mtu=message.get_attr("IFLA_MTU") or 0,
        up=bool(message["flags"] & _IFF_UP),
        ethernet=message["ifi_type"] == _ARPHRD_ETHER,
        loopback=bool(message["flags"] & _IFF_LOOPBACK),
        controller=controller,
        lower=""
        if message.get_attr("IFLA_LINK_NETNSID") is not None
        else names.get(message.get_attr("IFLA_LINK"), ""),
        mode=_mode(kind, data),
        learning=_flag(info and info.get_nested("IFLA_INFO_SLAVE_DATA", "IFLA_BRPORT_LEARNING"), controller),
        arp_ignore=ipv4["arp_ignore"] if ipv4 else None,
        addr_gen_mode=ipv6.get_attr("IFLA_INET6_ADDR_GEN_MODE") if ipv6 else None,
        accept_ra=ipv6_conf["accept_ra"] if ipv6_conf else None,
        disable_ipv6=ipv6_conf["disable_ipv6"] if ipv6_conf else None,
        **_kind_facts(kind, data),
    )


def _note(message: Message) -> Note:
    properties = message.get_attr("IFLA_PROP_LIST")
    attributes = properties["attrs"] if properties else ()
    names = [name_of(value) for name, value in attributes if name == "IFLA_ALT_IFNAME"]
    return Note(
        name_of(message.get_attr("IFLA_IFNAME")),
        tuple(sorted(name for name in names if name.startswith(NOTE_PREFIX))),
    )


def _kind_facts(kind: str, data: Message) -> dict[str, Any]:
    """What only a bridge or only a tap has."""
    if kind == "bridge":
        return {
            "stp": bool(data.get_attr("IFLA_BR_STP_STATE")),
            "mcast_snooping": _flag(data.get_attr("IFLA_BR_MCAST_SNOOPING")),
        }
    if kind == "tun":
        return {
            "owner": data.get_attr("IFLA_TUN_OWNER"),
            "group": data.get_attr("IFLA_TUN_GROUP"),
            "multi_queue": bool(data.get_attr("IFLA_TUN_MULTI_QUEUE")),
        }
    return {}


def _mode(kind: str, data: Message) -> str:
    if kind in ("macvlan", "macvtap"):
        return str(data.get_attr("IFLA_MACVLAN_MODE"))
    return ""


def _flag(value: int | None, applies: object = True) -> bool | None:
    return None if value is None or not applies else bool(value)


def _address(message: Message, names: dict[int, str]) -> Address:
    cache = message.get_attr("IFA_CACHEINFO") or {}
    shown = message.get_attr("IFA_ADDRESS")
    local = message.get_attr("IFA_LOCAL") or shown
    return Address(
        ifname=names[message["index"]],
        local=local,
        prefixlen=message["prefixlen"],
        peer=shown if shown != local else "",
        broadcast=message.get_attr("IFA_BROADCAST") or "",
        label=message.get_attr("IFA_LABEL") or "",
        scope=message["scope"],
        flags=(message.get_attr("IFA_FLAGS") or message["flags"]) & _ADDRESS_FLAGS,
        metric=message.get_attr("IFA_RT_PRIORITY") or 0,
        protocol=message.get_attr("IFA_PROTO") or 0,
        valid_lifetime=cache.get("ifa_valid", FOREVER),
        preferred_lifetime=cache.get("ifa_preferred", FOREVER),
    )


def _obstacle(message: Message) -> str | None:
    """Name what of this route a `Route` cannot carry."""
    if message["src_len"]:
        return "a source prefix"
    names = {name for name, _value in message["attrs"]} - _ROUTE_ATTRIBUTES
    if names:
        return ", ".join(sorted({_WORDS.get(name, name) for name in names}))
    if message.get_nested("RTA_METRICS", "RTAX_CC_ALGO"):
        return "a congestion control algorithm"
    if not message.get_attr("RTA_OIF"):
        return "no interface"
    return None


def _not_restorable(messages: list[Message], names: dict[int, str]) -> list[tuple[str, str]]:
    found = []
    for message in messages:
        obstacle = _obstacle(message)
        if obstacle is None:
            continue
        hops = message.get_attr("RTA_MULTIPATH") or []
        ifindexes = {message.get_attr("RTA_OIF"), *(hop["oif"] for hop in hops)} & names.keys()
        found += [(names[ifindex], f"route {_destination(message)} with {obstacle}") for ifindex in ifindexes]
    return found


def _temporary(messages: list[Message], names: dict[int, str]) -> Iterator[tuple[str, str]]:
    """Find the addresses that the kernel makes for privacy (RFC 8981): only it can make one."""
    for message in messages:
        flags = message.get_attr("IFA_FLAGS") or message["flags"]
        if message["family"] == socket.AF_INET6 and flags & _IFA_F_TEMPORARY and message["index"] in names:
            address = f"{message.get_attr('IFA_ADDRESS')}/{message['prefixlen']}"
            yield names[message["index"]], f"temporary address {address} (sysctl use_tempaddr)"


def _destination(message: Message) -> str:
    anywhere = "0.0.0.0" if message["family"] == socket.AF_INET else "::"  # noqa: S104 # an address, no bind
    return f"{message.get_attr('RTA_DST') or anywhere}/{message['dst_len']}"


def _route(message: Message, names: dict[int, str]) -> Route:
    via = message.get_attr("RTA_VIA")
    metrics = message.get_attr("RTA_METRICS")
    return Route(
        ifname=names[message.get_attr("RTA_OIF")],
        dst=_destination(message),
        gateway=message.get_attr("RTA_GATEWAY") or (via["addr"] if via else ""),
        metric=message.get_attr("RTA_PRIORITY") or 0,
        prefsrc=message.get_attr("RTA_PREFSRC") or "",
        scope=message["scope"],
        protocol=message["proto"],
        type=message["type"],
        tos=message["tos"],
        flags=message["flags"] & _RTNH_F_ONLINK,
        metrics=tuple(
            sorted((METRIC_NUMBERS[name], value) for name, value in metrics["attrs"]) if metrics else ()
        ),
        pref=message.get_attr("RTA_PREF") or 0,
        lifetime=_lifetime(message.get_attr("RTA_CACHEINFO")),
        table=message.get_attr("RTA_TABLE") or message["table"],
    )


def _lifetime(cache: Message) -> int:
    """Return a route's, of which the kernel speaks in hundredths of a second; less than one is as good as one."""
    ticks = cache["rta_expires"] if cache else 0
    return max(1, ticks // _USER_HZ) if ticks else FOREVER


def _is_known_neighbour(message: Message, names: dict[int, str]) -> bool:
    return (
        message["family"] in (socket.AF_INET, socket.AF_INET6)
        and message["ifindex"] in names
        and not message["state"] & NUD_NOARP
        and message.get_attr("NDA_LLADDR") is not None
    )


def _neighbour(message: Message, names: dict[int, str]) -> Neighbour:
    return Neighbour(
        ifname=names[message["ifindex"]],
        dst=message.get_attr("NDA_DST"),
        mac=message.get_attr("NDA_LLADDR"),
        permanent=bool(message["state"] & NUD_PERMANENT),
        flags=message["flags"] & (NTF_ROUTER | NTF_EXT_LEARNED),
    )
