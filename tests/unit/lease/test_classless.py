"""Option 121's entries from the pod's routes: RFC 3442 and the layouts of CNI plugins."""

from __future__ import annotations

import pytest

from vmnet.lease import classless
from vmnet.model.links import Address, Route
from vmnet.model.pod import PodInterface

TYPE_BLACKHOLE = 6


def route(dst: str, gateway: str = "", **fields: int | str) -> Route:
    return Route("eth0", dst, gateway, **fields)  # type: ignore[arg-type]


def carried(address: Address, *routes: Route) -> tuple[str, list[str]]:
    """The entries as text, and the warnings."""
    entries, _, warnings = classless.routes(PodInterface("eth0", 2, "", 1500, routes=routes), address)
    return "; ".join(f"{entry.dst} {entry.gateway}" for entry in entries), warnings


POD_24 = Address("eth0", "10.0.0.5", 24)
POD_32 = Address("eth0", "10.0.0.5", 32)
CONNECTED = route("10.0.0.0/24")


@pytest.mark.parametrize(
    ("address", "routes", "entries"),
    [
        pytest.param(POD_24, [CONNECTED], "", id="no route, no option"),
        pytest.param(POD_24, [route("0.0.0.0/0", "10.0.0.1"), CONNECTED], "0.0.0.0/0 10.0.0.1", id="bridge"),
        pytest.param(
            POD_32,
            [route("0.0.0.0/0", "169.254.1.1"), route("169.254.1.1/32")],
            "169.254.1.1/32 0.0.0.0; 0.0.0.0/0 169.254.1.1",
            id="calico",
        ),
        pytest.param(
            POD_32,
            [route("0.0.0.0/0", "169.254.1.1", flags=4)],
            "169.254.1.1/32 0.0.0.0; 0.0.0.0/0 169.254.1.1",
            id="a gateway with the onlink flag and no route of its own",
        ),
        pytest.param(
            Address("eth0", "10.1.2.5", 24),
            [route("0.0.0.0/0", "10.1.2.1"), route("10.1.2.0/24", "10.1.2.1"), route("10.1.2.1/32")],
            "10.1.2.1/32 0.0.0.0; 10.1.2.0/25 10.1.2.1; 10.1.2.128/25 10.1.2.1; 0.0.0.0/0 10.1.2.1",
            id="ptp: the subnet via the gateway, in halves that beat the guest's own connected route",
        ),
        pytest.param(
            Address("eth0", "10.1.2.5", 24),
            [route("0.0.0.0/0", "10.1.2.1"), route("10.1.2.0/24", "10.1.2.1", flags=4)],
            "10.1.2.1/32 0.0.0.0; 10.1.2.0/25 10.1.2.1; 10.1.2.128/25 10.1.2.1; 0.0.0.0/0 10.1.2.1",
            id="ptp without a route to the gateway",
        ),
        pytest.param(
            POD_24,
            [
                route("0.0.0.0/0", "10.0.0.1"),
                CONNECTED,
                route("10.96.0.0/16", "10.0.0.1"),
                route("10.244.0.0/16", "10.0.0.1"),
                route("100.64.0.0/10", "10.0.0.1"),
            ],
            "10.96.0.0/16 10.0.0.1; 10.244.0.0/16 10.0.0.1; 100.64.0.0/10 10.0.0.1; 0.0.0.0/0 10.0.0.1",
            id="ovn: the pod's order, the default last",
        ),
        pytest.param(
            POD_24,
            [
                CONNECTED,
                route("10.0.0.0/8", "10.0.0.2"),
                route("0.0.0.0/0", "10.0.0.1", metric=100),
                route("0.0.0.0/0", "10.0.0.3", metric=50),
            ],
            "10.0.0.0/8 10.0.0.2; 0.0.0.0/0 10.0.0.3",
            id="one default, the best metric",
        ),
        pytest.param(
            POD_24,
            [CONNECTED, route("100.64.0.0/10"), route("0.0.0.0/0", "100.64.0.1")],
            "100.64.0.0/10 0.0.0.0; 0.0.0.0/0 100.64.0.1",
            id="an on-link route that holds the gateway is enough",
        ),
        pytest.param(
            POD_32,
            [route("10.0.0.0/8", "192.0.2.1")],
            "192.0.2.1/32 0.0.0.0; 10.0.0.0/8 192.0.2.1",
            id="no default",
        ),
        pytest.param(POD_24, [CONNECTED, route("224.0.0.0/4")], "224.0.0.0/4 0.0.0.0", id="multicast on-link"),
        pytest.param(POD_24, [CONNECTED, route("0.0.0.0/0")], "0.0.0.0/0 0.0.0.0", id="a default on-link"),
        pytest.param(
            Address("eth0", "10.0.0.5", 32, peer="10.0.0.1"),
            [route("10.0.0.1/32"), route("0.0.0.0/0", "10.0.0.1")],
            "10.0.0.1/32 0.0.0.0; 0.0.0.0/0 10.0.0.1",
            id="a peer",
        ),
        pytest.param(POD_24, [CONNECTED, route("fd00::/64"), route("::/0", "fd00::1")], "", id="IPv6 is skipped"),
    ],
)
def test_entries_in_wire_order(address: Address, routes: list[Route], entries: str) -> None:
    assert carried(address, *routes)[0] == entries


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        (route("192.0.2.0/24", type=TYPE_BLACKHOLE), "192.0.2.0/24: DHCP carries no routes of type 6"),
        (route("192.0.2.0/24", "10.0.0.9", tos=8), "type of service"),
        (route("192.0.2.0/24", "fe80::1"), "no IPv6 gateway"),
        (route("10.0.0.0/24", "10.0.0.9", metric=9), "via 10.0.0.9 metric 9: the guest gets only the best"),
    ],
)
def test_what_option_121_cannot_say_is_warned_of(lost: Route, words: str) -> None:
    entries, warnings = carried(POD_24, CONNECTED, lost, route("0.0.0.0/0", "10.0.0.1"))
    assert entries == "0.0.0.0/0 10.0.0.1"
    assert len(warnings) == 1
    assert words in warnings[0]


@pytest.mark.parametrize(
    ("carried_route", "words"),
    [
        (route("192.0.2.0/24", "10.0.0.9", metrics=((2, 1400),)), "lacks RTAX 2"),  # type: ignore[arg-type]
        (route("192.0.2.0/24", "10.0.0.9", prefsrc="10.0.0.6"), "lacks 10.0.0.6"),
        (route("0.0.0.0/0", "10.0.0.9", metrics=((2, 1400), (8, 1360))), "lacks RTAX 8"),  # type: ignore[arg-type]
    ],
)
def test_what_a_carried_route_loses_is_warned_of(carried_route: Route, words: str) -> None:
    entries, warnings = carried(POD_24, CONNECTED, carried_route)
    assert entries == f"{carried_route.dst} 10.0.0.9"
    assert len(warnings) == 1
    assert words in warnings[0]


AZURE = Address("eth0", "10.1.0.9", 16)
"""In transparent mode its connected route is removed, and the gateway a permanent neighbour."""


@pytest.mark.parametrize(
    ("address", "routes", "prefixlen", "entries"),
    [
        pytest.param(
            AZURE,
            [route("0.0.0.0/0", "169.254.1.1"), route("169.254.1.1/32")],
            32,
            "169.254.1.1/32 0.0.0.0; 0.0.0.0/0 169.254.1.1",
            id="no route to its own subnet: by the gateway, as everything",
        ),
        pytest.param(
            AZURE,
            [route("0.0.0.0/0", "10.1.0.1", flags=4)],
            32,
            "10.1.0.1/32 0.0.0.0; 0.0.0.0/0 10.1.0.1",
            id="the gateway is in that subnet",
        ),
        pytest.param(
            AZURE,
            [route("0.0.0.0/0", "10.1.0.1"), route("10.1.0.0/24")],
            24,
            "0.0.0.0/0 10.1.0.1",
            id="a narrower link that holds the address",
        ),
        pytest.param(
            AZURE,
            [route("0.0.0.0/0", "10.1.5.1"), route("10.1.5.0/24")],
            32,
            "10.1.5.0/24 0.0.0.0; 0.0.0.0/0 10.1.5.1",
            id="a narrower link that does not",
        ),
        pytest.param(
            AZURE,
            [route("10.0.0.0/8"), route("0.0.0.0/0", "10.1.0.1")],
            16,
            "10.0.0.0/8 0.0.0.0; 0.0.0.0/0 10.1.0.1",
            id="a wider link",
        ),
        pytest.param(
            AZURE,
            [route("0.0.0.0/0"), route("10.0.0.0/8", "10.9.0.1", flags=4)],
            32,
            "10.9.0.1/32 0.0.0.0; 10.0.0.0/8 10.9.0.1; 0.0.0.0/0 0.0.0.0",
            id="a wider link, and a gateway that is closer",
        ),
        pytest.param(
            AZURE,
            [route("0.0.0.0/0", "10.1.0.1"), route("10.1.0.0/16", "10.1.0.1"), route("10.1.0.1/32")],
            16,
            "10.1.0.1/32 0.0.0.0; 10.1.0.0/17 10.1.0.1; 10.1.128.0/17 10.1.0.1; 0.0.0.0/0 10.1.0.1",
            id="its subnet by the gateway, in halves",
        ),
        pytest.param(AZURE, [], 32, "", id="no route at all"),
    ],
)
def test_the_guests_link_is_never_larger_than_the_pods(
    address: Address, routes: list[Route], prefixlen: int, entries: str
) -> None:
    pod = PodInterface("eth0", 2, "", 1500, routes=tuple(routes))
    assert classless.own_prefixlen(pod, address) == prefixlen
    assert carried(address, *routes) == (entries, [])
    assert not carried(POD_32)[1]


def test_the_routes_of_a_second_address_are_carried() -> None:
    assert carried(POD_24, CONNECTED, route("10.9.0.0/24"))[0] == "10.9.0.0/24 0.0.0.0"


@pytest.mark.parametrize(
    ("prefix", "address", "held"),
    [
        ("10.0.0.0/8", "10.255.0.1", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("0.0.0.0/0", "192.0.2.1", True),
        ("192.0.2.1/32", "192.0.2.1", True),
        ("10.0.0.77/30", "10.0.0.79", True),
    ],
)
def test_covers(prefix: str, address: str, held: bool) -> None:
    assert classless.covers(prefix, address) is held
