"""RFC 2131 §4.3 for one client, beyond tests/data/dhcp: orders of options, limits of size, what is remembered."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.testlib.dhcp.frames import (
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
from vmnet.compile.dhcp import compile_replies
from vmnet.model.lease import ClasslessRoute, Lease
from vmnet.model.settings import Boot, RawOption
from vmnet.server.dhcp.answer import answer
from vmnet.server.dhcp.domain_search import encode
from vmnet.server.dhcp.request import Request, parse

if TYPE_CHECKING:
    from vmnet.server.dhcp.replies import Replies

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
        assert (len(routes_of(options_of(reply)[121])) == 60) is (limit > 900)


def test_the_last_octet_is_used_and_no_more() -> None:
    lengths = {len(replied(request(1, option(61, b"a" * n)), LONG)) - 14 for n in range(2, 256)}
    assert max(lengths) == 576


def routes_of(value: bytes) -> list[tuple[bytes, bytes]]:
    """The routes of option 121: length and prefix, gateway."""
    found, at = [], 0
    while at < len(value):
        end = at + 1 + (value[at] + 7) // 8
        found.append((value[at:end], value[end : end + 4]))
        at = end + 4
    assert at == len(value)
    return found


def test_what_does_not_fit_is_told_as_far_as_it_fits_and_named() -> None:
    asked = parse(frame(bootp(message(1, prl=PRL))), VM_MAC)
    assert isinstance(asked, Request)
    answered = answer(asked, LONG)
    assert set(answered.left_out) == {15, 119, 121}
    told, of = answered.left_out[121]
    assert answered.frame
    routes = routes_of(options_of(answered.frame)[121])
    assert (len(routes), of) == (told, 60)
    assert [prefix for prefix, _ in routes] == [b"\x20" + packed(f"192.0.2.{number}") for number in range(told)]
    assert answer(asked, REPLIES).left_out == {}


DOMAINS = tuple(f"{'d' * (28 + number)}.x{number}.example" for number in range(20))
NAMES = encode(DOMAINS)


def count_of(names: bytes) -> int:
    """How many of the domains are whole in there."""
    return next(count for count in range(20, -1, -1) if encode(DOMAINS[:count]) == names)


@pytest.mark.parametrize("prl", [b"", PRL, b"\x77"])
@pytest.mark.parametrize(("size", "all_told"), [(b"", False), (b"\x02\x40", False), (b"\x05\xdc", True)])
def test_of_a_long_search_list_the_first_domains_are_told(size: bytes, all_told: bool, prl: bytes) -> None:
    asked = parse(frame(bootp(message(1, *([option(57, size)] if size else []), prl=prl))), VM_MAC)
    assert isinstance(asked, Request)
    answered = answer(asked, compile_replies(replace(LEASE, domain_search=DOMAINS)))
    assert answered.frame
    value = options_of(answered.frame)[119]
    assert NAMES.startswith(value)
    assert (value == NAMES) is all_told
    if not all_told:
        assert answered.left_out == {119: (count_of(value), 20)}
        assert len(answered.frame) - 14 > 576 - 40  # none of the next domain's room is left idle


@pytest.mark.parametrize(
    ("code", "lease"),
    [
        (6, replace(LEASE, nameservers=tuple(f"10.96.1.{number}" for number in range(200)))),
        (42, replace(LEASE, ntp_servers=tuple(f"10.96.1.{number}" for number in range(200)))),
    ],
)
def test_of_many_servers_the_first_are_told(code: int, lease: Lease) -> None:
    asked = parse(frame(bootp(message(1, prl=b"\x2a"))), VM_MAC)
    assert isinstance(asked, Request)
    answered = answer(asked, compile_replies(lease))
    assert answered.frame
    value = options_of(answered.frame)[code]
    told, of = answered.left_out[code]
    assert value == b"".join(packed(f"10.96.1.{number}") for number in range(told))
    assert (of, told > 60) == (200, True)


def test_of_many_routes_the_default_and_the_way_to_its_gateway_stay() -> None:
    on_link = tuple(ClasslessRoute(f"192.0.2.{number}/32", NO_ADDRESS) for number in range(70))
    way = (ClasslessRoute("169.254.1.1/32", NO_ADDRESS), ClasslessRoute("0.0.0.0/0", "169.254.1.1"))
    lease = replace(LEASE, classless_routes=(*on_link, *way), router="169.254.1.1")
    for prl in (b"", b"\x79\xf9", b"\xf9"):
        asked = parse(frame(bootp(message(1, prl=prl))), VM_MAC)
        assert isinstance(asked, Request)
        answered = answer(asked, compile_replies(lease))
        assert answered.frame
        options = options_of(answered.frame)
        for code in {121, 249} & options.keys():
            routes = routes_of(options[code])
            gateway = packed("169.254.1.1")
            assert routes[-2:] == [(b"\x20" + gateway, bytes(4)), (b"\0", gateway)]
            assert len(routes) == answered.left_out[code][0] < 72
        assert {121, 249} & options.keys()
        assert {1, 3, 6, 26} <= options.keys()


def test_an_option_that_is_no_list_is_split_and_never_cut() -> None:
    """RFC 3396: 400 octets over all three fields; 700 fit nowhere, and half of them would be of no use."""
    for length, told in ((400, True), (700, False)):
        opaque = replace(LEASE, options=(RawOption(43, "07" * length),))
        asked = parse(frame(bootp(message(1, prl=b"\x2b"))), VM_MAC)
        assert isinstance(asked, Request)
        answered = answer(asked, compile_replies(opaque))
        assert answered.frame
        assert options_of(answered.frame).get(43) == (b"\7" * length if told else None)
        assert answered.left_out == ({} if told else {43: (0, 1)})


def test_a_long_list_leaves_the_others_their_first_values() -> None:
    long = replace(
        LEASE,
        nameservers=tuple(f"10.96.1.{number}" for number in range(100)),
        classless_routes=tuple(ClasslessRoute(f"192.0.2.{number}/32", "10.0.0.1") for number in range(100)),
    )
    reply = replied(request(1, CLIENT_ID, RELAY_AGENT), compile_replies(long))
    options = options_of(reply)
    assert {1, 3, 6, 12, 26, 28, 58, 59, 121} <= options.keys()
    assert reply.rstrip(b"\0").endswith(RELAY_AGENT + END)


@given(
    counts=st.tuples(st.integers(0, 70), st.integers(0, 70), st.integers(0, 20), st.integers(0, 500)),
    size=st.integers(500, 1500),
    prl=st.binary(max_size=12),
    boot=st.booleans(),
)
@settings(max_examples=60, derandomize=True)
def test_whatever_is_left_out_the_rest_is_well_formed_and_true(
    counts: tuple[int, int, int, int], size: int, prl: bytes, boot: bool
) -> None:
    servers, routes, domains, opaque = counts
    lease = replace(
        LEASE,
        nameservers=tuple(f"10.96.1.{number}" for number in range(servers)),
        classless_routes=tuple(ClasslessRoute(f"192.0.2.{number}/32", "10.0.0.1") for number in range(routes)),
        domain_search=DOMAINS[:domains],
        options=(RawOption(43, "07" * opaque),) if opaque else (),
        boot=Boot("10.0.0.9", "ipxe.efi") if boot else Boot(),
    )
    replies = compile_replies(lease)
    asked = parse(frame(bootp(message(1, option(57, size.to_bytes(2)), prl=prl))), VM_MAC)
    assert isinstance(asked, Request)
    answered = answer(asked, replies)
    assert answered.frame
    assert len(answered.frame) - 14 <= max(576, min(size, 1450))
    options = options_of(answered.frame)
    for code, value in options.items():
        if code != 52:
            whole = value_of(replies.templates[0].options[code])
            assert whole == value if code not in answered.left_out else whole.startswith(value)
    assert not {code for code, (told, _) in answered.left_out.items() if told} - options.keys()
    assert not {code for code, (told, _) in answered.left_out.items() if not told} & options.keys()


def value_of(option_: bytes) -> bytes:
    """The pieces of an option, joined."""
    value, at = b"", 0
    while at < len(option_):
        value += option_[at + 2 : at + 2 + option_[at + 1]]
        at += 2 + option_[at + 1]
    return value


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
    opaque = replace(LEASE, options=(RawOption(43, "07" * 700),))
    reply = replied(request(1), compile_replies(opaque))
    assert 52 not in options_of(reply)
    assert 43 not in options_of(reply)


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
