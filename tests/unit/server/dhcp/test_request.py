"""A guest's bytes: what is read of them, and the name of each reason not to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dhcp_clients import CLIENTS
from tests.testlib.dhcp.frames import (
    COOKIE,
    END,
    NO_ADDRESS,
    OTHER,
    PRL,
    SCAPY,
    SERVER_ID,
    VM_MAC,
    YIADDR,
    bootp,
    discover,
    frame,
    message,
    option,
    packed,
)
from vmnet.server.auxdata import TP_STATUS_CSUM_VALID, TP_STATUS_CSUMNOTREADY, TP_STATUS_VLAN_VALID
from vmnet.server.dhcp.request import Request, foreign_chaddr, parse

FOREIGN = bytes.fromhex("020000000007")


def read(data: bytes, tp_status: int = 0, vlan_tci: int = 0) -> Request:
    """The request that a frame must be."""
    request = parse(data, VM_MAC, tp_status, vlan_tci)
    assert isinstance(request, Request), request
    return request


def number(address: str) -> int:
    return int.from_bytes(packed(address))


def test_every_field_is_read() -> None:
    options = message(
        3,
        option(50, YIADDR),
        option(54, SERVER_ID),
        option(57, b"\x05\xdc"),
        option(61, b"\1" + VM_MAC),
        option(80),
        option(82, b"\1\4port"),
        option(12, b"guest"),
    )
    payload = bootp(options, xid=0x01020304, flags=0x8000, ciaddr="10.0.0.6", giaddr="10.0.0.7", secs=9, hops=17)
    request = read(frame(payload, source="10.0.0.8", destination=SERVER_ID))
    assert (request.kind, request.xid, request.flags) == (3, 0x01020304, 0x8000)
    assert (request.ciaddr, request.giaddr) == (number("10.0.0.6"), number("10.0.0.7"))
    assert (request.source, request.destination) == (number("10.0.0.8"), number(SERVER_ID))
    assert (request.requested, request.server_id) == (number(YIADDR), number(SERVER_ID))
    assert (request.parameter_request_list, request.max_size) == (PRL, 1500)
    assert (request.client_id, request.relay_agent) == (b"\1" + VM_MAC, b"\1\4port")
    assert request.rapid_commit


def test_what_is_absent_is_empty() -> None:
    request = read(frame(bootp(message(1, prl=b""))))
    assert (request.requested, request.server_id, request.rapid_commit) == (None, None, False)
    assert (request.parameter_request_list, request.client_id, request.relay_agent) == (b"", b"", b"")
    assert request.max_size == 0


def test_a_frame_of_these_tests_is_one_of_scapy_s() -> None:
    chaddr, cookie = VM_MAC, COOKIE
    layers = SCAPY.Ether(src="02:00:00:00:00:01", dst="ff:ff:ff:ff:ff:ff")
    layers = layers / SCAPY.IP(src=NO_ADDRESS, dst="255.255.255.255") / SCAPY.UDP(sport=68, dport=67)
    layers = layers / SCAPY.BOOTP(chaddr=chaddr, xid=0xDEADBEEF, options=cookie)
    layers = layers / SCAPY.DHCP(options=[("message-type", 1), ("param_req_list", list(PRL)), "end"])
    ours = frame(bootp(message(1), length=0))
    theirs = bytes(layers)
    assert ours[:24] + ours[26:] == theirs[:24] + theirs[26:]  # but for the IP checksum, which parse leaves alone


LONG = bootp(message(1), length=1472)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(discover(), id="D1"),
        pytest.param(frame(LONG), id="M23"),
        pytest.param(frame(bootp(COOKIE[:0] + b"\0\0" + option(53, b"\1") + b"\0\0\0" + END)), id="D28 pads"),
        pytest.param(frame(bootp(option(53, b"\1"), length=0)), id="D29 no End, M21 short"),
        pytest.param(frame(bootp(message(1) + option(53, b"\3"))), id="D30 after End"),
        pytest.param(frame(bootp(option(53, b"\1") + option(53, b"\3") + END)), id="M22 the first 53 counts"),
        pytest.param(discover(checksum=0), id="M25 no checksum"),
        pytest.param(discover(ip_options=b"\1\1\1\0"), id="M32 IP options"),
        pytest.param(discover(ip_options=b"\1" * 40), id="M32 the most IP options"),
        pytest.param(discover(sport=1068), id="M33 any source port"),
        pytest.param(discover(trailer=b"\xff" * 9), id="M37 trailing padding"),
        pytest.param(discover(tag=b"\x81\0\xe0\0"), id="M31 priority tag in the frame"),
        pytest.param(discover(fragment=0x4000), id="do not fragment"),
        pytest.param(frame(bootp(message(1), secs=0xFFFF)), id="D21"),
        pytest.param(frame(bootp(message(1, prl=bytes(range(255))))), id="M24 a PRL of 255"),
    ],
)
def test_taken(data: bytes) -> None:
    assert read(data).kind == 1


def test_the_kernel_s_word_on_checksum_and_tag_is_heard() -> None:
    wrong = discover(checksum=0x1234)
    assert parse(wrong, VM_MAC) == "udp_checksum"
    assert read(wrong, TP_STATUS_CSUMNOTREADY).kind == 1
    assert read(wrong, TP_STATUS_CSUM_VALID).kind == 1
    assert read(discover(), TP_STATUS_VLAN_VALID, 0xE000).kind == 1
    assert parse(discover(), VM_MAC, TP_STATUS_VLAN_VALID, 0xE005) == "vlan"
    assert parse(discover(tag=b"\x81\0\0\0"), VM_MAC, TP_STATUS_VLAN_VALID) == "vlan"


@pytest.mark.parametrize("length", [300, 301, 302, 303])
def test_the_checksum_of_odd_and_even_lengths(length: int) -> None:
    good = frame(bootp(message(1), length=length))
    assert read(good).kind == 1
    assert parse(good[:-1] + bytes((good[-1] ^ 1,)), VM_MAC) == "udp_checksum"


@pytest.mark.parametrize(
    ("reason", "data"),
    [
        ("foreign_source_mac", discover(source_mac=FOREIGN)),
        ("foreign_source_mac", frame(bootp(message(1), chaddr=FOREIGN), source_mac=FOREIGN)),
        ("foreign_chaddr", frame(bootp(message(1), chaddr=FOREIGN))),
        ("foreign_chaddr", frame(bootp(message(1), chaddr=FOREIGN), ip_options=b"\1" * 8, tag=b"\x81\0\0\0")),
        ("short", b""),
        ("short", discover()[:200]),
        ("short", frame(bootp(b"", length=0)[:239])),
        ("no_message_type", frame(bootp(b"", length=0))),
        ("vlan", discover(tag=b"\x81\0\0\5")),
        ("vlan", discover(tag=b"\x81\0\0\0\x81\0\0\0")),
        ("not_ipv4", discover(tag=b"\x88\xa8\0\0\x81\0\0\0")),
        ("not_ipv4", discover(ethertype=0x0806)),
        ("not_ipv4", discover(ethertype=0x0150)),
        ("ip_header", discover(version=6)),
        ("ip_header", discover(version=3)),
        ("ip_header", discover()[:14] + b"\x44" + discover()[15:]),
        ("fragment", discover(fragment=0x2000)),
        ("fragment", discover(fragment=1)),
        ("not_udp", discover(protocol=6)),
        ("ip_length", discover(total_length=329)),
        ("ip_length", discover(total_length=267)),
        ("ip_length", discover(total_length=28)),
        ("ip_length", discover()[:14] + b"\x4f" + discover()[15:301]),
        ("not_port_67", discover(dport=68)),
        ("udp_length", discover(udp_length=9)),
        ("udp_length", discover(udp_length=1000)),
        ("udp_length", discover(udp_length=1)),
        ("bootp_op", frame(bootp(message(1), op=2))),
        ("bootp_op", frame(bootp(message(1), op=3))),
        ("hardware_type", frame(bootp(message(1), htype=6))),
        *(("hardware_type", frame(bootp(message(1), hlen=hlen))) for hlen in (0, 5, 7, 16, 17, 255)),
        ("cookie", frame(bootp(message(1), cookie=bytes(4)))),
        ("cookie", frame(bootp(message(1), cookie=b"\x63\x82\x53\x64"))),
        ("option_past_end", frame(bootp(option(53, b"\1") + b"\x0c\xfe", length=0))),
        ("option_past_end", frame(bootp(option(53, b"\1") + b"\x0c\1", length=0), trailer=b"xxxx")),
        ("option_past_end", frame(bootp(option(53, b"\1") + b"\x0c", length=0), trailer=b"\0\0\0\0")),
        ("option_past_end", frame(bootp(message(1, option(52, b"\1")), file=b"\0" * 126 + b"\x0c\1"))),
        ("no_message_type", frame(bootp(END))),
        *(("message_type", frame(bootp(option(53, value) + END))) for value in (b"", b"\1\1", b"\0", b"\xc8")),
        *(("message_type", frame(bootp(message(kind)))) for kind in (2, 5, 6, 9, 10, 13)),
        ("address_length", frame(bootp(message(3, option(50, b"\x0a\0\0"))))),
        ("address_length", frame(bootp(message(3, option(54, b""))))),
        ("address_length", frame(bootp(message(3, option(54, b"\x0a\0\0\1\0"))))),
    ],
)
def test_ignored_for_a_named_reason(reason: str, data: bytes) -> None:
    assert parse(data, VM_MAC) == reason
    if reason == "foreign_chaddr":
        assert foreign_chaddr(data) == FOREIGN


def test_overload_is_read_from_file_then_sname() -> None:
    in_file = bootp(option(52, b"\3") + option(55, b"\1") + END, file=option(53, b"\1") + option(55, b"\3") + END,
                    sname=option(53, b"\3") + option(55, b"\6") + option(12, b"guest"))  # fmt: skip
    request = read(frame(in_file))
    assert (request.kind, request.parameter_request_list) == (1, b"\1\3\6")


@pytest.mark.parametrize(
    ("value", "prl"),
    [
        (b"\1", b"\3"),
        (b"\2", b"\6"),
        (b"\3", b"\3\6"),
        (b"\0", b""),
        (b"\4", b""),
        (b"\3\3", b""),
        (b"", b""),
    ],
)
def test_overload_by_value(value: bytes, prl: bytes) -> None:
    fields = {"file": option(55, b"\3") + option(52, b"\3"), "sname": option(55, b"\6") + option(52, b"\3")}
    request = read(frame(bootp(message(1, option(52, value), prl=b""), **fields)))
    assert request.parameter_request_list == prl


def test_options_in_pieces_are_joined_and_fixed_ones_are_not() -> None:
    pieces = [option(55, b"\1\3"), option(61, b"\1\2"), option(50, YIADDR), option(55, b"\6"), option(61, b"\3")]
    request = read(frame(bootp(message(3, *pieces, option(50, OTHER), prl=b""))))
    assert (request.parameter_request_list, request.client_id) == (b"\1\3\6", b"\1\2\3")
    assert request.requested == number(YIADDR)


@pytest.mark.parametrize("value", [b"", b"\1"])
def test_a_client_id_below_two_octets_is_as_absent(value: bytes) -> None:
    assert read(discover(option(61, value))).client_id == b""


@pytest.mark.parametrize(("value", "size"), [(b"\2\x40", 576), (b"\1\x2c", 300), (b"\2", 0), (b"\2\x40\0", 0)])
def test_the_maximum_size(value: bytes, size: int) -> None:
    assert read(discover(option(57, value))).max_size == size


@given(st.binary(max_size=700), st.integers(0, 0xFF), st.integers(0, 0xFFFF))
def test_no_options_of_any_bytes_raise(options: bytes, tp_status: int, tci: int) -> None:
    got = parse(frame(bootp(options, length=0)), VM_MAC, tp_status, tci)
    assert isinstance(got, (str, Request))


def test_a_message_has_as_many_options_as_any_client_sends_and_three_times_that() -> None:
    """More would cost us more to read than to answer: 590 empty ones took 70 µs, which adds up in a flood."""
    sent = max(len(client["sends"]) for client in CLIENTS.values()) + 2  # the message type and the request list
    assert read(discover(*[option(12)] * (3 * sent - 2)))
    assert parse(discover(*[option(12)] * 31), VM_MAC) == "too_many_options"
    assert parse(discover(*[option(61, b"x")] * 380), VM_MAC) == "too_many_options"
    overloaded = bootp(message(1, option(52, b"\1")), file=option(12) * 33 + END)
    assert parse(frame(overloaded), VM_MAC) == "too_many_options"


def test_pads_in_a_row_are_as_good_as_one() -> None:
    assert read(discover(bytes(1100), *[option(12) + bytes(30)] * 14))
    assert parse(discover(*[option(12) + bytes(1)] * 16), VM_MAC) == "too_many_options"
    assert read(discover(bytes(1200), option(57, b"\2\x40"))).max_size == 576
    assert read(frame(bootp(message(1)[:-1], length=1472))).kind == 1
