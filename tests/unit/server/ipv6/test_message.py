"""What is read of a DHCPv6 message, and what is ignored for which reason."""

from __future__ import annotations

import pytest

from tests.testlib.dhcp.frames import VM_MAC
from tests.testlib.ipv6.messages import (
    CLIENT_DUID,
    GUEST,
    OTHER,
    POD,
    SERVER_DUID,
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
    solicit,
    to_us,
)
from tests.testlib.ipv6.vectors import VECTORS
from vmnet.server.ipv6 import message, packet
from vmnet.server.ipv6.message import Message


def read(payload: bytes, **fields: object) -> Message:
    """The message in a frame."""
    got = packet.parse(frame(payload, **fields))
    assert isinstance(got, packet.Packet)
    asked = message.parse(got)
    assert isinstance(asked, Message), asked
    return asked


def test_everything_that_an_answer_depends_on_is_read() -> None:
    options = (
        ia_na(7, POD, OTHER),
        ia_ta(8),
        ia_pd(9, "2001:db8:1::/56"),
        oro(23, 24),
        option(39, b"\1\2vm\0"),
        option(14),
        option(8, b"\0\x63"),
        option(16, b"vendor"),
    )
    asked = read(to_us(3, *options))
    assert (asked.type, asked.xid, asked.source) == (message.REQUEST, 0xABCDEF, packed(GUEST))
    assert (asked.client_id, asked.server_id) == (CLIENT_DUID, SERVER_DUID)
    assert asked.ia_na == ((b"\0\0\0\7", (packed(POD), packed(OTHER))),)
    assert asked.ia_ta == ((b"\0\0\0\10", ()),)
    assert asked.ia_pd == ((b"\0\0\0\11", (b"\x38" + packed("2001:db8:1::"),)),)
    assert (asked.oro, asked.fqdn, asked.rapid_commit) == (b"\0\x17\0\x18", b"\1\2vm\0", True)
    assert asked.options == to_us(3, *options)[4:].replace(option(8, b"\0\x63"), b"")


def test_what_is_absent_is_empty() -> None:
    asked = read(dhcpv6(11, xid=0))
    assert (asked.type, asked.xid) == (message.INFORMATION_REQUEST, 0)
    empty = (asked.client_id, asked.server_id, asked.oro, asked.fqdn, asked.options)
    assert empty == (b"",) * 5
    assert (asked.rapid_commit, asked.ia_na, asked.ia_ta, asked.ia_pd) == (False, (), (), ())


def test_the_time_that_elapsed_changes_nothing() -> None:
    asked = [
        read(solicit().replace(option(8, b"\0\0"), option(8, time))).options for time in (b"\0\0", b"\xff\xff")
    ]
    assert asked[0] == asked[1]


@pytest.mark.parametrize("kind", [1, 3, 4, 5, 6, 8, 9, 11])
def test_the_messages_of_a_client(kind: int) -> None:
    assert read(dhcpv6(kind)).type == kind


@pytest.mark.parametrize("length", [3, 10, 14, 130])
def test_client_identifiers_of_any_kind(length: int) -> None:
    duid = bytes(range(length))
    assert read(solicit(client_id=duid)).client_id == duid


def test_as_much_as_is_read_at_the_most() -> None:
    asked = read(dhcpv6(1, *[option(65000)] * 32))
    assert asked.options == option(65000) * 32
    addresses = [f"2001:db8::{number:x}" for number in range(64)]
    assert len(read(dhcpv6(5, ia_na(7, *addresses))).ia_na[0][1]) == 64
    assert len(read(dhcpv6(1, *map(ia_na, range(8)))).ia_na) == 8
    assert len(read(dhcpv6(1, option(39, bytes(256)))).fqdn) == 256


def test_any_link_local_address_and_port_is_answered() -> None:
    for source in ("fe80::1", "fe80::ffff:ffff:ffff:ffff", "febf::1"):
        assert read(solicit(), source=source, sport=1).source == packed(source)


def test_icmpv6_is_not_looked_at() -> None:
    assert message.parse(packet.Packet(VM_MAC, 255, bytes(32), packet.ICMPV6, bytes(64))) == message.NOT_UDP


def test_there_are_as_many_hostile_vectors_as_promised() -> None:
    assert len(VECTORS) >= 60
    reasons = {word for name, word in vars(message).items() if name.isupper() and isinstance(word, str)}
    assert reasons - {reason for _, reason in VECTORS.values()} == {message.NOT_UDP}


@pytest.mark.parametrize("name", VECTORS)
def test_a_hostile_frame_changes_nothing(name: str) -> None:
    hostile, event = VECTORS[name]
    assert outcome(hostile)[0] == event
    for payload, normal in ((solicit(), "advertise"), (to_us(3, ia_na(7, POD)), "reply_request")):
        event, reply = outcome(frame(payload))
        assert event == normal
        dissect(reply)
