"""What is taken of neighbour discovery, and by what name the rest is ignored. RFC 4861, section by section."""

from __future__ import annotations

import pytest

from tests.testlib.ipv6.discovery import (
    ALL_NODES,
    GATEWAY_MAC,
    GUEST,
    NOBODY,
    NODE,
    OTHER_MAC,
    POD,
    SOURCE,
    SYNTHETIC,
    VM_MAC,
    advertiser,
    dissect,
    frame,
    na,
    node,
    ns,
    option,
    outcome,
    packed,
    reason,
    rs,
    taken,
)
from vmnet.server.ipv6 import neighbour, packet
from vmnet.server.ipv6.neighbour import NeighbourSolicitation, RouterSolicitation, heard, parse

GATEWAYS = (b"", packed("fe80::b"), packed(NODE))
SOLICITED_NODE = node(SYNTHETIC)


@pytest.mark.parametrize(
    ("data", "source"),
    [
        (rs(SOURCE), GUEST),
        (rs(), GUEST),
        (rs(source=NOBODY), NOBODY),
        (rs(SOURCE, source=POD), POD),
        (rs(SOURCE, destination="fe80::b"), GUEST),
        (rs(SOURCE, option(14, bytes(6))), GUEST),
        (rs(option(253, bytes(14)), SOURCE), GUEST),
        (rs(*[option(253, bytes(6))] * 32), GUEST),
        (rs(mac=OTHER_MAC), GUEST),
    ],
)
def test_a_router_solicitation(data: bytes, source: str) -> None:
    solicitation = parse(taken(data))
    assert isinstance(solicitation, RouterSolicitation)
    assert (solicitation.source, solicitation.mac) == (packed(source), data[6:12])


@pytest.mark.parametrize(
    ("data", "source"),
    [
        (ns(SYNTHETIC, SOURCE), GUEST),
        (ns(SYNTHETIC), GUEST),
        (ns(SYNTHETIC, SOURCE, destination=SYNTHETIC), GUEST),
        (ns(SYNTHETIC, SOURCE, source=POD), POD),
        (ns(SYNTHETIC, source=NOBODY), NOBODY),
        (ns(SYNTHETIC, option(14, bytes(6)), source=NOBODY), NOBODY),
    ],
)
def test_a_neighbour_solicitation(data: bytes, source: str) -> None:
    solicitation = parse(taken(data))
    assert isinstance(solicitation, NeighbourSolicitation)
    assert (solicitation.source, solicitation.mac) == (packed(source), VM_MAC)
    assert solicitation.target == packed(SYNTHETIC)


HOSTILE = {
    "a solicitation that crossed a router": (rs(SOURCE, hop_limit=254), neighbour.HOP_LIMIT),
    "hop limit zero": (ns(SYNTHETIC, SOURCE, hop_limit=0), neighbour.HOP_LIMIT),
    "another code": (rs(SOURCE, code=1), neighbour.CODE),
    "another code of a neighbour's": (ns(SYNTHETIC, SOURCE, code=255), neighbour.CODE),
    "a neighbour's without its target": (frame(bytes((135,)) + bytes(7)), neighbour.LENGTH),
    "a target cut off": (frame(bytes((135,)) + bytes(22)), neighbour.LENGTH),
    "an option of length zero": (rs(option(1, VM_MAC, 0)), neighbour.OPTION_LENGTH),
    "an endless row of such": (ns(SYNTHETIC, *[bytes(8)] * 100), neighbour.OPTION_LENGTH),
    "an option past the end": (rs(option(1, VM_MAC, 2)), neighbour.OPTION_LENGTH),
    "an option of 2040 octets": (ns(SYNTHETIC, option(1, VM_MAC, 255)), neighbour.OPTION_LENGTH),
    "an option's type without its length": (rs(SOURCE, b"\1"), neighbour.OPTION_LENGTH),
    "half an option": (ns(SYNTHETIC, SOURCE, b"\1\1\2"), neighbour.OPTION_LENGTH),
    "a good option before a bad one": (rs(SOURCE, bytes(8)), neighbour.OPTION_LENGTH),
    "more options than anybody sends": (rs(*[option(253, bytes(6))] * 33), neighbour.TOO_MANY_OPTIONS),
    "options up to the end of the frame": (rs(*[option(253, bytes(6))] * 180), neighbour.TOO_MANY_OPTIONS),
    "nobody with a link-layer address": (rs(SOURCE, source=NOBODY), neighbour.LINK_LAYER_WITHOUT_SOURCE),
    "nobody's neighbour with one": (ns(SYNTHETIC, SOURCE, source=NOBODY), neighbour.LINK_LAYER_WITHOUT_SOURCE),
    "a group as the target": (ns("ff02::1:ff00:5", SOURCE), neighbour.TARGET),
    "duplicate detection to one node": (
        ns(SYNTHETIC, source=NOBODY, destination=SYNTHETIC),
        neighbour.DAD_DESTINATION,
    ),
    "duplicate detection to all": (ns(SYNTHETIC, source=NOBODY, destination=ALL_NODES), neighbour.DAD_DESTINATION),
    "a router's advertisement": (frame(bytes((134,)) + bytes(15)), neighbour.NOT_SOLICITATION),
    "a neighbour's advertisement": (na(SYNTHETIC, mac=VM_MAC), neighbour.NOT_SOLICITATION),
    "a redirect": (frame(bytes((137,)) + bytes(39)), neighbour.NOT_SOLICITATION),
    "an echo request": (frame(bytes((128,)) + bytes(7)), neighbour.NOT_SOLICITATION),
    "UDP": (frame(bytes(8), protocol=17, checksum=0), packet.CHECKSUM),
    "a wrong checksum": (rs(SOURCE, checksum=0x1234), packet.CHECKSUM),
    "a group as the source": (rs(SOURCE, source="ff02::1"), packet.SOURCE),
    "an ICMPv6 of seven octets": (frame(bytes((133,)) + bytes(6)), packet.SHORT),
    "a length beyond the frame": (rs(SOURCE, length=200), packet.LENGTH),
    "a length that cuts the message": (rs(SOURCE, length=7), packet.LENGTH),
    "a first fragment": (rs(SOURCE, protocol=44, headers=b"\x3a\0\0\1" + bytes(4)), packet.EXTENSION_HEADER),
    "a fragment that is whole": (ns(SYNTHETIC, protocol=44, headers=b"\x3a" + bytes(7)), packet.EXTENSION_HEADER),
    "behind hop-by-hop options": (
        rs(SOURCE, protocol=0, headers=b"\x3a\0\1\4" + bytes(4)),
        packet.EXTENSION_HEADER,
    ),
    "version 4 inside": (rs(SOURCE, version=4), packet.NOT_IPV6),
    "a VLAN's tag": (rs(SOURCE, ethertype=0x8100), packet.NOT_IPV6),
}
"""What a hostile guest sends, and the name it is ignored by."""


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_hostile_is_ignored_by_name_and_the_next_is_served(name: str) -> None:
    speaker, _ = advertiser()
    data, word = HOSTILE[name]
    assert reason(data) == word
    advertised, _ = outcome(speaker, rs(SOURCE))
    assert [dissect(answer).dst for answer in advertised] == [VM_MAC.hex(":")]
    speaker.heard(0, GATEWAY_MAC)
    answered, _ = outcome(speaker, ns(SYNTHETIC, SOURCE))
    assert [dissect(answer).dst for answer in answered] == [VM_MAC.hex(":")]


TARGET = option(2, GATEWAY_MAC)
OF_GATEWAY = option(1, GATEWAY_MAC)


def advertised(flags: int, destination: str = POD, *options: bytes) -> bytes:
    return na(NODE, *(options or (TARGET,)), flags=flags, destination=destination)


HEARD = {
    "solicited and override": advertised(0x60),
    "of a router, too": advertised(0xE0),
    "solicited": advertised(0x40),
    "override": advertised(0x20),
    "to all": advertised(0x20, ALL_NODES),
    "from its link-local address": na(NODE, TARGET, source="fe80::77"),
    "after another option": advertised(0x60, POD, option(253, bytes(6)), TARGET),
    "asking for the pod": ns(POD, OF_GATEWAY, source=NODE, mac=GATEWAY_MAC),
    "asking for another": ns("fd00::99", OF_GATEWAY, source=NODE, mac=GATEWAY_MAC),
    "as a host that looks for routers": frame(bytes((133,)) + bytes(7) + OF_GATEWAY, source=NODE),
}
"""How a gateway tells its MAC."""


@pytest.mark.parametrize("name", HEARD)
def test_a_gateway_tells_its_mac(name: str) -> None:
    assert heard(taken(HEARD[name]), GATEWAYS) == (2, GATEWAY_MAC)


def test_a_link_local_gateway_tells_its_mac_by_its_own_advertisements_too() -> None:
    ra = frame(bytes((134, 0)) + bytes(14) + OF_GATEWAY, source="fe80::b", destination=ALL_NODES)
    assert heard(taken(ra), GATEWAYS) == (1, GATEWAY_MAC)


UNHEARD = {
    "an answer that is no more than a second opinion": advertised(0x00),
    "unsolicited and no override": advertised(0x80),
    "solicited, but to all": advertised(0x60, ALL_NODES),
    "with the source's option": advertised(0x60, POD, OF_GATEWAY),
    "without its MAC": advertised(0x60, POD, option(253, bytes(6))),
    "at no MAC": advertised(0x60, POD, option(2, bytes(6))),
    "at a group's MAC": advertised(0x60, POD, option(2, b"\x33\x33" + bytes(4))),
    "at a MAC of another length": advertised(0x60, POD, option(2, bytes(14))),
    "with an option of length zero": advertised(0x60, POD, option(2, GATEWAY_MAC, 0)),
    "with an option past the end": advertised(0x60, POD, option(253, bytes(6), 2), TARGET),
    "of another target": na("fd00::2", TARGET, source=NODE),
    "that crossed a router": na(NODE, TARGET, hop_limit=64),
    "a question without a MAC": ns(POD, source=NODE),
    "a question with the target's option": ns(POD, TARGET, source=NODE),
    "a question of another": ns(POD, OF_GATEWAY, source="fd00::2"),
    "a question that crossed a router": ns(POD, OF_GATEWAY, source=NODE, hop_limit=254),
    "a question with another code": ns(POD, OF_GATEWAY, source=NODE, code=1),
    "an answer without a target": frame(bytes((136, 0, 0, 0, 0x60, 0, 0, 0))),
    "an answer whose target is cut off": frame(bytes((136, 0, 0, 0, 0x60, 0, 0, 0)) + packed(NODE)[:8]),
    "a redirect": frame(bytes((137,)) + bytes(7) + packed(NODE) * 2 + TARGET, source=NODE),
    "an echo request": frame(bytes((128,)) + bytes(7) + OF_GATEWAY, source=NODE),
    "nothing at all": frame(bytes(8), source=NOBODY),
}
"""What looks like it, or belongs to others."""


@pytest.mark.parametrize("name", UNHEARD)
def test_nothing_else_does(name: str) -> None:
    assert heard(taken(UNHEARD[name]), GATEWAYS) is None


def test_of_two_options_the_first_counts() -> None:
    assert heard(taken(na(NODE, option(2, OTHER_MAC), TARGET)), GATEWAYS) == (2, OTHER_MAC)
