"""Frames that were once good, through the parser: none raises."""

from __future__ import annotations

from tests.testlib.dhcp.frames import END, VM_MAC, YIADDR, bootp, discover, frame, message, option
from tests.testlib.mutations import Mutations, read_all
from vmnet.server.dhcp import request as dhcp
from vmnet.server.dhcp.request import Request, parse

SEEDS = (
    discover(option(61, b"\1" + VM_MAC), option(57, b"\2\x40")),
    discover(tag=b"\x81\0\0\0", ip_options=b"\1\1\1\0"),
    frame(bootp(message(3, option(52, b"\3")), file=option(12, b"x") + END, sname=option(60, b"y"), length=0)),
    frame(bootp(message(7, option(54, YIADDR)), ciaddr=YIADDR), source=YIADDR),
    frame(bootp(message(8, option(82, b"\1\2ab")), ciaddr=YIADDR), source=YIADDR),
    frame(bootp(message(3, option(50, YIADDR), option(54, YIADDR), option(81, b"\4\0\0vm")), length=0)),
    frame(bootp(message(1, *[option(12)] * 15, option(61, b"x") * 15), length=1472)),
)
MUTATIONS = Mutations(
    SEEDS,
    places=((0, 50), (270, 340), (34, 46), (0, 282)),
    octets=bytes((0, 1, 3, 4, 50, 52, 53, 54, 55, 61, 82, 255)),
)
REASONS = {word for name, word in vars(dhcp).items() if name.isupper() and isinstance(word, str)}


def read(data: bytes, status: int) -> str | int:
    """The reason to ignore the frame, or the message's type."""
    got = parse(data, VM_MAC, status)
    return got.kind if isinstance(got, Request) else got


def test_mutated_frames_none_raises() -> None:
    seen = read_all(MUTATIONS, read)
    assert seen - REASONS == dhcp._MESSAGES
    assert REASONS - seen == set()
