"""Routers and prefixes from the pod's IPv6 routes: RFC 4861, RFC 4191 and the layouts of CNI plugins."""

from __future__ import annotations

import pytest

from vmnet.lease.routers import HIGH, LOW, MEDIUM, routers
from vmnet.model.lease import LeasedAddress, Router
from vmnet.model.links import Address, Neighbour, Route
from vmnet.model.pod import PodInterface

ADDRESSES = (LeasedAddress("fd00::5", 86400, 86400),)
NAMES = tuple(f"fe80::766d:6e65:740{number}" for number in range(5))
A, B, C = "fd00::a", "fe80::b", "fd00::c"


def route(dst: str, gateway: str = "", metric: int = 1024, **more: object) -> Route:
    return Route("eth0", dst, gateway, metric, **more)  # type: ignore[arg-type]


def of(
    *routes: Route, neighbours: tuple[Neighbour, ...] = (), addresses: tuple[Address, ...] = ()
) -> tuple[tuple[Router, ...], tuple[str, ...], list[str]]:
    pod = PodInterface("eth0", 2, "02::1", 1500, addresses=addresses, routes=routes, neighbours=neighbours)
    server, found, prefixes, warnings = routers(pod, ADDRESSES)
    assert server in NAMES
    assert server not in {router.address for router in found if router.gateway}
    return found, prefixes, warnings


def neighbour(dst: str, mac: str, *, permanent: bool = False) -> Neighbour:
    return Neighbour("eth0", dst, mac, permanent)


def test_a_link_local_gateway_is_itself_and_a_global_one_gets_a_name() -> None:
    found, _, warnings = of(route("::/0", B), route("fd00:1::/64", A), route("fd00:2::/64", C))
    assert [(router.address, router.gateway, router.synthetic) for router in found] == [
        (B, B, False),
        (NAMES[1], A, True),
        (NAMES[2], C, True),
    ]
    assert warnings == []


def test_without_a_gateway_our_server_is_the_router_that_is_none() -> None:
    found, prefixes, warnings = of(route("fd00::/64", metric=256))
    assert found == (Router(NAMES[0], ""),)
    assert (prefixes, warnings) == (("fd00::/64",), [])


@pytest.mark.parametrize(
    "taken",
    [
        {"neighbours": (neighbour(NAMES[0], "02::1"), neighbour(NAMES[2], "02::2"))},
        {"addresses": (Address("eth0", NAMES[0], 64, scope=253), Address("eth0", NAMES[2], 64, scope=253))},
    ],
)
def test_a_name_that_somebody_bears_is_not_given_again(taken: dict[str, tuple[object, ...]]) -> None:
    found, _, _ = of(route("::/0", NAMES[3]), route("fd00:1::/64", A), route("fd00:2::/64", C), **taken)  # type: ignore[arg-type]
    assert [router.address for router in found] == [NAMES[3], NAMES[4], "fe80::766d:6e65:7405"]


def test_defaults_come_first_the_best_metric_before_the_others_which_have_a_low_preference() -> None:
    found, _, warnings = of(route("fd00:1::/64", C), route("::/0", A, 2048), route("::/0", B, 1024))
    assert [(router.gateway, router.is_default, router.preference) for router in found] == [
        (B, True, MEDIUM),
        (A, True, LOW),
        (C, False, MEDIUM),
    ]
    assert found[2].routes == ("fd00:1::/64",)
    assert warnings == []


@pytest.mark.parametrize(
    ("prefs", "expected"),
    [
        ((HIGH,), [HIGH]),
        ((LOW,), [LOW]),
        ((2,), [MEDIUM]),
        ((LOW, HIGH), [MEDIUM, LOW]),
        ((HIGH, HIGH), [HIGH, LOW]),
    ],
)
def test_the_best_default_has_its_own_preference_but_never_the_others(
    prefs: tuple[int, ...], expected: list[int]
) -> None:
    defaults = [
        route("::/0", f"fd00::{number + 1}", 1024 + number, pref=pref) for number, pref in enumerate(prefs)
    ]
    assert [router.preference for router in of(*defaults)[0]] == expected


def test_of_a_third_default_it_is_said_that_it_is_no_worse_than_the_second() -> None:
    found, _, warnings = of(route("::/0", A, 1), route("::/0", B, 2), route("::/0", C, 3), route("::/0", A, 9))
    assert [router.gateway for router in found] == [A, B, C]
    assert [warning.partition(": ")[0] for warning in warnings] == [
        f"route ::/0 via {A} metric 9",
        f"route ::/0 via {C} metric 3",
    ]
    assert of(route("::/0", A, 1), route("::/0", B, 2), route("::/0", C, 2))[2] == []


def test_routes_go_to_their_gateway_and_on_link_ones_are_prefixes() -> None:
    found, prefixes, warnings = of(
        route("::/0", A),
        route("fd00:1::/48", A),
        route("fd00:2::/64", C),
        route("fd00:3::1/64"),
        route("2001:db8::/127", metric=256),
        route("fd00:4::7/128"),
    )
    assert [router.routes for router in found] == [("fd00:1::/48",), ("fd00:2::/64",)]
    assert set(prefixes) == {"fd00:3::/64", "2001:db8::/127", "fd00:4::7/128"}
    assert warnings == []


@pytest.mark.parametrize(
    "dst", ["fe80::/64", "fe80::/10", "febf::/64", "ff00::/8", "ff02::1/128", "fd00::5/128", f"{A}/128"]
)
def test_what_every_link_has_and_what_leads_to_the_gateway_or_to_itself_is_not_told(dst: str) -> None:
    assert of(route("::/0", A), route(dst))[1:] == ((), [])


@pytest.mark.parametrize(
    ("unfit", "words"),
    [
        (route("::/0"), "no default without a gateway"),
        (route("fd00:1::/64", type=6), "no routes of type 6"),
        (route("::/0", type=7), "no routes of type 7"),
        (route("::/0", A, 9, type=7), "no routes of type 7"),
        (route("fd00:1::/64", A, metrics=((2, 1400),)), "lacks RTAX 2"),
        (route("fd00:1::/64", metrics=((8, 1300), (10, 3))), "lacks RTAX 8, 10"),
        (route("fd00:1::/64", prefsrc="fd00::6"), "lacks fd00::6"),
        (route("::/0", C, 512, metrics=((10, 3),)), "lacks RTAX 10"),
        (route("::/0", C, 2048, metrics=((2, 1400),)), "lacks RTAX 2"),
        (route("fd00:9::/64", C, 2048), "only the best of this destination"),
        (route("fd00:9::/64", "", 2048), "only the best of this destination"),
    ],
)
def test_what_cannot_be_carried_is_said_in_a_sentence(unfit: Route, words: str) -> None:
    _, _, warnings = of(route("::/0", A), route("fd00:9::/64", A, 100), unfit)
    assert [words in warning for warning in warnings] == [True], warnings
    assert warnings[0].startswith(f"route {unfit.dst}")


def test_the_best_default_s_mtu_and_the_pod_s_own_source_are_told_by_other_means() -> None:
    assert of(route("::/0", A, metrics=((2, 1400),), prefsrc="fd00::5"))[2] == []


def test_a_known_mac_is_given_to_its_router_and_what_is_permanent_counts_most() -> None:
    found, _, warnings = of(
        route("::/0", A),
        route("fd00:1::/64", B),
        route("fd00:2::/64", C),
        neighbours=(
            neighbour(A, "02:00:00:00:00:0a", permanent=True),
            neighbour(A, "02:00:00:00:00:01"),
            neighbour(B, "02:00:00:00:00:0b"),
            neighbour("10.0.0.1", "02:00:00:00:00:0d", permanent=True),
            neighbour("fd00::99", "02:00:00:00:00:99"),
        ),
    )
    assert [(router.mac, router.permanent) for router in found] == [
        ("02:00:00:00:00:0a", True),
        ("02:00:00:00:00:0b", False),
        ("", False),
    ]
    assert warnings == []


@pytest.mark.parametrize("mac", ["00:00:00:00:00:00", "33:33:00:00:00:01", "ff:ff:ff:ff:ff:ff"])
def test_what_is_no_machine_s_mac_is_as_good_as_none(mac: str) -> None:
    assert of(route("::/0", A), neighbours=(neighbour(A, mac, permanent=True),))[0][0].mac == ""


def test_a_permanent_entry_of_no_gateway_is_warned_of() -> None:
    _, _, warnings = of(route("::/0", A), neighbours=(neighbour("fd00::9", "02:00:00:00:00:09", permanent=True),))
    assert [warning.startswith("neighbour fd00::9: ") for warning in warnings] == [True]


def test_of_many_gateways_sixteen_are_told() -> None:
    found, _, warnings = of(*(route(f"fd00:{number:x}::/64", f"fd00::1:{number:x}") for number in range(1, 19)))
    assert [router.gateway for router in found] == [f"fd00::1:{number:x}" for number in range(1, 17)]
    assert [warning.partition(": ")[0] for warning in warnings] == ["gateway fd00::1:11", "gateway fd00::1:12"]
