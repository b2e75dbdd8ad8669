"""Everything that changes in a namespace while one looks, as the kernel tells it.

Links that change are not told: the kernel itself announces carriers up to a second late (linkwatch). Compare two
looks (`testbed.pods.look`) for those; links that come and go are told here.
"""

from __future__ import annotations

import socket
import struct
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from testbed.netns import Netns, TestbedError, entered
from testbed.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NETLINK_NETFILTER = 12
SOL_NETLINK = 270
NETLINK_ADD_MEMBERSHIP = 1
GROUPS = {
    socket.NETLINK_ROUTE: (1, 5, 7, 8, 9, 11, 19),
    NETLINK_NETFILTER: (7,),
}
"""Links, addresses, routes and rules of both families; nftables. Not neighbours: those come with the traffic."""
NAMES = {
    17: "a link was deleted",
    20: "an address was added",
    21: "an address was deleted",
    24: "a route was added",
    25: "a route was deleted",
    32: "a rule was added",
    33: "a rule was deleted",
}
"""linux/rtnetlink.h."""
RTM_NEWLINK = 16
RTMGRP_LINK, RTMGRP_NEIGH, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE = 0x1, 0x4, 0x40, 0x100, 0x400
ROUTES_AND_IPV6_ADDRESSES = RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE
HEADER = struct.Struct("=IHHII")
NFNL_SUBSYS_NFTABLES = 10
NFT_MSG_NEWGEN = NFNL_SUBSYS_NFTABLES << 8 | 15
LOCK_TABLE = b"vmnet_lock\0"
"""Of vmnet.kernel.netns_lock."""


class Watch:
    """Sockets that were listening from the first moment; the kernel queues what changes."""

    def __init__(self, sockets: list[socket.socket]) -> None:
        self._sockets = sockets

    def changes(self) -> list[str]:
        """Give what has changed since the last call, one line each."""
        return [line for source in self._sockets for line in _drain(source)]


@contextmanager
def watched(namespace: Netns) -> Iterator[Watch]:
    """Look at a namespace until the block ends."""
    sockets = []
    try:
        for protocol, groups in GROUPS.items():
            with entered(namespace):
                listening = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
            sockets.append(listening)
            listening.bind((0, 0))
            for group in groups:
                listening.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
            listening.setblocking(False)
        yield Watch(sockets)
    finally:
        for listening in sockets:
            listening.close()


def wait_for_default_route(namespace: Netns, timeout: float, family: str = "-4") -> None:
    """Wait until packets know a way out of a namespace."""
    wait_until(
        namespace,
        lambda: bool(namespace.ip(family, "route", "show", "default")),
        f"an IPv{family[1:]} default route",
        timeout,
    )


def wait_for_sure_addresses(namespace: Netns, timeout: float = PATIENCE) -> None:
    """Wait until the detection of duplicates has ended for every IPv6 address; a duplicate is an error."""
    links: list[Any] = []

    def are_sure() -> bool:
        links[:] = namespace.ip("-6", "address")
        return not _flagged(links, "tentative")

    wait_until(namespace, are_sure, "sure addresses", timeout)
    if duplicates := _flagged(links, "dadfailed"):
        raise TestbedError(f"somebody else has an address of {namespace.name}: {duplicates}")


def _flagged(links: list[Any], flag: str) -> list[str]:
    """The addresses in the output of `ip -j address` that have this flag."""
    return [info["local"] for link in links for info in link.get("addr_info", ()) if info.get(flag)]


def wait_for_ip(
    namespace: Netns, group: int, question: str, shown: Callable[[list[Any]], bool], timeout: float = PATIENCE
) -> None:
    """Wait until what `ip QUESTION` shows in a namespace is so; asked anew with each news of that group."""
    wait_until(
        namespace, lambda: shown(namespace.ip(*question.split())), f"`ip {question}` to show it", timeout, group
    )


def wait_until(
    namespace: Netns,
    there: Callable[[], bool],
    what: str,
    timeout: float,
    groups: int = ROUTES_AND_IPV6_ADDRESSES,
) -> None:
    """Wait until something is there that comes with news of these groups; look at each of them."""
    deadline = time.monotonic() + timeout
    with entered(namespace), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as news:
        news.bind((0, groups))
        while not there():
            news.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                news.recv(1 << 17)
            except TimeoutError:
                raise TestbedError(f"{namespace.name}: waited {timeout} s for {what}") from None


def _drain(source: socket.socket) -> Iterator[str]:
    while True:
        try:
            data = source.recv(1 << 17)
        except BlockingIOError:
            return
        while len(data) >= HEADER.size:
            length, kind, *_ = HEADER.unpack_from(data)
            payload = data[HEADER.size : length]
            if kind != RTM_NEWLINK and not _is_the_lock(kind, payload):
                yield _line(kind, payload)
            data = data[length + -length % 4 :]


def _is_the_lock(kind: int, payload: bytes) -> bool:
    """Whether this tells of the table that each agent makes while it works, or only that something was told of."""
    return kind == NFT_MSG_NEWGEN or (kind >> 8 == NFNL_SUBSYS_NFTABLES and LOCK_TABLE in payload)


def _line(kind: int, payload: bytes) -> str:
    if kind >> 8 == NFNL_SUBSYS_NFTABLES:
        return f"the firewall was changed (message {kind & 0xFF})"
    ifindex = struct.unpack_from("=i", payload, 4)[0]
    where = f" (ifindex {ifindex})" if kind < 24 else ""
    return NAMES.get(kind, f"message {kind}") + where
