"""RFC 9915 §18.3 for one client, beyond tests/data/dhcpv6: what has no room, and what is remembered."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.testlib.ipv6.messages import (
    CLIENT_DUID,
    LEASE,
    OTHER,
    POD,
    dhcpv6,
    dissect,
    frame,
    ia_na,
    ia_pd,
    ia_ta,
    option,
    oro,
    outcome,
    packed,
    said,
    solicit,
    to_us,
)
from vmnet.compile.dhcpv6 import compile_replies
from vmnet.model.lease import LeasedAddress
from vmnet.model.links import FOREVER
from vmnet.server.ipv6 import answer, lease_state, message, packet

if TYPE_CHECKING:
    from vmnet.server.ipv6.answer import Answer
    from vmnet.server.ipv6.replies import Replies


def answered(payload: bytes, replies: Replies, **fields: object) -> Answer:
    """What becomes of a message."""
    got = packet.parse(frame(payload, **fields))
    assert isinstance(got, packet.Packet)
    asked = message.parse(got)
    assert isinstance(asked, message.Message)
    return answer.answer(asked, replies)


@pytest.fixture
def replies() -> Replies:
    return compile_replies(LEASE)


def test_a_retransmission_costs_nothing_and_has_its_own_id_and_checksum(replies: Replies) -> None:
    seen = []
    for xid in (1, 2, 0xFFFFFF):
        elapsed = option(8, xid.to_bytes(4)[2:])
        got = answered(dhcpv6(1, option(1, CLIENT_DUID), ia_na(7), elapsed, xid=xid), replies)
        assert got.frame
        dissect(got.frame)
        assert got.frame[62:66] == bytes((2,)) + xid.to_bytes(3)
        seen.append(got.frame[:60] + got.frame[66:])
    assert len(set(seen)) == len(replies.memo) == 1


def test_no_checksum_is_zero_and_all_are_right(replies: Replies) -> None:
    got = packet.parse(frame(solicit()))
    assert isinstance(got, packet.Packet)
    asked = message.parse(got)
    assert isinstance(asked, message.Message)
    by_checksum = {}
    for asked.xid in range(1 << 16):
        reply = answer.answer(asked, replies).frame
        assert reply
        by_checksum[reply[60:62]] = reply
    assert len(by_checksum) == 0xFFFF
    assert b"\0\0" not in by_checksum
    for checksum in (b"\xff\xff", b"\0\1", b"\xff\xfe", b"\x80\0"):
        dissect(by_checksum[checksum])


def test_another_source_gets_its_own_reply(replies: Replies) -> None:
    for source in ("fe80::1", "fe80::2"):
        got = answered(solicit(), replies, source=source)
        assert got.frame
        assert got.frame[38:54] == packed(source)
        dissect(got.frame)


def test_what_is_remembered_is_bounded(replies: Replies) -> None:
    for number in range(200):
        assert answered(solicit(option(60000 + number)), replies).event == "advertise"
        assert len(replies.memo) <= 64


def test_silence_is_remembered_too(replies: Replies) -> None:
    for _ in range(2):
        got = answered(dhcpv6(1, ia_na(7)), replies)
        assert (got.event, got.frame, got.dropped) == ("no_client_id", None, ())
    assert len(replies.memo) == 1


def test_a_server_that_was_started_anew_goes_on_with_the_lease() -> None:
    state = "silent"
    for payload, expected in (
        (solicit(), "offered"),
        (to_us(3, ia_na(7, POD)), "bound"),
        (to_us(5, ia_na(7, POD)), "renewed"),
        (dhcpv6(6, option(1, CLIENT_DUID), ia_na(7, POD)), "renewed"),
        (to_us(8, ia_na(7, POD)), "released"),
    ):
        got = answered(payload, compile_replies(LEASE))
        state = lease_state.after(state, got.event)
        assert state == expected
        assert got.frame


def test_a_pod_that_got_another_address_moves_its_guest_there() -> None:
    """What a live migration or a restored snapshot looks like."""
    old, new = compile_replies(LEASE), compile_replies(replace(LEASE, addresses=(LeasedAddress(OTHER, 10, 20),)))
    renew = to_us(5, ia_na(7, POD))
    before, after = answered(renew, old).frame, answered(renew, new).frame
    assert before
    assert after
    assert said(before) == [f"na 7 {FOREVER} {FOREVER} {POD},{FOREVER},{FOREVER}"]
    assert said(after) == [f"na 7 5 8 {POD},0,0 {OTHER},10,20"]


def test_of_lists_that_have_no_room_the_first_values_are_told_after_all_that_is_whole() -> None:
    domains = tuple(f"{letter * 60}.{letter * 60}.{letter * 60}.example" for letter in "abcdefg")
    asked = solicit(option(39, b"\0\2vm\0")).replace(oro(23, 24), oro(23, 24, 39, 56))
    lease = replace(LEASE, mtu=1280, domain_search=domains, ntp_servers=("2001:db8::123",))
    got = answered(asked, compile_replies(lease))
    assert got.frame
    assert got.dropped == (24,)
    options = dissect(got.frame)[1]
    assert [code for code, _ in options] == [1, 2, 7, 3, 23, 39, 56, 24]
    assert got.left_out == {24: (4, 7)}
    whole = compile_replies(lease).options[24][4:]
    assert dict(options)[24] == whole[: len(whole) // 7 * 4]
    wide = answered(asked, compile_replies(replace(lease, mtu=9000)))
    assert wide.frame
    assert wide.dropped == ()
    assert [code for code, _ in dissect(wide.frame)[1]] == [1, 2, 7, 3, 23, 24, 39, 56]


@pytest.mark.parametrize("spare", [0, 1])
def test_the_room_is_the_mtu_to_the_octet(spare: int) -> None:
    size = len(answered(solicit(), compile_replies(LEASE)).frame or b"") - 14
    filler = 1280 - size - spare + 1
    lease = replace(LEASE, mtu=1280, domain_search=(*LEASE.domain_search, *_names(filler)))
    got = answered(solicit(), compile_replies(lease))
    assert got.frame
    assert got.dropped == (() if spare else (24,))
    assert len(got.frame) - 14 <= 1280
    assert (len(got.frame) - 14 == 1280) is bool(spare)


@pytest.mark.parametrize("code", [23, 31, 56])
def test_of_many_servers_the_first_are_told(code: int) -> None:
    servers = tuple(f"2001:db8::{number:x}" for number in range(1, 101))
    lease = replace(LEASE, mtu=1280, nameservers=servers, ntp_servers=servers)
    got = answered(solicit().replace(oro(23, 24), oro(code)), compile_replies(lease))
    assert got.frame
    told, of = got.left_out[code]
    size = 20 if code == 56 else 16
    assert (of, told > 50) == (100, True)
    whole = compile_replies(lease).options[code][4:]
    assert dict(dissect(got.frame)[1])[code] == whole[: told * size]


def _names(octets: int) -> list[str]:
    """Names that take so many octets in option 24."""
    names = []
    while octets > 120:
        names.append(".".join(["x" * 48] * 2))
        octets -= 99
    first = octets // 2
    return [*names, f"{'y' * (first - 2)}.{'y' * (octets - first - 1)}"]


def test_a_guest_that_names_too_much_gets_silence_and_the_next_one_its_answer(replies: Replies) -> None:
    addresses = [f"2001:db8:ffff::{number:x}" for number in range(60)]
    assert answered(to_us(5, ia_na(7, *addresses)), replies).event == "reply_too_long"
    assert answered(to_us(5, ia_na(7, *addresses[:40])), replies).frame
    assert answered(to_us(8, ia_na(7, *addresses)), replies).event == "foreign_release"


def test_the_most_ias_there_may_be_of_each_kind_fit_the_smallest_mtu() -> None:
    replies = compile_replies(replace(LEASE, mtu=1280))
    duid = bytes(130)
    for ias in (map(ia_na, range(8)), map(ia_ta, range(8)), map(ia_pd, range(8))):
        got = answered(dhcpv6(1, option(1, duid), *ias, oro(23, 24)), replies)
        assert got.frame
        dissect(got.frame)
        assert got.dropped == ()


def test_replies_of_a_guest_that_is_not_served_hold_no_status() -> None:
    assert not compile_replies(replace(LEASE, served=False)).served


def test_the_whole_of_an_exchange_in_order() -> None:
    events = [
        outcome(frame(payload))[0]
        for payload in (
            solicit(),
            to_us(3, ia_na(7, POD)),
            to_us(5, ia_na(7, POD)),
            dhcpv6(6, option(1, CLIENT_DUID), ia_na(7, POD)),
            dhcpv6(4, option(1, CLIENT_DUID), ia_na(7, POD)),
            dhcpv6(11, oro(23)),
            to_us(9, ia_na(7, POD)),
            solicit(option(14)),
            to_us(8, ia_na(7, POD)),
        )
    ]
    assert events == [
        "advertise",
        "reply_request",
        "reply_renew",
        "reply_rebind",
        "confirm",
        "information",
        "decline",
        "reply_rapid_commit",
        "release",
    ]
