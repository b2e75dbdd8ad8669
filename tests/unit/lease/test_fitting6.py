"""What has room in an advertisement: all of it in a plain pod, and never more than a frame holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.extent import sampled
from tests.testlib.ipv6.discovery import LEASE
from vmnet.compile.advertisements import compile_advertisements
from vmnet.lease.fitting6 import fitted
from vmnet.model.lease import Lease6, Router

FULL = replace(
    LEASE,
    routers=(
        replace(LEASE.routers[0], routes=tuple(f"fd00:{number:x}::/48" for number in range(1, 100))),
        Router("fe80::b", "fe80::b", routes=tuple(f"fd00:{number:x}::/48" for number in range(1000, 1100))),
    ),
    prefixes=tuple(f"fd01:{number:x}::/64" for number in range(1, 10)),
    nameservers=tuple(f"fd00::53:{number:x}" for number in range(1, 10)),
    domain_search=tuple(f"d{number}.example" for number in range(20)),
    nat64_prefix="64:ff9b::/96",
    warnings=("the first",),
)


def sizes(lease: Lease6) -> list[int]:
    """Octets of each router's advertisement, all that is known in it."""
    return [len(router.whole) - 14 for router in compile_advertisements(lease).routers]


def test_a_plain_lease_has_room() -> None:
    assert fitted(LEASE) == LEASE


@pytest.mark.parametrize("mtu", [1280, 1281, 1450, 1500])
def test_what_is_too_much_is_left_out_with_a_warning_each_and_the_frame_is_full(mtu: int) -> None:
    lease = fitted(replace(FULL, mtu=mtu))
    assert all(mtu - 24 < size <= mtu for size in sizes(lease))
    assert (lease.prefixes, lease.nameservers, lease.nat64_prefix) == (
        FULL.prefixes,
        FULL.nameservers,
        "64:ff9b::/96",
    )
    lost = [99 - len(lease.routers[0].routes), 100 - len(lease.routers[1].routes), 20 - len(lease.domain_search)]
    assert lost[2] == 20
    assert lease.warnings[0] == "the first"
    for words, count in zip(("via fd00::1", "via fe80::b", "search domain"), lost, strict=True):
        assert sum(words in warning for warning in lease.warnings) == count
    assert len(lease.warnings) == 1 + sum(lost)


def test_before_it_has_read_the_mtu_a_guest_takes_no_longer_frame_than_usual() -> None:
    assert max(sizes(fitted(replace(FULL, mtu=9001)))) <= 1500


@pytest.mark.parametrize("routes", sampled(range(46, 58), 3))
def test_as_many_search_domains_as_have_room(routes: int) -> None:
    router = replace(FULL.routers[0], routes=FULL.routers[0].routes[:routes])
    wished = replace(FULL, mtu=1500, routers=(router,), prefixes=(), nameservers=())
    lease = fitted(wished)
    kept = len(lease.domain_search)
    assert lease.routers == wished.routers
    assert lease.domain_search == wished.domain_search[:kept]
    assert sizes(lease)[0] <= 1500
    if kept < len(wished.domain_search):
        with pytest.raises(ValueError, match="the MTU is 1500"):
            compile_advertisements(replace(lease, domain_search=wished.domain_search[: kept + 1]))


def test_too_many_nameservers_and_prefixes() -> None:
    servers = tuple(f"fd00::53:{number:x}" for number in range(200))
    lease = fitted(replace(LEASE, mtu=1500, nameservers=servers))
    assert lease.nameservers == servers[: len(lease.nameservers)]
    assert 1500 - 16 < sizes(lease)[0] <= 1500
    assert (lease.prefixes, lease.domain_search) == ((), ())
    assert len(lease.warnings) == 200 - len(lease.nameservers) + 1 + 2
