"""What is true of a guest's lease: what it said last, unless what it does is newer."""

from __future__ import annotations

import pytest

from tests.unit.server.test_service import Clock, Told
from vmnet.server.dhcp.lease_state import after
from vmnet.server.guest_lease import GuestLease
from vmnet.server.witness import Prefixes, packed, text

OWN, FOREIGN = (bytes(10) + b"\xff\xff" + bytes((10, 0, 0, last)) for last in (5, 9))
PREFIXES = Prefixes(packed(bytes((10, 0, 0, 5)), 32))
SENTENCES = dict.fromkeys(("offer", "ack_selecting", "ack_renewing", "nak_selecting", "release", "decline"), "so")


def lease() -> tuple[GuestLease, Told, Clock]:
    told, clock = Told(), Clock()
    return GuestLease("ipv4", after, SENTENCES, told, clock), told, clock  # type: ignore[arg-type]


def story(*steps: str | bytes, before: str = "silent") -> tuple[list[str], Told]:
    """The states that these events and addresses lead to, a second apart."""
    made, told, clock = lease()
    made.remember(before)
    states = []
    for step in steps:
        clock.now += 1
        if isinstance(step, str):
            if made.happened(step):
                made.tell(step)
        else:
            made.saw(step, PREFIXES, text)
        states.append(made.state)
    return states, told


@pytest.mark.parametrize(
    ("steps", "states"),
    [
        ((OWN,), ["static"]),
        (("offer", OWN, "ack_selecting", OWN), ["offered", "offered", "bound", "bound"]),
        (("offer", "ack_selecting", "ack_renewing"), ["offered", "bound", "renewed"]),
        (("ack_selecting", FOREIGN, FOREIGN, OWN), ["bound", "foreign-address", "foreign-address", "bound"]),
        ((FOREIGN, "offer", "ack_selecting"), ["foreign-address", "offered", "bound"]),
        (("ack_selecting", FOREIGN, "ack_selecting"), ["bound", "foreign-address", "bound"]),
        (("ack_selecting", "release", OWN), ["bound", "released", "static"]),
        (("nak_selecting", OWN), ["asked", "static"]),
        (("ack_selecting", "decline", FOREIGN), ["bound", "declined", "foreign-address"]),
        (("arp_reply", "ack_inform"), ["silent", "silent"]),
    ],
)
def test_what_it_does_counts_where_it_is_newer(steps: tuple[str | bytes, ...], states: list[str]) -> None:
    assert story(*steps)[0] == states


def test_what_was_seen_late_is_not_newer_than_what_was_said() -> None:
    made, _, clock = lease()
    assert made.happened("release")
    made.tell("release")
    clock.now += 0.3
    made.saw(OWN, PREFIXES, text)
    made.saw(FOREIGN, PREFIXES, text)
    assert made.state == "released"
    clock.now += 0.3
    made.saw(OWN, PREFIXES, text)
    assert made.state == "static"


def test_each_state_is_told_once_with_what_was_seen() -> None:
    _, told = story(OWN, OWN, FOREIGN, FOREIGN, OWN)
    assert [(level, event) for level, event, _ in told.lines] == [
        ("info", "static"),
        ("warning", "foreign-address"),
        ("info", "static"),
    ]
    assert told.lines[1][2] == {
        "family": "ipv4",
        "lease": "foreign-address",
        "address": "10.0.0.9",
        "own": "10.0.0.5",
    }


def test_a_new_server_knows_how_the_guest_stood() -> None:
    assert story(OWN, FOREIGN, OWN, before="bound")[0] == ["bound", "foreign-address", "bound"]
    assert story("ack_renewing", before="bound")[0] == ["renewed"]
    assert story(OWN, before="static")[0] == story(OWN, before="anything")[0] == ["static"]


def test_moments_are_seconds_since_ready() -> None:
    made, _, clock = lease()
    began = clock.now
    clock.now += 2
    assert made.happened("offer")
    made.tell("offer")
    clock.now += 3
    made.saw(FOREIGN, PREFIXES, text)
    report = made.report(began, text)
    assert report["reached"] == {"offered": 2.0, "foreign-address": 5.0}
    assert (report["uses"], report["uses_foreign"], report["lease_seconds"]) == ("", "10.0.0.9", 0.0)


def test_the_guest_that_comes_next_begins_anew() -> None:
    made, told, clock = lease()
    assert made.happened("ack_selecting")
    made.tell("ack_selecting")
    made.saw(OWN, PREFIXES, text)
    made.begin_anew()
    assert (made.state, made.reached, made.use.own) == ("silent", {}, b"")
    assert told.lines[-1] == ("info", "guest-gone", {"family": "ipv4", "lease": "silent"})
    made.begin_anew()
    assert told.events().count("guest-gone") == 1

    clock.now += 1
    assert made.happened("ack_selecting")
    made.tell("ack_selecting")
    assert made.state == "bound"
