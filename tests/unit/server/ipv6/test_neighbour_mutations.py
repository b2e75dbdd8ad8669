"""Solicitations and advertisements of each kind that were once good: none raises."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.testlib.ipv6.discovery import GATEWAY_MAC, NOBODY, NODE, SOURCE, SYNTHETIC, na, ns, option, packed, rs
from tests.testlib.mutations import Mutations, read_all
from vmnet.server.ipv6 import neighbour, packet
from vmnet.server.ipv6.neighbour import NeighbourSolicitation, RouterSolicitation, heard
from vmnet.server.ipv6.packet import parse

if TYPE_CHECKING:
    import random

NONCE = option(14, bytes(6))
LONG = [option(253, bytes(6))] * 32
SEEDS = {
    "router": (rs(SOURCE), rs(NONCE, source=NOBODY), rs(*LONG, NONCE)),
    "neighbour": (ns(SYNTHETIC, SOURCE), ns(SYNTHETIC, NONCE, source=NOBODY), ns(SYNTHETIC, *LONG, SOURCE)),
    "advertisement": (
        na(NODE, option(2, GATEWAY_MAC)),
        ns(SYNTHETIC, option(1, GATEWAY_MAC), source=NODE),
        na(NODE, *LONG[1:], option(2, GATEWAY_MAC)),
    ),
}
OCTETS = bytes((0, 1, 2, 17, 44, 58, 133, 134, 135, 136, 0x20, 0x40, 0x60, 0xFE, 0xFF))
GATEWAYS = (b"", packed("fe80::b"), packed(NODE))
FAULTS = {word for name, word in vars(neighbour).items() if name.isupper() and isinstance(word, str)}
BEFORE = {packet.SHORT, packet.NOT_IPV6, packet.LENGTH, packet.EXTENSION_HEADER, packet.SOURCE, packet.CHECKSUM}


class Solicitations(Mutations):
    """Mostly changed where ICMPv6 begins, and often of a length that fits again."""

    def frame(self, chance: random.Random) -> bytes:
        uniform = chance.random
        data = bytearray(self.seeds[int(uniform() * len(self.seeds))])
        for _ in range(1 + int(uniform() * 3)):
            at = 12 + int(uniform() * (min(90, len(data)) - 12))
            octet = int(uniform() * 2 * len(self.octets))
            data[at] = self.octets[octet] if octet < len(self.octets) else int(uniform() * 256)
        cut = uniform()
        if cut < 0.05:
            del data[int(cut * 20 * len(data)) :]
        elif cut < 0.07:
            data = data * 2
        elif cut < 0.2 and len(data) > 54:
            data[18:20] = (len(data) - 54).to_bytes(2)
        return bytes(data)


def read(data: bytes, status: int) -> str:
    """What is made of a frame, in a word, on both sides of the bridge."""
    taken = parse(data, status)
    if isinstance(taken, str):
        return taken
    found = heard(taken, GATEWAYS)
    if found:
        assert found[0] in (1, 2)
        assert len(found[1]) == 6
        return "heard"
    got = neighbour.parse(taken)
    return got if isinstance(got, str) else type(got).__name__


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("router", FAULTS - {neighbour.LENGTH, neighbour.TARGET, neighbour.DAD_DESTINATION}),
        ("neighbour", FAULTS),
        ("advertisement", {neighbour.NOT_SOLICITATION, "heard"}),
    ],
)
def test_mutated_frames_none_raises(kind: str, expected: set[str]) -> None:
    seen = read_all(Solicitations(SEEDS[kind], (), OCTETS), read)
    assert expected | BEFORE <= seen
    assert seen <= FAULTS | BEFORE | {"heard", RouterSolicitation.__name__, NeighbourSolicitation.__name__}
