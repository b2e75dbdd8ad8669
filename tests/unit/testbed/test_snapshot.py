"""Two looks at the same pod are equal however the kernel lists it; those that mean something else are not."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.snapshot import _entries

GATEWAY = {"dst": "fe80::1", "dev": "eth0", "lladdr": "02:00:00:00:00:01", "state": ["PERMANENT"]}
NODE = {"dst": "fe80::2", "dev": "eth0", "lladdr": "02:00:00:00:00:02", "state": ["PERMANENT"]}
DEFAULT = {"dst": "default", "gateway": "10.0.0.1", "dev": "eth0", "protocol": "static"}
OTHER_DEFAULT = {"dst": "default", "gateway": "10.0.0.2", "dev": "eth1", "protocol": "static"}
BLUE = {"dst": "10.9.0.0/16", "dev": "eth0", "table": "100"}
OF_ADDRESS = {"dst": "fe80::/64", "dev": "eth0", "protocol": "kernel", "metric": 256}
OF_OTHER_LINK = {"dst": "fe80::/64", "dev": "eth1", "protocol": "kernel", "metric": 256}
OF_SECOND_ADDRESS = {"dst": "10.0.0.0/24", "dev": "eth0", "protocol": "kernel", "prefsrc": "10.0.0.7"}
OF_FIRST_ADDRESS = {"dst": "10.0.0.0/24", "dev": "eth0", "protocol": "kernel", "prefsrc": "10.0.0.5"}
FIRST_RULE = {"priority": 100, "src": "10.0.0.5", "table": "100"}
SECOND_RULE = {"priority": 100, "src": "10.0.0.5", "table": "200"}


@pytest.mark.parametrize(
    ("title", "first", "second"),
    [
        ("permanent neighbours", GATEWAY, NODE),
        ("proxied neighbours", {"dst": "fd00::9", "dev": "eth0"}, {"dst": "fd00::1", "dev": "eth0"}),
        ("IPv4 routes", DEFAULT, BLUE),
        ("IPv6 routes", OF_ADDRESS, OF_OTHER_LINK),
    ],
)
def test_an_order_that_says_nothing_is_no_difference(
    title: str, first: dict[str, Any], second: dict[str, Any]
) -> None:
    assert _entries(title, [first, second]) == _entries(title, [second, first])


@pytest.mark.parametrize(
    ("title", "first", "second"),
    [
        ("IPv4 routes", DEFAULT, OTHER_DEFAULT),
        ("IPv4 routes", OF_FIRST_ADDRESS, OF_SECOND_ADDRESS),
        ("IPv4 rules", FIRST_RULE, SECOND_RULE),
    ],
)
def test_an_order_that_decides_is_a_difference(title: str, first: dict[str, Any], second: dict[str, Any]) -> None:
    assert _entries(title, [first, second]) != _entries(title, [second, first])


def test_what_is_there_twice_is_seen_twice() -> None:
    assert _entries("permanent neighbours", [NODE, NODE]) != _entries("permanent neighbours", [NODE])
