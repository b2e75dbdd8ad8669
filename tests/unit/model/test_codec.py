"""The model as JSON and back, strictly."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.testlib import layouts
from vmnet.model.codec import decode, encode, plain
from vmnet.model.lease import ClasslessRoute, Lease
from vmnet.model.links import Address, Route
from vmnet.model.pod import PodInterface
from vmnet.model.settings import Settings
from vmnet.plumbing.discover import discover

_LEASE = Lease(
    chaddr="02:00:00:00:00:01",
    yiaddr="10.0.0.5",
    prefixlen=24,
    server_id="169.254.75.10",
    classless_routes=(ClasslessRoute("0.0.0.0/0", "10.0.0.1"),),
    nameservers=("10.96.0.10",),
    interface_mtu=1450,
)


@pytest.mark.parametrize("layout", layouts.NAMES)
def test_every_layouts_facts_come_back_the_same(layout: str) -> None:
    pod = discover(layouts.status(layout))
    assert decode(PodInterface, encode(pod)) == pod


def test_a_lease_and_settings_come_back_the_same() -> None:
    assert decode(Lease, encode(_LEASE)) == _LEASE
    settings = Settings(owner=107, mtu=None)
    assert decode(Settings, encode(settings)) == settings


def test_a_tuple_of_pairs_comes_back_the_same() -> None:
    route = Route("eth0", "0.0.0.0/0", "10.0.0.1", metrics=((2, 1400), (8, 1360)))
    assert decode(Route, encode(route)) == route


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"prefixlen": "24"}, "Lease.prefixlen is str, not int"),
        ({"prefixlen": True}, "Lease.prefixlen is bool, not int"),
        ({"prefixlen": None}, "Lease.prefixlen is NoneType, not int"),
        ({"interface_mtu": "x"}, "Lease.interface_mtu is str, not int"),
        ({"nameservers": "10.96.0.10"}, "Lease.nameservers is str, not a list"),
        ({"nameservers": [1]}, r"Lease.nameservers\[0\] is int, not str"),
        ({"classless_routes": [{"dst": "0.0.0.0/0"}]}, r"Lease.classless_routes\[0\] lacks .*: gateway"),
        ({"classless_routes": [7]}, r"Lease.classless_routes\[0\] is int, not an object"),
        ({"surprise": 1}, "Lease lacks or should not have: surprise"),
        ({"a\nb": 1}, r"should not have: a\\nb$"),
    ],
)
def test_what_is_not_exactly_a_lease_is_refused_with_the_path_to_it(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        decode(Lease, json.dumps({**plain(_LEASE), **change}))


@pytest.mark.parametrize(
    "change", [{"x" * (6 << 20): 1}, {"\0" * (1 << 20): 1}, {f"key{number}": 1 for number in range(100_000)}]
)
def test_what_does_not_belong_there_is_told_in_a_short_line(change: dict[str, int]) -> None:
    """A journal of 6 MiB may be a single name."""
    with pytest.raises(ValueError, match="Lease lacks or should not have: ") as raised:
        decode(Lease, json.dumps({**plain(_LEASE), **change}))
    assert len(str(raised.value)) <= 256 + len("Lease lacks or should not have: ")


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "7", '"x"', "\x00", "[" * 100_000])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 # whichever words json chooses
        decode(Address, text)
