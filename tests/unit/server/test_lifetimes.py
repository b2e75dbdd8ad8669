"""What the server grants of an address that runs out: never more than is left, however often it is renewed."""

from __future__ import annotations

from dataclasses import replace
from socket import AF_INET6, inet_pton

import pytest

from tests.testlib.dhcp.frames import LEASE, SERVER_ID, VM_MAC, YIADDR, bootp, discover, frame, message, option
from tests.unit.server.test_ipv6_service import SOLICIT, dissected
from tests.unit.server.test_service import Clock, Told
from vmnet.compile.dhcp import compile_replies
from vmnet.compile.dhcpv6 import compile_replies as compile_replies6
from vmnet.compile.process import compile_leases
from vmnet.model.lease import Lease6, LeasedAddress, Leases, Router
from vmnet.model.links import FOREVER
from vmnet.server.lifetimes import Lifetimes, record
from vmnet.server.service import Service

SELECTING = frame(bootp(message(3, option(50, YIADDR), option(54, SERVER_ID)), xid=9))
ENDS = 400
LIMITED = replace(LEASE, lease_time=300, ends=ENDS)
"""Read at 100, where the clock of the tests begins."""
STATUSES = 5


def _served(leases: Leases) -> tuple[Service, Told, Clock]:
    told, clock = Told(), Clock()
    made = Service(told, clock)  # type: ignore[arg-type]
    made.load(compile_leases(leases))
    assert made.state == "serving", made.reason
    return made, told, clock


def _of_ipv4(lease: object = LIMITED) -> tuple[Service, Told, Clock]:
    return _served(Leases(VM_MAC.hex(":"), lease, None))  # type: ignore[arg-type]


def _times(reply: bytes | None) -> tuple[int, ...]:
    """Lease, renewal and rebinding time of a reply, seconds."""
    assert reply is not None
    at = [reply.index(bytes((code, 4))) for code in (51, 58, 59)]
    return tuple(int.from_bytes(reply[place + 2 : place + 6]) for place in at)


@pytest.mark.parametrize(
    ("now", "times"), [(100, (300, 150, 262)), (101.5, (299, 149, 261)), (399, (1, 0, 0)), (250, (150, 75, 131))]
)
def test_a_lease_ends_with_the_address(now: float, times: tuple[int, ...]) -> None:
    served, _, clock = _of_ipv4()
    clock.now = now
    for request in (discover(), SELECTING):
        assert _times(served.frame(request, 0, 0)) == times


def test_an_address_that_has_run_out_is_leased_no_more_and_that_is_said_once() -> None:
    served, told, clock = _of_ipv4()
    clock.now = ENDS
    assert served.frame(discover(), 0, 0) is served.frame(SELECTING, 0, 0) is None
    assert served.report()["ignored"] == {"ran_out": 2}
    assert told.events().count("ran_out") == 1


def test_a_lease_that_is_shorter_than_what_is_left_is_as_it_was_asked_for() -> None:
    served, _, clock = _of_ipv4(replace(LIMITED, lease_time=60))
    clock.now = 339
    assert _times(served.frame(discover(), 0, 0))[0] == 60
    clock.now = 341
    assert _times(served.frame(discover(), 0, 0))[0] == 59


def test_an_address_without_an_end_is_leased_as_ever() -> None:
    served, _, clock = _of_ipv4(LEASE)
    clock.now = 10**6
    assert _times(served.frame(discover(), 0, 0))[0] == LEASE.lease_time


FOR_GOOD = LeasedAddress("fd00::2", FOREVER, FOREVER)
FOR_A_WHILE = LeasedAddress("fd00::3", 200, 300, 300, 400)


def _of_ipv6(*addresses: LeasedAddress) -> tuple[Service, Clock]:
    router = Router("fe80::1", "fe80::1", "02:00:00:00:00:f1", is_default=True)
    lease = Lease6("02:00:00:00:00:01", "fe80::766d:6e65:7400", addresses, (router,))
    made, _, clock = _served(Leases("02:00:00:00:00:01", None, lease))
    return made, clock


def _granted(served: Service) -> list[tuple[str, int, int]]:
    """The addresses of an ADVERTISE with their lifetimes."""
    [reply], _ = served.ipv6_frame(SOLICIT, 0, 0)
    association = dissected(reply)["DHCP6OptIA_NA"]
    return [
        (entry.addr, entry.preflft, entry.validlft) for entry in association.ianaopts if hasattr(entry, "validlft")
    ]


@pytest.mark.parametrize(
    ("now", "granted"),
    [
        (100, [("fd00::3", 200, 300)]),
        (250, [("fd00::3", 50, 150)]),
        (300, [("fd00::3", 0, 100)]),
        (399, [("fd00::3", 0, 1)]),
    ],
)
def test_ipv6_lifetimes_run_down(now: int, granted: list[tuple[str, int, int]]) -> None:
    served, clock = _of_ipv6(FOR_A_WHILE)
    clock.now = now
    assert _granted(served) == granted


def test_of_several_ipv6_addresses_the_others_stay() -> None:
    served, clock = _of_ipv6(FOR_GOOD, FOR_A_WHILE)
    clock.now = 500
    assert _granted(served) == [("fd00::2", FOREVER, FOREVER)]


def test_where_all_ipv6_addresses_have_run_out_nothing_is_leased() -> None:
    served, clock = _of_ipv6(FOR_A_WHILE)
    clock.now = 400
    assert served.ipv6_frame(SOLICIT, 0, 0) == ((), ())
    assert served.report()["ignored"] == {"ipv6_ran_out": 1}


def test_t1_and_t2_follow_the_shortest_that_is_left() -> None:
    router = Router("fe80::1", "fe80::1", "02:00:00:00:00:f1", is_default=True)
    lease = Lease6("02:00:00:00:00:01", "fe80::766d:6e65:7400", (FOR_GOOD, FOR_A_WHILE), (router,))
    records = record(inet_pton(AF_INET6, "fd00::3"), 300, 400)
    left = Lifetimes(records, lambda: 250.0).ipv6(compile_replies6(lease))
    assert left is not None
    assert left.times == (25).to_bytes(4) + (40).to_bytes(4)
    assert len(left.statuses) == STATUSES


def test_cut_off_records_are_refused() -> None:
    with pytest.raises(ValueError, match="cut off"):
        Lifetimes(b"\0" * 31, lambda: 0.0)


def test_replies_are_made_once_a_second() -> None:
    lifetimes = Lifetimes(record(bytes(map(int, YIADDR.split("."))), 0, ENDS), lambda: 200.0)
    replies = compile_replies(LIMITED)
    assert lifetimes.ipv4(replies) is lifetimes.ipv4(replies) is not replies
