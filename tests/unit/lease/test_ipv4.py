"""What the guest is told, from what the pod has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from vmnet.errors import RefusedError
from vmnet.lease.ipv4 import lease
from vmnet.model.lease import ArpEntry, Lease, Resolver
from vmnet.model.links import Address, Neighbour, Route
from vmnet.model.pod import PodInterface
from vmnet.model.settings import Boot, RawOption, Settings, Told

POD = PodInterface(
    "eth0",
    2,
    "02:00:00:00:00:01",
    1450,
    addresses=(Address("eth0", "10.0.0.5", 24, broadcast="10.0.0.255"),),
    routes=(Route("eth0", "0.0.0.0/0", "10.0.0.1"), Route("eth0", "10.0.0.0/24", scope=253)),
)
RESOLVER = Resolver(("10.96.0.10",), ("svc.cluster.local",))


def of(resolver: Resolver = RESOLVER, settings: Settings | None = None, **changed: object) -> Lease:
    return lease(replace(POD, **changed), resolver, settings or Settings())  # type: ignore[arg-type]


def test_a_plain_pod_is_carried_over_in_full() -> None:
    told = of()
    assert (told.chaddr, told.yiaddr, told.prefixlen) == ("02:00:00:00:00:01", "10.0.0.5", 24)
    assert (told.router, told.broadcast, told.interface_mtu) == ("10.0.0.1", "10.0.0.255", 1450)
    assert (told.nameservers, told.domain_search) == (("10.96.0.10",), ("svc.cluster.local",))
    assert [(route.dst, route.gateway) for route in told.classless_routes] == [("0.0.0.0/0", "10.0.0.1")]
    assert told.lease_time == 86400
    assert told.warnings == ()


@pytest.mark.parametrize("prefixlen", [8, 24, 30, 31, 32])
def test_the_mask_is_as_it_is(prefixlen: int) -> None:
    routes = (Route("eth0", f"10.0.0.8/{prefixlen}"),)
    assert of(addresses=(Address("eth0", "10.0.0.9", prefixlen),), routes=routes).prefixlen == prefixlen


def test_a_guest_whose_link_is_smaller_than_its_subnet_is_told_no_broadcast_address() -> None:
    told = of(addresses=(Address("eth0", "10.1.0.9", 16, broadcast="10.1.255.255"),))
    assert (told.prefixlen, told.broadcast) == (32, "")


def test_the_first_usable_ipv4_address_is_the_guest_s_and_every_other_of_ipv4_is_warned_of() -> None:
    told = of(
        addresses=(
            Address("eth0", "169.254.3.4", 16, scope=253),
            Address("eth0", "10.0.0.4", 24, preferred_lifetime=0),
            Address("eth0", "10.0.0.3", 24, flags=0x20),
            Address("eth0", "fe80::1", 64, scope=253),
            Address("eth0", "fd00::5", 64),
            Address("eth0", "10.0.0.5", 24),
            Address("eth0", "10.0.0.6", 24),
        )
    )
    assert told.yiaddr == "10.0.0.5"
    assert [warning.split(":")[0] for warning in told.warnings] == ["address 10.0.0.6/24"]


@pytest.mark.parametrize("addresses", [(), (Address("eth0", "fd00::5", 64),)])
def test_no_ipv4_address_is_refused(addresses: tuple[Address, ...]) -> None:
    with pytest.raises(RefusedError, match="eth0 has no global IPv4 address"):
        of(addresses=addresses)


def test_a_peer_s_prefix_is_not_the_guest_s() -> None:
    assert of(addresses=(Address("eth0", "10.0.0.5", 24, peer="10.9.0.1"),)).prefixlen == 32
    assert of(addresses=(Address("eth0", "10.0.0.5", 24, peer="10.0.0.5"),)).prefixlen == 24


@pytest.mark.parametrize(
    ("device", "route_mtu", "wished", "mtu", "warned"),
    [
        (1450, None, None, 1450, False),
        (1500, 1400, None, 1400, False),
        (1400, 1500, None, 1400, False),
        (1500, 1400, 1280, 1280, False),
        (1500, None, 9000, 9000, True),
        (65536, None, None, None, True),
        (1500, None, 67, None, True),
        (1500, None, 68, 68, False),
    ],
)
def test_mtu(device: int, route_mtu: int | None, wished: int | None, mtu: int | None, warned: bool) -> None:
    default = Route("eth0", "0.0.0.0/0", "10.0.0.1", metrics=((2, route_mtu),) if route_mtu else ())
    told = of(mtu=device, routes=(default, *POD.routes[1:]), settings=Settings(mtu=wished))
    assert told.interface_mtu == mtu
    assert any("MTU" in warning for warning in told.warnings) is warned


@pytest.mark.parametrize(
    ("name", "hostname", "warned"),
    [
        ("web-0", "web-0", False),
        ("web-0.default.svc", "web-0", False),
        ("a" * 63, "a" * 63, False),
        ("a" * 64, "a" * 63, True),
        ("a" * 62 + "-b", "a" * 62, True),
        ("-foo", "foo", True),
        ("", "", False),
        (".svc", "", True),
        ("we\0b", "", True),
        ("we b", "", True),
        ("wéb", "", True),
    ],
)
def test_hostname(name: str, hostname: str, warned: bool) -> None:
    told = of(settings=Settings(hostname=name))
    assert told.hostname == hostname
    assert bool(told.warnings) is warned


def test_nameservers_without_ipv4_are_left_out_with_warnings() -> None:
    told = of(Resolver(("fd00::10",), (), ("resolv.conf: something",)))
    assert told.nameservers == ()
    assert len(told.warnings) == 3
    assert told.warnings[0] == "resolv.conf: something"
    assert "fd00::10" in told.warnings[1]
    assert "resolves no names" in told.warnings[2]


def test_a_wished_mac_is_the_vm_s() -> None:
    assert of(settings=Settings(mac="02:AA:00:00:00:02")).chaddr == "02:aa:00:00:00:02"


def test_no_default_route_no_router() -> None:
    told = of(routes=POD.routes[1:])
    assert (told.router, told.classless_routes) == ("", ())


def test_a_gateway_known_by_a_permanent_entry_is_answered_for_and_nobody_else() -> None:
    told = of(
        neighbours=(
            Neighbour("eth0", "10.0.0.1", "02:00:00:00:00:fe", permanent=True),
            Neighbour("eth0", "10.0.0.2", "02:00:00:00:00:02", permanent=True),
            Neighbour("eth0", "10.0.0.3", "02:00:00:00:00:03"),
            Neighbour("eth0", "fe80::1", "02:00:00:00:00:fe", permanent=True),
        )
    )
    assert told.neighbours == (ArpEntry("10.0.0.1", "02:00:00:00:00:fe"),)
    assert len(told.warnings) == 1
    assert "10.0.0.2" in told.warnings[0]
    assert of(neighbours=(Neighbour("eth0", "10.0.0.1", "02::fe"),)).neighbours == ()


def test_what_is_configured_is_told_instead_of_what_the_pod_has() -> None:
    given = Told(
        lease_time=600,
        nameservers=("10.0.0.53", "fd00::53"),
        domain_search=("example.org",),
        ntp_servers=("10.0.0.123", "fd00::123"),
        boot=Boot("10.0.0.9", "boot.efi", "HTTPClient"),
        ipv6_only_wait=1800,
        options=(RawOption(252, "78"),),
    )
    resolver = Resolver(("10.96.0.10",), ("svc",), ("resolv.conf: a",), ("resolv.conf: b",))
    told = of(resolver, Settings(told=given))
    assert (told.lease_time, told.nameservers, told.domain_search) == (600, ("10.0.0.53",), ("example.org",))
    assert (told.ntp_servers, told.boot, told.ipv6_only_wait) == (("10.0.0.123",), given.boot, 1800)
    assert told.options == given.options
    assert [warning.partition(":")[0] for warning in told.warnings] == ["nameserver fd00", "NTP server fd00"]
    assert of(resolver).warnings == ("resolv.conf: a", "resolv.conf: b")


def test_no_search_list_can_be_wished_too() -> None:
    assert of(settings=Settings(told=Told(domain_search=()))).domain_search == ()


@pytest.mark.parametrize(("dhcp", "served"), [("on", True), ("off", False), ("external", False)])
def test_who_answers_the_guest(dhcp: str, served: bool) -> None:
    assert of(settings=Settings(dhcp=dhcp)).served is served


@pytest.mark.parametrize(
    "changed",
    [
        {"addresses": (Address("eth0", "169.254.75.10", 32),)},
        {"addresses": (Address("eth0", "10.0.0.5", 32, peer="169.254.75.10"),)},
        {"routes": (Route("eth0", "0.0.0.0/0", "169.254.75.10"),)},
        {"routes": (Route("eth0", "169.254.75.10/32"),)},
        {"neighbours": (Neighbour("eth0", "169.254.75.10", "02::1"),)},
    ],
)
def test_the_server_id_collides_with_nothing_of_the_pod(changed: dict[str, Any]) -> None:
    assert of().server_id == "169.254.75.10"
    assert of(**changed).server_id == "169.254.75.11"


def test_the_server_id_is_outside_the_pod_s_prefixes_where_it_can_be() -> None:
    assert of(routes=(POD.routes[0], Route("eth0", "169.254.75.0/26"))).server_id == "169.254.75.64"
    assert of(routes=(Route("eth0", "169.254.0.0/16"),)).server_id == "169.254.75.10"
    full = tuple(Neighbour("eth0", f"169.254.75.{host}", "02::1") for host in range(256))
    with pytest.raises(RefusedError, match="no server identifier"):
        of(neighbours=full)
