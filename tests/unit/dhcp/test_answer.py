"""RFC 2131 §4.3 for one client, beyond tests/data/dhcp: orders of options, limits of size, what is remembered."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.dhcp.frames import (
    END,
    LEASE,
    NO_ADDRESS,
    OTHER,
    PRL,
    REPLIES,
    SCAPY,
    SERVER_ID,
    VM_MAC,
    YIADDR,
    bootp,
    dissect,
    frame,
    message,
    option,
    options_of,
    outcome,
    packed,
)
from vmnet.dhcp.answer import answer
from vmnet.dhcp.compile import compile_replies
from vmnet.dhcp.request import Request, parse
from vmnet.model import Boot, ClasslessRoute

if TYPE_CHECKING:
    from vmnet.dhcp.replies import Replies

BROADCAST = 0x8000
US = option(54, SERVER_ID)
OURS = option(50, YIADDR)
CLIENT_ID = option(61, b"\xff\1\2\3\4" + b"\0\3\0\1" + VM_MAC + b"abcd")
RELAY_AGENT = option(82, b"\1\4port")


def request(kind: int, *options: bytes, to: str = "255.255.255.255", **fields: Any) -> bytes:  # noqa: ANN401 - each has its type
    """A message of the client; what is unicast comes from its own address."""
    ciaddr = fields.get("ciaddr", NO_ADDRESS)
    return frame(bootp(message(kind, *options), **fields), destination=to, source=ciaddr)


def replied(data: bytes, replies: Replies = REPLIES) -> bytes:
    """The reply that must come."""
    asked = parse(data, VM_MAC)
    assert isinstance(asked, Request)
    frame_ = answer(asked, replies).frame
    assert frame_ is not None
    return frame_


DEFAULT = [53, 54, 51, 1, 3, 6, 12, 15, 26, 28, 58, 59, 119, 121]


@pytest.mark.parametrize(
    ("prl", "codes"),
    [
        pytest.param(b"", DEFAULT, id="D7 nothing asked: all, in RFC 2132's order"),
        pytest.param(
            b"\x06\x0f\x03\x01", [53, 54, 51, 6, 15, 1, 3, 26, 121], id="D8 the client's order, 1 before 3"
        ),
        pytest.param(b"\x03", [53, 54, 51, 1, 3, 6, 26, 121], id="O7"),
        pytest.param(PRL, [53, 54, 51, 1, 3, 6, 12, 15, 26, 28, 58, 59, 119, 121], id="udhcpc"),
        pytest.param(b"\x79\xf9\x01\x03", [53, 54, 51, 121, 249, 1, 3, 6, 26], id="249 only when asked for"),
        pytest.param(b"\x50\x35\x36\x33\x38\x2a", [53, 54, 51, 1, 3, 6, 26, 121], id="80, 56 and unknown ones"),
        pytest.param(b"\x0c\x0c\x0c", [53, 54, 51, 12, 1, 3, 6, 26, 121], id="asked for twice"),
        pytest.param(
            bytes((1, 108, 116, 252)), [53, 54, 51, 1, 3, 6, 26, 121], id="D19 108, 116: not ours to give"
        ),
    ],
)
def test_the_order_of_options(prl: bytes, codes: list[int]) -> None:
    for kind in (message(1, prl=prl), message(3, OURS, US, prl=prl)):
        assert list(options_of(replied(frame(bootp(kind))))) == codes


@pytest.mark.parametrize("kind", ["offer", "ack", "nak", "inform"])
def test_client_id_and_relay_information_come_back_last_and_unchanged(kind: str) -> None:
    data = {
        "offer": request(1, RELAY_AGENT, CLIENT_ID),
        "ack": request(3, RELAY_AGENT, CLIENT_ID, OURS, US),
        "nak": request(3, RELAY_AGENT, CLIENT_ID, option(50, OTHER)),
        "inform": request(8, RELAY_AGENT, CLIENT_ID, ciaddr=YIADDR),
    }[kind]
    options = options_of(replied(data))
    assert list(options)[-2:] == [61, 82]
    assert (options[61], options[82]) == (CLIENT_ID[2:], RELAY_AGENT[2:])


def test_a_long_client_id_comes_back_in_pieces() -> None:
    data = request(1, option(61, b"a" * 255), option(61, b"b" * 45), option(57, b"\5\xdc"))
    assert options_of(replied(data))[61] == b"a" * 255 + b"b" * 45


LONG_LEASE = replace(
    LEASE,
    classless_routes=tuple(ClasslessRoute(f"192.0.2.{number}/32", "10.0.0.1") for number in range(60)),
    domain_search=tuple(f"{'x' * 50}{number}.example" for number in range(4)),
)
LONG = compile_replies(LONG_LEASE)


@pytest.mark.parametrize(
    ("size", "limit"),
    [
        (b"", 576),
        (b"\2\x40", 576),
        (b"\1\x2c", 576),
        (b"\0\0", 576),
        (b"\2", 576),
        (b"\3\xe8", 1000),
        (b"\xff\xff", 1450),
    ],
)
def test_no_reply_is_longer_than_the_client_and_the_tap_take(size: bytes, limit: int) -> None:
    for prl in (b"", PRL, bytes((119, 121, 249, 3, 6))):
        options = message(1, *([option(57, size)] if size else []), CLIENT_ID, RELAY_AGENT, prl=prl)
        reply = replied(frame(bootp(options)), LONG)
        assert len(reply) - 14 <= limit
        assert {53, 54, 51, 1, 3, 6, 26, 61, 82} <= dissect(reply)[1].keys()
        assert (121 in options_of(reply)) is (limit > 900)


def test_the_last_octet_is_used_and_no_more() -> None:
    lengths = {len(replied(request(1, option(61, b"a" * n)), LONG)) - 14 for n in range(2, 256)}
    assert max(lengths) == 576


def test_what_does_not_fit_is_dropped_whole_and_named() -> None:
    asked = parse(frame(bootp(message(1, prl=PRL))), VM_MAC)
    assert isinstance(asked, Request)
    assert answer(asked, LONG).dropped == (119, 121)
    assert answer(asked, REPLIES).dropped == ()


def test_what_has_no_room_goes_into_file_and_sname() -> None:
    several = replace(
        LEASE,
        classless_routes=tuple(ClasslessRoute(f"192.0.2.{number}/32", "10.0.0.1") for number in range(22)),
        nameservers=tuple(f"10.96.0.{number}" for number in range(20)),
        domain_search=tuple(f"{'x' * 12}{number}.example" for number in range(3)),
    )
    replies = compile_replies(several)
    reply = replied(request(1, CLIENT_ID, RELAY_AGENT, option(57, b"\2\x40")), replies)
    options = options_of(reply)
    assert len(reply) - 14 <= 576
    assert options[52] == b"\3"
    assert list(options)[:4] == [53, 54, 51, 52]
    assert {1, 3, 6, 15, 26, 119, 121} <= options.keys()
    assert b"\x3d\x13" + CLIENT_ID[2:] + RELAY_AGENT + END in reply[282:]
    roomy = replied(request(1, CLIENT_ID, RELAY_AGENT, option(57, b"\5\xdc")), replies)
    assert 52 not in options_of(roomy)
    assert not roomy[86:278].strip(b"\0")


def test_where_the_names_carry_nothing_more_there_is_no_overload() -> None:
    reply = replied(request(1), compile_replies(replace(LONG_LEASE, domain_search=())))
    assert 52 not in options_of(reply)
    assert 121 not in options_of(reply)


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        pytest.param(b"\1\0\0vm", b"\x0a\xff\xffvm", id="S=1: overridden, ASCII as it came"),
        pytest.param(b"\5\0\0\2vm\7example\0", b"\x0e\xff\xff\2vm\7example\0", id="S=1 E=1"),
        pytest.param(b"\4\0\0\2vm\0", b"\x0c\xff\xff\2vm\0", id="S=0: nothing to override"),
        pytest.param(b"\x0c\0\0\2vm\0", b"\x0c\xff\xff\2vm\0", id="N=1: as wished"),
        pytest.param(b"\xf0\7\7\2vm\0", b"\x08\xff\xff\2vm\0", id="MBZ and RCODEs are not copied"),
        pytest.param(b"\4\0\0", b"\x0c\xff\xff", id="no name"),
        pytest.param(b"\4\0", None, id="too short"),
        pytest.param(b"", None, id="empty"),
    ],
)
def test_d20_a_client_s_name_is_given_back_and_no_dns_is_done(sent: bytes, answered: bytes | None) -> None:
    for data in (request(1, option(81, sent)), request(3, OURS, US, option(81, sent))):
        assert options_of(replied(data)).get(81) == answered
    assert 81 not in options_of(replied(request(3, option(50, OTHER), option(81, sent))))


def test_where_a_name_says_what_to_boot_nothing_overflows_into_it() -> None:
    replies = compile_replies(replace(LONG_LEASE, boot=Boot("10.0.0.9", "ipxe.efi")))
    reply = replied(request(1), replies)
    assert reply[150:278].rstrip(b"\0") == b"ipxe.efi"
    assert 52 not in options_of(reply)


def test_d19_ipv6_only_is_for_who_asks() -> None:
    replies = compile_replies(replace(LEASE, ipv6_only_wait=1800))
    for prl, told in ((b"\1\x6c", True), (b"\1", False), (b"", False)):
        assert (108 in options_of(replied(frame(bootp(message(1, prl=prl))), replies))) is told


def test_option_81_comes_where_it_was_asked_for() -> None:
    data = frame(bootp(message(1, option(81, b"\4\0\0\2vm\0"), CLIENT_ID, prl=b"\x0f\x51\1")))
    assert list(options_of(replied(data))) == [53, 54, 51, 15, 81, 1, 3, 6, 26, 121, 61]


def test_the_absurdly_long_echo_gives_way_to_the_lease() -> None:
    data = request(1, *[option(61, b"a" * 255)] * 2, *[option(82, b"b" * 255)] * 2)
    assert {53, 54, 51, 1, 3, 6, 26, 121} <= options_of(replied(data)).keys()
    assert len(replied(data)) - 14 <= 576


def test_sixty_routes_arrive_complete() -> None:
    reply = replied(frame(bootp(message(1, option(57, b"\5\xdc")))), LONG)
    assert options_of(reply)[121] == b"".join(b"\x20\xc0\0\2" + bytes((n,)) + b"\x0a\0\0\1" for n in range(60))


def test_nothing_of_one_reply_stays_in_the_next() -> None:
    once = replied(request(1, xid=1))
    replied(request(1, xid=0xFFFFFFFF, flags=BROADCAST))
    replied(request(3, ciaddr=YIADDR, xid=7))
    assert replied(request(1, xid=1)) == once


def test_the_memory_of_prepared_replies_is_bounded() -> None:
    replies = compile_replies(LEASE)
    for number in range(1000):
        data = frame(bootp(message(1, option(61, number.to_bytes(4)))))
        assert options_of(replied(data, replies))[61] == number.to_bytes(4)
        assert len(replies.memo) <= 64
    assert len(replies.memo) > 1


def test_any_request_gets_a_sound_reply_or_silence() -> None:
    chance = random.Random(2132)  # noqa: S311 - a seeded test
    addresses = (NO_ADDRESS, YIADDR, OTHER)
    for _ in range(1500):
        options = [
            option(50, YIADDR),
            option(50, OTHER),
            US,
            option(54, OTHER),
            option(80),
            CLIENT_ID,
            RELAY_AGENT,
        ]
        options.append(option(57, chance.randrange(65536).to_bytes(2)))
        options.append(option(61, chance.randbytes(chance.randrange(256))))
        chance.shuffle(options)
        prl = chance.randbytes(chance.randrange(256))
        payload = bootp(
            message(chance.choice((1, 3, 4, 7, 8)), *options[: chance.randrange(7)], prl=prl),
            xid=chance.randrange(1 << 32),
            flags=chance.randrange(1 << 16),
            ciaddr=chance.choice(addresses),
        )
        _, reply = outcome(frame(payload, source=chance.choice(addresses)))
        if reply:
            packet, found = dissect(reply)
            assert packet[SCAPY.BOOTP].xid == int.from_bytes(payload[4:8])
            assert found[54] == packed(SERVER_ID)
            assert len(reply) - 14 <= 1450
