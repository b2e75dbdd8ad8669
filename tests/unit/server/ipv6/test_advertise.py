"""When routers and neighbours are advertised, and to whom: RFC 4861's timers with a clock of ours."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest

from tests.testlib.ipv6.discovery import (
    ALL_NODES,
    GATEWAY,
    GATEWAY_MAC,
    GUEST,
    LEASE,
    NOBODY,
    NODE,
    OTHER_MAC,
    POD,
    ROUTER,
    SCAPY,
    SERVER,
    SERVER_ADDRESS,
    SOURCE,
    SYNTHETIC,
    VM,
    VM_MAC,
    Clock,
    advertiser,
    dissect,
    ns,
    options,
    outcome,
    rs,
)
from vmnet.compile.advertisements import compile_advertisements
from vmnet.model.lease import Lease6, Router
from vmnet.server.ipv6.advertise import LEAST_DELAY, VOUCHING, Advertiser
from vmnet.server.ipv6.advertisements import UNKNOWN

UNKNOWN_MAC = replace(LEASE, routers=(replace(ROUTER, mac=""),))
LINK_LOCAL = Router("fe80::b", "fe80::b", GATEWAY, is_default=True, preference=3)
THREE = replace(
    LEASE, routers=(ROUTER, LINK_LOCAL, replace(ROUTER, address="fe80::766d:6e65:7402", gateway="fd00::2"))
)
NOT_SERVED = replace(LEASE, served=False)


def lines(frames: tuple[bytes, ...]) -> list[str]:
    """Frames in words: kind, from, to (by both addresses), link-layer address."""
    found = []
    for frame in frames:
        packet = dissect(frame)
        ipv6 = packet[SCAPY.IPv6]
        message = ipv6.payload
        kind = {134: "RA", 135: "NS", 136: "NA"}[message.type]
        if kind == "NA":
            kind += f" {'R' * message.R}{'S' * message.S}{'O' * message.O} {message.tgt}"
        link = [option.lladdr for option in options(frame) if option.type in (1, 2)] or ["-"]
        found.append(f"{kind} {ipv6.src} > {ipv6.dst} at {packet.dst} is {link[0]}")
    return found


ALL = f"> {ALL_NODES} at 33:33:00:00:00:01 is"
TO_GUEST = f"> {GUEST} at {VM} is"
PROBE = f"NS {POD} > ff02::1:ff00:1 at 33:33:ff:00:00:01 is {VM}"


def moments(speaker: Advertiser, clock: Clock, until: float) -> list[float]:
    """The seconds from now at which something is sent to all, until the time is over."""
    began, found = clock.now, []
    while (due := speaker.due()) is not None and due <= began + until:
        clock.now = max(clock.now, due)
        frames, _ = speaker.tick()
        if frames:
            found.append(clock.now - began)
    return found


@pytest.mark.parametrize(("part", "interval"), [(0.0, 200.0), (0.5, 400.0), (1.0, 600.0)])
def test_three_at_first_and_then_at_random(part: float, interval: float) -> None:
    speaker, clock = advertiser(random=part)
    assert moments(speaker, clock, 1300.0)[:5] == [0.0, 16.0, 32.0, *(32.0 + interval * n for n in (1, 2))][:5]


def test_intervals_are_spread_between_the_bounds() -> None:
    chance = random.Random(6)  # noqa: S311 - a seeded test
    clock = Clock()
    speaker = Advertiser(compile_advertisements(LEASE), clock, chance.random)
    sent = moments(speaker, clock, 100_000.0)[2:]
    gaps = [later - earlier for earlier, later in itertools.pairwise(sent)]
    assert 200.0 <= min(gaps) < 220.0
    assert 580.0 < max(gaps) <= 600.0
    assert 350.0 < sum(gaps) / len(gaps) < 450.0


def test_before_its_time_nothing_is_sent() -> None:
    speaker, clock = advertiser()
    assert lines(speaker.tick()[0]) == [f"RA {SYNTHETIC} {ALL} {GATEWAY}"]
    assert speaker.due() == clock.now + 16.0
    clock.now += 15.9
    assert speaker.tick() == ((), ())
    clock.now += 0.1
    assert len(speaker.tick()[0]) == 1


def test_every_router_advertises_itself() -> None:
    speaker, _ = advertiser(THREE)
    assert lines(speaker.tick()[0]) == [
        f"RA {SYNTHETIC} {ALL} {GATEWAY}",
        f"RA fe80::b {ALL} {GATEWAY}",
        f"RA fe80::766d:6e65:7402 {ALL} {GATEWAY}",
    ]


def test_who_has_an_address_is_answered_at_once_and_alone() -> None:
    speaker, _ = advertiser()
    speaker.tick()
    for _ in range(3):
        frames, probes = outcome(speaker, rs(SOURCE))
        assert (lines(frames), probes) == ([f"RA {SYNTHETIC} {TO_GUEST} {GATEWAY}"], ())
    frames, _ = outcome(speaker, rs(SOURCE, source=POD))
    assert lines(frames) == [f"RA {SYNTHETIC} > {POD} at {VM} is {GATEWAY}"]


def test_an_answer_to_one_changes_nothing_for_all() -> None:
    speaker, clock = advertiser()
    speaker.tick()
    due = speaker.due()
    clock.now += 5
    outcome(speaker, rs(SOURCE))
    assert speaker.due() == due


def test_who_has_none_is_answered_by_what_goes_to_all_and_three_seconds_later_at_the_soonest() -> None:
    speaker, clock = advertiser()
    assert lines(outcome(speaker, rs(source=NOBODY))[0]) == [f"RA {SYNTHETIC} {ALL} {GATEWAY}"]
    clock.now += 1
    assert outcome(speaker, rs(source=NOBODY)) == ((), ())
    assert speaker.due() == clock.now + 2
    clock.now += 1.5
    assert outcome(speaker, rs(source=NOBODY)) == ((), ())
    assert speaker.tick() == ((), ())
    clock.now += 0.5
    assert len(speaker.tick()[0]) == 1
    assert speaker.due() == clock.now + 16.0


def test_after_a_long_time_the_answer_to_all_is_sent_at_once_and_the_timer_begins_anew() -> None:
    speaker, clock = advertiser()
    moments(speaker, clock, 40.0)
    clock.now += 100
    assert len(outcome(speaker, rs(source=NOBODY))[0]) == 1
    assert speaker.due() == clock.now + 200.0


IS_THERE = f"NA RSO {SYNTHETIC} {SYNTHETIC} {TO_GUEST} {GATEWAY}"


def test_a_solicitation_for_the_synthetic_router_is_passed_on_and_answered_when_the_gateway_has_answered() -> None:
    speaker, clock = advertiser()
    frames, probes = outcome(speaker, ns(SYNTHETIC, SOURCE))
    assert (frames, lines(probes)) == ((), [PROBE])
    clock.now += 0.001
    assert lines(speaker.heard(0, GATEWAY_MAC)) == [IS_THERE]
    assert speaker.heard(0, GATEWAY_MAC) == ()


def test_a_gateway_that_was_heard_just_now_is_vouched_for_and_asked_once_a_second_at_most() -> None:
    speaker, clock = advertiser()
    speaker.heard(0, GATEWAY_MAC)
    frames, probes = outcome(speaker, ns(SYNTHETIC, SOURCE))
    assert (lines(frames), lines(probes)) == ([IS_THERE], [PROBE])
    clock.now += 0.9
    frames, probes = outcome(speaker, ns(SYNTHETIC, destination=SYNTHETIC))
    assert (lines(frames), probes) == ([IS_THERE], ())
    clock.now += 0.1
    frames, probes = outcome(speaker, ns(SYNTHETIC, SOURCE))
    assert (lines(frames), lines(probes)) == ([IS_THERE], [PROBE])


def test_a_gateway_that_is_gone_is_gone_to_the_guest() -> None:
    speaker, clock = advertiser()
    speaker.heard(0, GATEWAY_MAC)
    clock.now += VOUCHING
    for _ in range(4):  # RFC 4861 §7.3.3: three, and nobody is there
        frames, probes = outcome(speaker, ns(SYNTHETIC, SOURCE))
        assert (frames, lines(probes)) == ((), [PROBE])
        clock.now += 1
    assert speaker.silent_seconds(0) == 4
    assert lines(speaker.heard(0, GATEWAY_MAC)) == [IS_THERE]
    assert speaker.silent_seconds(0) is None


def test_who_has_given_up_is_not_answered_any_more() -> None:
    speaker, clock = advertiser()
    outcome(speaker, ns(SYNTHETIC, SOURCE))
    clock.now += VOUCHING + 0.1
    assert speaker.heard(0, GATEWAY_MAC) == ()


def test_who_waits_for_a_gateway_that_has_moved_is_told_where_it_is_now_and_once() -> None:
    speaker, clock = advertiser(NOT_SERVED)
    outcome(speaker, ns(SYNTHETIC, SOURCE))
    clock.now += 1
    outcome(speaker, ns(SYNTHETIC, SOURCE))
    assert lines(speaker.heard(0, OTHER_MAC)) == [IS_THERE.replace(GATEWAY, OTHER_MAC.hex(":"))]


def test_a_gateway_that_nobody_asks_for_is_not_called_silent() -> None:
    speaker, clock = advertiser()
    clock.now += 1000
    assert speaker.silent_seconds(0) is None


def test_who_takes_the_synthetic_address_for_itself_hears_that_it_is_taken() -> None:
    speaker, _ = advertiser()
    frames, _ = outcome(speaker, ns(SYNTHETIC, source=NOBODY))
    assert lines(frames) == [f"NA RO {SYNTHETIC} {SYNTHETIC} {ALL} {GATEWAY}"]
    frames, probes = outcome(speaker, ns(SERVER_ADDRESS, source=NOBODY))
    assert lines(frames) == [f"NA O {SERVER_ADDRESS} {SERVER_ADDRESS} {ALL} {SERVER}"]
    assert probes == ()


def test_our_server_is_at_its_own_mac() -> None:
    speaker, _ = advertiser()
    frames, probes = outcome(speaker, ns(SERVER_ADDRESS, SOURCE))
    assert lines(frames) == [f"NA SO {SERVER_ADDRESS} {SERVER_ADDRESS} {TO_GUEST} {SERVER}"]
    assert probes == ()


@pytest.mark.parametrize("target", [NODE, "fe80::b", "fe80::766d:6e65:7403", "fd00::99", GUEST])
def test_for_nobody_else_it_speaks(target: str) -> None:
    speaker, _ = advertiser(THREE)
    assert outcome(speaker, ns(target, SOURCE)) == ((), ())


def test_a_gateway_that_is_known_for_good_is_answered_for_never_asked_and_never_followed() -> None:
    speaker, _ = advertiser(replace(LEASE, routers=(replace(ROUTER, permanent=True),)))
    for target in (SYNTHETIC, NODE):
        frames, probes = outcome(speaker, ns(target, SOURCE))
        assert lines(frames) == [f"NA RSO {target} {target} {TO_GUEST} {GATEWAY}"]
        assert probes == ()
    assert speaker.heard(0, OTHER_MAC) == ()
    assert speaker.macs == (GATEWAY_MAC,)


def test_until_the_mac_is_known_nobody_is_answered_and_the_advertisement_has_none() -> None:
    speaker, _ = advertiser(UNKNOWN_MAC)
    frames, probes = speaker.tick()
    assert lines(frames) == [f"RA {SYNTHETIC} {ALL} -"]
    assert lines(probes) == [PROBE]
    assert lines(outcome(speaker, rs(SOURCE))[0]) == [f"RA {SYNTHETIC} {TO_GUEST} -"]
    assert outcome(speaker, ns(SYNTHETIC, SOURCE)) == ((), ())
    assert outcome(speaker, ns(SYNTHETIC, source=NOBODY)) == ((), ())


def test_it_is_asked_for_every_second_for_a_minute_and_then_every_fifteen() -> None:
    speaker, clock = advertiser(replace(UNKNOWN_MAC, served=False))
    began, asked = clock.now, []
    while clock.now < began + 120:
        due = speaker.due()
        assert due is not None
        clock.now = due
        frames, probes = speaker.tick()
        assert (frames, lines(probes)) == ((), [PROBE])
        asked.append(clock.now - began)
    assert asked == [*map(float, range(61)), 75.0, 90.0, 105.0, 120.0]


def test_after_that_minute_the_guest_s_own_question_is_passed_on_all_the_same() -> None:
    speaker, clock = advertiser(replace(UNKNOWN_MAC, served=False))
    clock.now += 70
    speaker.tick()
    clock.now += 2
    assert lines(outcome(speaker, ns(SYNTHETIC, SOURCE))[1]) == [PROBE]
    assert speaker.due() == clock.now + 15


def test_when_it_is_learnt_the_guest_is_told_at_once() -> None:
    speaker, clock = advertiser(UNKNOWN_MAC)
    clock.now += 20
    assert lines(speaker.heard(0, GATEWAY_MAC)) == [
        f"NA RO {SYNTHETIC} {SYNTHETIC} {ALL} {GATEWAY}",
        f"RA {SYNTHETIC} {ALL} {GATEWAY}",
    ]
    assert (speaker.macs, speaker.changes) == ((GATEWAY_MAC,), 1)
    assert speaker.heard(0, GATEWAY_MAC) == ()
    assert lines(outcome(speaker, ns(SYNTHETIC, SOURCE))[0]) == [IS_THERE]
    assert lines(outcome(speaker, rs(SOURCE))[0]) == [f"RA {SYNTHETIC} {TO_GUEST} {GATEWAY}"]
    assert speaker.due() == clock.now + 16


def test_when_it_changes_the_guest_is_told_at_once_and_the_routers_three_seconds_after_the_last() -> None:
    speaker, clock = advertiser(THREE)
    speaker.tick()
    clock.now += 1
    other = OTHER_MAC.hex(":")
    assert lines(speaker.heard(2, OTHER_MAC)) == [f"NA RO fe80::766d:6e65:7402 fe80::766d:6e65:7402 {ALL} {other}"]
    assert speaker.macs == (GATEWAY_MAC, GATEWAY_MAC, OTHER_MAC)
    assert speaker.due() == clock.now + 2
    clock.now += 2
    assert lines(speaker.tick()[0]) == [
        f"RA {SYNTHETIC} {ALL} {GATEWAY}",
        f"RA fe80::b {ALL} {GATEWAY}",
        f"RA fe80::766d:6e65:7402 {ALL} {other}",
    ]


def test_a_link_local_gateway_is_advertised_with_its_new_mac_and_otherwise_speaks_for_itself() -> None:
    speaker, _ = advertiser(replace(LEASE, routers=(LINK_LOCAL,)))
    assert lines(speaker.heard(0, OTHER_MAC)) == [f"RA fe80::b {ALL} {OTHER_MAC.hex(':')}"]
    assert outcome(speaker, ns("fe80::b", SOURCE)) == ((), ())


@pytest.mark.parametrize("mac", [VM_MAC, UNKNOWN, GATEWAY_MAC])
def test_the_vm_is_not_its_own_gateway_and_the_same_is_no_news(mac: bytes) -> None:
    speaker, _ = advertiser()
    assert speaker.heard(0, mac) == ()
    assert (speaker.macs, speaker.changes) == ((GATEWAY_MAC,), 0)


def test_where_nothing_is_served_no_router_is_advertised_but_neighbours_are_answered() -> None:
    speaker, clock = advertiser(NOT_SERVED)
    assert speaker.due() is None
    assert speaker.tick() == ((), ())
    assert outcome(speaker, rs(SOURCE)) == outcome(speaker, rs(source=NOBODY)) == ((), ())
    speaker.heard(0, GATEWAY_MAC)
    assert lines(outcome(speaker, ns(SYNTHETIC, SOURCE))[0]) == [IS_THERE]
    clock.now += 10
    assert [line[:2] for line in lines(speaker.heard(0, OTHER_MAC))] == ["NA"]
    assert speaker.due() is None


def test_the_router_that_is_none_only_says_the_rest() -> None:
    speaker, _ = advertiser(replace(LEASE, routers=(Router(SERVER_ADDRESS, ""),)))
    assert lines(speaker.tick()[0]) == [f"RA {SERVER_ADDRESS} {ALL} {SERVER}"]
    frames, _ = outcome(speaker, ns(SERVER_ADDRESS, SOURCE))
    assert lines(frames) == [f"NA RSO {SERVER_ADDRESS} {SERVER_ADDRESS} {TO_GUEST} {SERVER}"]
    assert speaker.heard(0, OTHER_MAC) == ()


@pytest.mark.parametrize("lease", [LEASE, UNKNOWN_MAC, THREE, NOT_SERVED])
@pytest.mark.parametrize("seed", range(5))
def test_whatever_guest_and_network_do_nothing_is_amplified(lease: Lease6, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a seeded test
    clock = Clock()
    speaker = Advertiser(compile_advertisements(lease), clock, chance.random)
    routers = len(lease.routers)
    to_all, asked = [], dict[bytes, list[float]]()
    guests = (
        rs(SOURCE),
        rs(source=NOBODY),
        ns(SYNTHETIC, SOURCE),
        ns(SYNTHETIC, source=NOBODY),
        ns(SERVER_ADDRESS),
    )
    for _ in range(4000):
        clock.now += chance.choice((0.0, 0.0001, 0.01, 0.3, 2.0))
        what = chance.randrange(8)
        probes: tuple[bytes, ...] = ()
        if what < 5:
            frames, probes = outcome(speaker, guests[what])
            assert len(probes) <= 1
            most = routers if what < 2 else 1
        elif what < 7:
            frames = speaker.heard(chance.randrange(routers), chance.choice((GATEWAY_MAC, OTHER_MAC)))
            most = 1 + routers
        else:
            frames, probes = speaker.tick()
            most = routers
        assert len(frames) <= most
        advertised = [data for data in frames if data[54] == 134 and data[:6] == b"\x33\x33\0\0\0\1"]
        assert len(advertised) in (0, routers)
        to_all += [clock.now] if advertised else []
        for probe in probes:
            asked.setdefault(probe, []).append(clock.now)
    assert bool(to_all) is lease.served
    for times, least in ((to_all, LEAST_DELAY), *((times, 1.0) for times in asked.values())):
        assert all(later - earlier >= least - 1e-9 for earlier, later in itertools.pairwise(times))
