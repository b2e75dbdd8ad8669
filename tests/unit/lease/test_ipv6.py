"""What the guest is told of IPv6, from what the pod has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.testlib import layouts
from vmnet.lease.ipv6 import lease6, untold
from vmnet.model.lease import Lease6, LeasedAddress, Resolver, Router
from vmnet.model.links import Address, Neighbour, Route
from vmnet.model.pod import PodInterface
from vmnet.model.settings import Settings, Told
from vmnet.plumbing.discover import discover

SYNTHETIC = "fe80::766d:6e65:7401"
CALICO = "fe80::ecee:eeff:feee:eeee"
POD = PodInterface(
    "eth0",
    2,
    "02:00:00:00:00:01",
    1450,
    addresses=(
        Address("eth0", "10.0.0.5", 24),
        Address("eth0", "fd00::5", 64),
        Address("eth0", "fe80::5", 64, scope=253),
    ),
    routes=(
        Route("eth0", "0.0.0.0/0", "10.0.0.1"),
        Route("eth0", "fd00::/64", metric=256, protocol=2),
        Route("eth0", "fe80::/64", metric=256, protocol=2),
        Route("eth0", "::/0", "fd00::1", metric=1024),
    ),
)
RESOLVER = Resolver(("10.96.0.10", "fd00::10"), ("svc.cluster.local",))


def of(resolver: Resolver = RESOLVER, settings: Settings | None = None, **changed: object) -> Lease6:
    told = lease6(replace(POD, **changed), resolver, settings or Settings())  # type: ignore[arg-type]
    assert told is not None
    return told


def test_a_plain_pod_is_carried_over_in_full() -> None:
    assert of(settings=Settings(hostname="web-0.default")) == Lease6(
        chaddr="02:00:00:00:00:01",
        server_address="fe80::766d:6e65:7400",
        addresses=(LeasedAddress("fd00::5", 86400, 86400),),
        routers=(Router(SYNTHETIC, "fd00::1", is_default=True),),
        prefixes=("fd00::/64",),
        mtu=1450,
        nameservers=("fd00::10",),
        domain_search=("svc.cluster.local",),
        hostname="web-0",
    )


@pytest.mark.parametrize(
    ("layout", "address", "router", "prefixes", "mtu"),
    [
        (
            "bridge-dual",
            "fd00:10:246:1::2",
            Router(SYNTHETIC, "fd00:10:246:1::1", is_default=True),
            ("fd00:10:246:1::/64",),
            1500,
        ),
        (
            "calico-dual",
            "fd00:10:244:0:cd5f:a1bc:6e01:9c03",
            Router(CALICO, CALICO, mac="ee:ee:ee:ee:ee:ee", is_default=True),
            (),
            1480,
        ),
        ("cilium", "fd00:c1::77", Router(SYNTHETIC, "fd00:c1::1", is_default=True), (), 1450),
        (
            "ptp-dual",
            "fd00:10:247:1::2",
            Router(
                SYNTHETIC,
                "fd00:10:247:1::1",
                mac="92:2c:d6:58:26:5a",
                is_default=True,
                routes=("fd00:10:247:1::/64",),
            ),
            (),
            1500,
        ),
    ],
)
def test_layout(layout: str, address: str, router: Router, prefixes: tuple[str, ...], mtu: int) -> None:
    told = lease6(discover(layouts.status(layout)), RESOLVER, Settings())
    assert told is not None
    assert told.addresses == (LeasedAddress(address, 86400, 86400),)
    assert (told.routers, told.prefixes, told.mtu) == ((router,), prefixes, mtu)
    assert told.warnings == ()


@pytest.mark.parametrize("layout", layouts.NAMES)
def test_every_other_layout_has_no_ipv6(layout: str) -> None:
    pod = discover(layouts.status(layout))
    has_ipv6 = layout in ("bridge-dual", "calico-dual", "cilium", "ptp-dual")
    assert (lease6(pod, RESOLVER, Settings()) is not None) is has_ipv6
    assert lease6(pod, RESOLVER, Settings(told=Told(ipv6=False))) is None
    assert untold(pod, Settings()) == ()


@pytest.mark.parametrize(
    ("changed", "settings", "words"),
    [
        ({"addresses": POD.addresses[::2]}, Settings(), ()),
        ({}, Settings(told=Told(ipv6=False)), ()),
        ({"mtu": 1279}, Settings(told=Told(ipv6=False)), ()),
        ({"mtu": 1279}, Settings(), ("address fd00::5/64: the MTU 1279 is below the IPv6 minimum of 1280",)),
        ({}, Settings(mtu=1000), ("address fd00::5/64: the MTU 1000 is below the IPv6 minimum of 1280",)),
    ],
)
def test_where_nothing_is_told_it_is_said_why_unless_it_is_wished(
    changed: dict[str, Any], settings: Settings, words: tuple[str, ...]
) -> None:
    pod = replace(POD, **changed)
    assert lease6(pod, RESOLVER, settings) is None
    assert tuple(sentence.partition(", ")[0] for sentence in untold(pod, settings)) == words


def test_addresses_are_no_longer_the_guest_s_than_the_pod_s_and_the_deprecated_come_last() -> None:
    told = of(
        addresses=(
            Address("eth0", "fd00::1:1", 64, preferred_lifetime=0, valid_lifetime=7200),
            Address("eth0", "fd00::1:2", 64, flags=0x20),
            Address("eth0", "fd00::1:3", 64, preferred_lifetime=1800, valid_lifetime=3600),
            Address("eth0", "fe80::1:4", 64, scope=253),
            Address("eth0", "fd00::1:5", 128),
            Address("eth0", "fec0::6", 64, scope=200),
        ),
        settings=Settings(told=Told(lease_time=3000)),
    )
    assert told.addresses == (
        LeasedAddress("fd00::1:3", 1800, 3000),
        LeasedAddress("fd00::1:5", 3000, 3000),
        LeasedAddress("fd00::1:1", 0, 3000),
        LeasedAddress("fd00::1:2", 0, 3000),
    )


def test_what_is_configured_is_told_instead_of_what_the_pod_has() -> None:
    given = Told(
        nameservers=("10.0.0.53", "fd00::53"),
        domain_search=("example.org",),
        ntp_servers=("10.0.0.123", "fd00::123"),
        autonomous=True,
        nat64_prefix="64:ff9b::/96",
    )
    told = of(
        Resolver((), (), ("resolv.conf: a",)),
        Settings(told=given, mac="02:AA:00:00:00:02", mtu=1400, allow_addresses=("fd00::/64",)),
    )
    assert (told.chaddr, told.mtu, told.autonomous) == ("02:aa:00:00:00:02", 1400, True)
    assert (told.nameservers, told.domain_search) == (("fd00::53",), ("example.org",))
    assert (told.ntp_servers, told.nat64_prefix) == (("fd00::123",), "64:ff9b::/96")
    assert told.warnings == ()


@pytest.mark.parametrize("length", [32, 40, 48, 56, 64, 96])
def test_a_nat64_prefix_of_a_length_that_rfc_8781_has(length: int) -> None:
    prefix = f"2001:db8::/{length}"
    assert of(settings=Settings(told=Told(nat64_prefix=prefix))).nat64_prefix == prefix


@pytest.mark.parametrize(
    "prefix", ["2001:db8::/33", "2001:db8::/128", "2001:db8::", "2001:db8::1/96", "x/96", "::/x"]
)
def test_any_other_nat64_prefix_is_left_out_with_a_warning(prefix: str) -> None:
    told = of(settings=Settings(told=Told(nat64_prefix=prefix)))
    assert told.nat64_prefix == ""
    assert [prefix in warning for warning in told.warnings] == [True]


@pytest.mark.parametrize(("dhcp", "served"), [("on", True), ("off", False), ("external", False)])
def test_who_answers_the_guest(dhcp: str, served: bool) -> None:
    assert of(settings=Settings(dhcp=dhcp)).served is served


def test_everything_that_is_wrong_is_said() -> None:
    told = of(
        Resolver(("nonsense:",), (), ("resolv.conf: a",), ("resolv.conf: b",)),
        Settings(mtu=9000, hostname=".svc", told=Told(nat64_prefix="x")),
        routes=(Route("eth0", "fd00:7::/64", type=7),),
        neighbours=(Neighbour("eth0", "fd00::9", "02:00:00:00:00:09", permanent=True),),
    )
    for words in (
        "route fd00:7::/64",
        "neighbour fd00::9",
        "resolv.conf: a",
        "resolv.conf: b",
        "MTU 9000",
        "'.svc'",
    ):
        assert any(words in warning for warning in told.warnings), words
    assert len(told.warnings) == 7
