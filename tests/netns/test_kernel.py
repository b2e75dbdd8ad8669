"""read and apply against the real kernel: what iproute2 put there is read, taken away and given back the same.

┌ pod ───────────────────┐
│ eth0 ── (node, unused) │   addresses, routes and neighbours of every kind the model carries
└────────────────────────┘
"""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from testbed.netns import PREFIX, Netns, entered, netns, run
from testbed.snapshot import difference, look
from tests.extent import amount
from vmnet.errors import KernelError
from vmnet.kernel.apply import apply
from vmnet.kernel.inspect import link_states
from vmnet.kernel.netlink import NetlinkSocket
from vmnet.kernel.read import read
from vmnet.model.change import AddEntry, AlterLink, CreateLink, DeleteEntry, DeleteLink
from vmnet.model.links import Address, LinkSpec, Route

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.model.links import LinkEntry, Status


NO_UTF8 = os.fsdecode(b"\xff\xfe")


@pytest.fixture
def namespace() -> Iterator[Netns]:
    """Make a namespace with one veth that is up and has 10.0.0.5/24."""
    with netns() as made:
        made.sysctl("ipv6/conf/default/accept_dad", 0)
        made.ip_batch(
            "link add eth0 address 02:00:00:00:00:05 type veth peer name far",
            "link set far up",
            "link set eth0 up",
            "address add 10.0.0.5/24 broadcast + dev eth0",
        )
        while not _is_settled(made):
            pass  # the kernel tells of carriers up to a second late (net/core/link_watch.c)
        yield made


def _is_settled(namespace: Netns) -> bool:
    """Whether both ends of the veth are up and have the addresses that come with that."""
    ends = [link for link in namespace.ip("address", "show") if link["ifname"] != "lo"]
    return all(link["operstate"] == "UP" for link in ends) and all(
        any(entry["family"] == "inet6" for entry in link["addr_info"]) for link in ends
    )


@contextmanager
def _door(namespace: Netns) -> Iterator[NetlinkSocket]:
    with entered(namespace), NetlinkSocket() as netlink:
        yield netlink


def _entries(status: Status) -> set[LinkEntry]:
    permanent = (neighbour for neighbour in status.neighbours if neighbour.permanent)
    entries: tuple[LinkEntry, ...] = (*status.addresses, *status.routes, *status.fdb, *permanent)
    return {entry for entry in entries if entry.ifname == "eth0"}


@pytest.mark.parametrize(
    "line",
    [
        "address add 10.9.0.1/32 dev eth0",
        "address add 10.9.0.1/24 broadcast 10.9.0.255 dev eth0 label eth0:x",
        "address add 10.9.0.1 peer 10.9.0.2/30 dev eth0",
        "address add 10.9.0.1/24 dev eth0 metric 77 noprefixroute",
        "address add 10.9.0.1/24 dev eth0 scope link",
        "address add fd00::5/64 dev eth0 nodad",
        "address add fd00::5/128 dev eth0 nodad noprefixroute",
        "route add 10.1.0.0/16 via 10.0.0.1 dev eth0",
        "route add default via 10.0.0.1 dev eth0 metric 100 mtu 1400 advmss 1300 initcwnd 20",
        "route add 169.254.1.1 dev eth0 scope link",
        "route add default via 169.254.9.9 dev eth0 onlink",
        "route add 10.2.0.0/16 via 10.0.0.1 dev eth0 src 10.0.0.5 proto static tos 0x10",
        "route add 10.3.0.0/16 via inet6 fe80::1 dev eth0",
        "-6 route add fd01::/64 via fe80::1 dev eth0 metric 512 mtu 1400 pref high",
        "-6 route add default via fe80::1 dev eth0",
        "-6 route add default via fe80::1 dev eth0 proto ra metric 1024 expires 1800",
        "-6 route add fd01::/64 dev eth0 hoplimit 60 expires 90",
        "address add fd00::5/128 dev eth0 nodad preferred_lft 0",
        "address add fd00::5/64 dev eth0 nodad preferred_lft 300",
        "address add fd00::5/64 dev eth0 nodad valid_lft 600 preferred_lft 0",
        "address add fd00::5 peer fd00::6 dev eth0 nodad",
        "neighbour add 10.0.0.1 lladdr 02:00:00:00:00:01 nud permanent dev eth0",
        "neighbour add fe80::1 lladdr 02:00:00:00:00:01 nud permanent router dev eth0",
    ],
)
def test_what_iproute2_adds_is_read_taken_away_and_given_back_the_same(line: str, namespace: Netns) -> None:
    with _door(namespace) as netlink:
        before = _entries(read(netlink))
        namespace.run("ip", *line.split())
        shown = look(namespace)
        added = _entries(read(netlink)) - before
        assert added

        for entry in sorted(added, key=lambda entry: isinstance(entry, Address)):
            apply(netlink, DeleteEntry(entry))
        assert _entries(read(netlink)) == before

        for entry in sorted(added, key=lambda entry: isinstance(entry, Route)):
            apply(netlink, AddEntry(entry))
        assert difference(shown, look(namespace)) == ""


@pytest.mark.parametrize(
    "line",
    [
        "route add 10.1.0.0/16 nexthop via 10.0.0.1 dev eth0 nexthop via 10.0.0.2 dev eth0",
        "-6 route add fd02::/64 from fd03::/64 dev eth0",
    ],
)
def test_a_route_that_cannot_be_given_back_is_named_with_its_link(line: str, namespace: Netns) -> None:
    namespace.run("ip", *line.split())
    with _door(namespace) as netlink:
        status = read(netlink)
    [(ifname, what)] = set(status.not_restorable)
    assert ifname == "eth0"
    assert "several next hops" in what or "a source prefix" in what


def test_links_are_read_as_they_are(namespace: Netns) -> None:
    namespace.ip_batch(
        "link add br0 address 02:00:00:00:00:0b mtu 1400 type bridge stp_state 1 mcast_snooping 0",
        "tuntap add tap7 mode tap user 107 group 108 multi_queue",
        "link set tap7 mtu 1400",
        "link set tap7 master br0",
        "link set tap7 type bridge_slave learning off",
        "link add macvlan0 link far type macvlan mode vepa",
    )
    with _door(namespace) as netlink:
        status = read(netlink)
    br0, tap7, macvlan0, lo = map(status.link, ("br0", "tap7", "macvlan0", "lo"))
    assert br0 is not None
    assert (br0.kind, br0.mac, br0.up) == ("bridge", "02:00:00:00:00:0b", False)
    assert (br0.mtu, br0.stp, br0.mcast_snooping) == (1400, True, False)
    assert tap7 is not None
    assert (tap7.kind, tap7.owner, tap7.group, tap7.multi_queue) == ("tun", 107, 108, True)
    assert (tap7.controller, tap7.learning) == ("br0", False)
    assert macvlan0 is not None
    assert (macvlan0.kind, macvlan0.mode) == ("macvlan", "vepa")
    assert lo is not None
    assert lo.loopback
    assert not lo.ethernet


def test_a_namespace_that_never_had_a_route_is_read() -> None:
    """Not even lo's: as a runtime makes it, before the CNI comes."""
    untouched = Netns(f"{PREFIX}{secrets.token_hex(4)}")
    run(["ip", "netns", "add", untouched.name])
    try:
        with entered(untouched), NetlinkSocket() as netlink:
            status = read(netlink)
    finally:
        run(["ip", "netns", "delete", untouched.name])
    assert [link.ifname for link in status.links] == ["lo"]
    assert status.routes == ()


def test_what_is_already_there_or_already_gone_is_no_error(namespace: Netns) -> None:
    route = Route("eth0", "10.1.0.0/16", "10.0.0.1")
    address = Address("eth0", "10.0.0.5", 24, broadcast="10.0.0.255", label="eth0")
    with _door(namespace) as netlink:
        before = look(namespace)
        apply(netlink, AddEntry(address))
        apply(netlink, DeleteEntry(route))
        apply(netlink, DeleteLink("gone", 999))
        apply(netlink, DeleteEntry(Address("gone", "10.0.0.5", 24)))
        apply(netlink, CreateLink(LinkSpec("eth0", kind="bridge", mac="02:00:00:00:00:0b", mtu=1500)))
        assert difference(before, look(namespace)) == ""


def test_what_the_kernel_refuses_names_the_change_and_the_reason(namespace: Netns) -> None:
    with _door(namespace) as netlink:
        with pytest.raises(
            KernelError, match=r"add route 10.1.0.0/16 via 10.99.0.1 on eth0: Network is unreachable"
        ):
            apply(netlink, AddEntry(Route("eth0", "10.1.0.0/16", "10.99.0.1")))
        with pytest.raises(KernelError, match="set gone mtu=1400: No such device"):
            apply(netlink, AlterLink("gone", (("mtu", 1400),)))


def test_a_dump_is_whole_while_others_change_the_tables(namespace: Netns) -> None:
    """512 routes, read again and again while routes come and go."""
    lines = [
        f"route add 10.{64 + number // 256}.{number % 256}.0/24 via 10.0.0.1 dev eth0" for number in range(512)
    ]
    namespace.ip_batch(*lines)
    with _door(namespace) as netlink, _door(namespace) as other:
        for number in range(amount(8, 30)):
            extra = Route("eth0", f"10.200.{number}.0/24", "10.0.0.1")
            apply(other, AddEntry(extra))
            routes = [route for route in read(netlink).routes if route.gateway == "10.0.0.1"]
            apply(other, DeleteEntry(extra))
            assert len(routes) == 513


def test_names_that_are_no_utf8_are_read(namespace: Netns) -> None:
    """Whoever has CAP_NET_ADMIN in the pod may give them."""
    namespace.run("ip", "link", "property", "add", "dev", "eth0", "altname", f"{NO_UTF8}2")
    namespace.run("ip", "link", "add", "name", NO_UTF8, "type", "bridge")
    with entered(namespace), NetlinkSocket() as netlink:
        status = read(netlink)
        assert {link.ifname for link in status.links} == {"lo", "eth0", "far", r"\xff\xfe"}
        assert {state.ifname for state in link_states(netlink)} == {"lo", "eth0", "far", r"\xff\xfe"}
