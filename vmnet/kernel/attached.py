"""What hangs on links besides addresses, routes and neighbours: rules, proxied neighbours, nexthop objects.

The messages are read by hand: pyroute2's classes for them would cost `vmnet up` a millisecond each.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING

from vmnet.errors import KernelError
from vmnet.kernel.netlink import (
    NTF_PROXY,
    NTF_ROUTER,
    RTM_GETNEIGH,
    RTM_GETNEXTHOP,
    RTM_GETRULE,
    attributes,
)
from vmnet.model.links import ProxyNeighbour, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.kernel.netlink import NetlinkSocket

_HEADER = 16
_FIB_RULE = struct.Struct("=8BI")
"""struct fib_rule_hdr (linux/fib_rules.h): family, dst_len, src_len, tos, table, two reserved, action; flags."""
_FR_ACT_TO_TBL, _FR_ACT_GOTO, _FR_ACT_NOP, _FR_ACT_BLACKHOLE = 1, 2, 3, 6
_FIB_RULE_INVERT = 0x02
_FRA_SRC, _FRA_IIFNAME, _FRA_PRIORITY, _FRA_SUPPRESS_PREFIXLEN, _FRA_TABLE = 2, 3, 6, 14, 15
_FRA_PLAIN = frozenset({_FRA_SRC, _FRA_PRIORITY, _FRA_SUPPRESS_PREFIXLEN, _FRA_TABLE, 18, 21})
"""What asks nothing of a packet beyond its source; 18 is FRA_PAD, 21 FRA_PROTOCOL, who made the rule."""
_LOCALLY_SENT = b"lo\0"
"""The input interface of what the pod itself sends (net/core/fib_rules.c, fib_rule_match)."""
_NDMSG = struct.Struct("=BBHiHBB")
_NDA_DST, _NDA_PROTOCOL = 1, 12
_NHA_ID, _NHA_OIF = 1, 5
_NHMSG = 8
"""Octets of struct nhmsg (linux/nexthop.h)."""
_NOT_HERE = (errno.EOPNOTSUPP, errno.EAFNOSUPPORT, errno.EINVAL)
"""A kernel without policy routing, without IPv6, or without nexthop objects (before Linux 5.3)."""


def rules(netlink: NetlinkSocket) -> tuple[Rule, ...]:
    """Return the rules of policy routing of both families, by priority; of two equal ones in the kernel's order.

    Raises:
        KernelError: the kernel refused.
    """
    found: list[Rule] = []
    for family in (socket.AF_INET, socket.AF_INET6):
        request = _FIB_RULE.pack(family, *(0,) * 7, 0)
        for message in _dump(netlink, request, RTM_GETRULE):
            found += _rule(message)
    return tuple(sorted(found, key=lambda rule: rule.priority))


def _rule(message: bytes) -> Iterator[Rule]:
    header = _FIB_RULE.unpack_from(message, _HEADER)
    family, dst_length, src_length, tos, table, _, _, action, flags = header
    told = dict(attributes(message[_HEADER + _FIB_RULE.size :]))
    if action in (_FR_ACT_GOTO, _FR_ACT_NOP) or _FR_ACT_BLACKHOLE > action > _FR_ACT_TO_TBL:
        return  # a jump; what it passes over is asked here all the same
    asks_more = dst_length or tos or told.keys() - _FRA_PLAIN - {_FRA_IIFNAME}
    sent_by_pod = told.get(_FRA_IIFNAME, _LOCALLY_SENT) == _LOCALLY_SENT
    src = socket.inet_ntop(family, told[_FRA_SRC]) if src_length else ""
    yield Rule(
        ipv6=family == socket.AF_INET6,
        priority=_number(told.get(_FRA_PRIORITY)),
        table=_number(told.get(_FRA_TABLE), table) if action == _FR_ACT_TO_TBL else 0,
        src=f"{src}/{src_length}" if src else "",
        selective=bool(asks_more) or not sent_by_pod,
        inverted=bool(flags & _FIB_RULE_INVERT),
        suppress_prefixlen=_signed(told.get(_FRA_SUPPRESS_PREFIXLEN)),
    )


def proxies(netlink: NetlinkSocket, names: dict[int, str]) -> tuple[ProxyNeighbour, ...]:
    """Return the addresses that the pod answers for on a link without having them.

    Raises:
        KernelError: the kernel refused.
    """
    found = []
    for family in (socket.AF_INET, socket.AF_INET6):
        request = _NDMSG.pack(family, 0, 0, 0, 0, NTF_PROXY, 0)
        for message in _dump(netlink, request, RTM_GETNEIGH):
            _, _, _, ifindex, _, flags, _ = _NDMSG.unpack_from(message, _HEADER)
            told = dict(attributes(message[_HEADER + _NDMSG.size :]))
            if ifindex in names and flags & NTF_PROXY:
                dst = socket.inet_ntop(family, told[_NDA_DST])
                protocol = told.get(_NDA_PROTOCOL, b"\0")[0]
                found.append(ProxyNeighbour(names[ifindex], dst, flags & NTF_ROUTER, protocol))
    return tuple(found)


def nexthops(netlink: NetlinkSocket, names: dict[int, str]) -> tuple[tuple[str, str], ...]:
    """Return (ifname, what) of every nexthop object (ip-nexthop(8)) that leads out by a link.

    Raises:
        KernelError: the kernel refused.
    """
    found = []
    for message in _dump(netlink, bytes(_NHMSG), RTM_GETNEXTHOP):
        told = dict(attributes(message[_HEADER + _NHMSG :]))
        ifname = names.get(_number(told.get(_NHA_OIF)))
        if ifname:
            found.append((ifname, f"nexthop object with the id {_number(told.get(_NHA_ID))}"))
    return tuple(found)


def _dump(netlink: NetlinkSocket, request: bytes, operation: int) -> list[bytes]:
    try:
        return netlink.dump_bytes(request, operation)
    except KernelError as error:
        if error.errno in _NOT_HERE:
            return []
        raise


def _number(value: bytes | None, default: int = 0) -> int:
    return default if value is None else struct.unpack("=I", value[:4])[0]


def _signed(value: bytes | None) -> int:
    return -1 if value is None else struct.unpack("=i", value[:4])[0]
