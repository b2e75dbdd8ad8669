"""Frames that were once good, through both parsers and the answer: none raises."""

from __future__ import annotations

import struct

from tests.testlib.dhcp.frames import VM_MAC
from tests.testlib.ipv6.messages import (
    CLIENT_DUID,
    OTHER,
    POD,
    REPLIES,
    dhcpv6,
    frame,
    ia_na,
    ia_pd,
    ia_ta,
    option,
    oro,
    solicit,
    to_us,
)
from tests.testlib.mutations import Mutations, read_all
from vmnet.server.ipv6 import message, packet
from vmnet.server.ipv6.answer import answer
from vmnet.server.ipv6.message import Message

SEEDS = (
    frame(solicit(option(14), option(39, b"\1\2vm\0"))),
    frame(to_us(3, ia_na(7, POD), ia_pd(8, "2001:db8:1::/56"), oro(23, 24, 39))),
    frame(to_us(5, ia_na(7, POD, OTHER), ia_na(8), ia_ta(9, OTHER), option(8, b"\0\1"))),
    frame(dhcpv6(6, option(1, CLIENT_DUID), ia_na(7, OTHER), ia_pd(8, "2001:db8:1::/56"))),
    frame(dhcpv6(4, option(1, CLIENT_DUID), ia_na(7, POD))),
    frame(to_us(8, ia_na(7, POD), ia_na(8, OTHER))),
    frame(to_us(9, ia_na(7, POD))),
    frame(dhcpv6(11, oro(23, 24, 32))),
    frame(dhcpv6(1, option(1, CLIENT_DUID), *map(ia_na, range(8)))),
    frame(dhcpv6(1, option(1, CLIENT_DUID), *[option(65000)] * 31)),
    frame(dhcpv6(5, ia_na(7, *[f"2001:db8::{number:x}" for number in range(45)]))),
)
MUTATIONS = Mutations(
    SEEDS,
    places=((0, 62), (62, 66), (66, 110), (66, 180)),
    octets=bytes((0, 1, 2, 3, 4, 5, 6, 8, 14, 16, 24, 25, 26, 39, 255)),
)
REASONS = {
    word
    for room in (packet, message)
    for name, word in vars(room).items()
    if name.isupper() and isinstance(word, str)
}
RARE = {packet.VLAN, message.NOT_UDP, message.TOO_MANY_ADDRESSES, message.TOO_MANY_IAS, message.TOO_MANY_OPTIONS}
"""What no changed octet leads to, or seldom; tests/testlib/ipv6/vectors.py and test_packet.py have each."""


def read(data: bytes, status: int) -> str:
    """The reason to ignore the frame, or the event. What is answered has its lengths right."""
    got = packet.parse(data, status)
    if isinstance(got, str):
        return got
    asked = message.parse(got)
    if not isinstance(asked, Message):
        return asked
    answered = answer(asked, REPLIES)
    reply = answered.frame
    if reply is not None:
        assert reply[:6] == VM_MAC
        assert reply[18:20] == reply[58:60] == struct.pack("!H", len(reply) - 54)
    return answered.event


def test_mutated_frames_none_raises() -> None:
    seen = read_all(MUTATIONS, read)
    assert REASONS - RARE - seen == set()
    assert {"advertise", "reply_request", "reply_renew", "reply_rebind", "confirm", "release", "decline"} <= seen
    assert {"not_on_link", "other_server", "no_client_id", "information", "information_with_ia"} <= seen
