"""What is told by both families, and what is said where neither can."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vmnet.lease import shared
from vmnet.lease.ipv4 import lease
from vmnet.lease.ipv6 import lease6
from vmnet.model.lease import Leases, Resolver
from vmnet.model.links import Address, Route
from vmnet.model.pod import PodInterface
from vmnet.model.settings import Settings, Told

IPV4, IPV6 = Address("eth0", "10.0.0.5", 24), Address("eth0", "fd00::5", 64)
DUAL = PodInterface("eth0", 2, "02:00:00:00:00:01", 1500, addresses=(IPV4, IPV6))
ONLY_IPV4, ONLY_IPV6 = replace(DUAL, addresses=(IPV4,)), replace(DUAL, addresses=(IPV6,))
NOTHING_LEFT = "there is no nameserver to hand over: the guest resolves no names"


def said(servers: tuple[str, ...], pod: PodInterface = DUAL, given: Told | None = None) -> tuple[object, ...]:
    """Name servers by family, and of which ones something is said."""
    ipv4, ipv6, warnings = shared.nameservers(pod, Resolver(servers), Settings(told=given or Told()))
    return ipv4, ipv6, [warning.removeprefix("nameserver ").partition(": ")[0] for warning in warnings]


@pytest.mark.parametrize(
    ("servers", "pod", "expected"),
    [
        (("10.0.0.1", "fd00::1"), DUAL, (("10.0.0.1",), ("fd00::1",), [])),
        (("fd00::1",), DUAL, ((), ("fd00::1",), [])),
        (("10.0.0.1",), DUAL, (("10.0.0.1",), (), [])),
        (("10.0.0.1", "fd00::1"), ONLY_IPV4, (("10.0.0.1",), (), ["fd00::1"])),
        (("10.0.0.1", "fd00::1"), ONLY_IPV6, ((), ("fd00::1",), ["10.0.0.1"])),
        (("fe80::1", "fd00::1"), DUAL, ((), ("fd00::1",), ["fe80::1"])),
    ],
)
def test_a_nameserver_is_told_by_its_own_family(
    servers: tuple[str, ...], pod: PodInterface, expected: object
) -> None:
    assert said(servers, pod) == expected


@pytest.mark.parametrize(
    ("pod", "expected", "unsaid"),
    [
        (DUAL, (("10.0.0.123",), ("fd00::123",)), []),
        (ONLY_IPV4, (("10.0.0.123",), ()), ["NTP server fd00::123: the guest is told nothing of IPv6"]),
        (ONLY_IPV6, ((), ("fd00::123",)), ["NTP server 10.0.0.123: the guest is told nothing of IPv4"]),
    ],
)
def test_so_is_a_time_server_and_none_need_be_there(
    pod: PodInterface, expected: object, unsaid: list[str]
) -> None:
    *by_family, warnings = shared.ntp_servers(pod, Settings(told=Told(ntp_servers=("fd00::123", "10.0.0.123"))))
    assert tuple(by_family) == expected
    assert [warning.partition(", ")[0] for warning in warnings] == unsaid
    assert shared.ntp_servers(pod, Settings()) == ((), (), [])


@pytest.mark.parametrize(
    ("servers", "pod"), [((), DUAL), (("fd00::1",), ONLY_IPV4), (("10.0.0.1",), ONLY_IPV6), (("fe80::1",), DUAL)]
)
def test_that_there_is_none_is_said_where_neither_family_has_one(
    servers: tuple[str, ...], pod: PodInterface
) -> None:
    assert shared.nameservers(pod, Resolver(servers), Settings())[2][-1] == NOTHING_LEFT


def test_nobody_misses_ipv6_who_has_switched_it_off() -> None:
    off = Told(ipv6=False)
    assert said(("10.0.0.1", "fd00::1"), given=off) == (("10.0.0.1",), (), [])
    assert shared.nameservers(DUAL, Resolver(("fd00::1",)), Settings(told=off))[2] == [NOTHING_LEFT]


def test_what_is_configured_takes_the_place_of_the_pod_s() -> None:
    assert said(("10.0.0.1", "fe80::1"), given=Told(nameservers=("fd00::7",))) == ((), ("fd00::7",), [])


@pytest.mark.parametrize(
    ("device", "route_mtu", "wished", "mtu", "is_told"),
    [
        (1500, None, None, 1500, True),
        (1500, 1450, None, 1450, True),
        (1450, 1500, None, 1450, True),
        (1500, 1450, 1400, 1400, True),
        (1280, None, None, 1280, True),
        (1279, None, None, 1279, False),
        (1500, 1279, None, 1279, False),
        (1500, None, 1000, 1000, False),
    ],
)
def test_mtu(device: int, route_mtu: int | None, wished: int | None, mtu: int, is_told: bool) -> None:
    default = Route("eth0", "::/0", "fd00::1", metrics=((2, route_mtu),) if route_mtu else ())
    pod = replace(DUAL, mtu=device, routes=(default, Route("eth0", "::/0", "fd00::2", metric=2048)))
    assert shared.ipv6_mtu(pod, Settings(mtu=wished)) == mtu
    assert shared.is_told_ipv6(pod, Settings(mtu=wished)) is is_told


def test_what_both_families_warn_of_is_said_once() -> None:
    settings = Settings(hostname="x" * 64, mtu=9000)
    resolver = Resolver((), (), ("resolv.conf: a",), ("resolv.conf: b",))
    both = Leases(DUAL.mac, lease(DUAL, resolver, settings), lease6(DUAL, resolver, settings))
    assert both.lease
    assert both.lease6
    assert set(both.lease.warnings) & set(both.lease6.warnings)
    assert len(both.warnings) == len(set(both.warnings))
    assert set(both.warnings) == {*both.lease.warnings, *both.lease6.warnings}
