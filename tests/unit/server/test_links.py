"""What the kernel tells of links, read as octets: a tap that was closed, and everything that is none of ours."""

from __future__ import annotations

import random
import struct

import pytest

from vmnet.server.links import TapHolder

UP, LOWER_UP = 0x1, 0x10000
NEWLINK, DELLINK, NEWADDR = 16, 17, 20


def attribute(kind: int, octets: bytes) -> bytes:
    return (struct.pack("=HH", 4 + len(octets), kind) + octets).ljust((4 + len(octets) + 3) & ~3, b"\0")


def told(flags: int, falls: int | None = None, name: bytes = b"tap0\0", kind: int = NEWLINK) -> bytes:
    """An RTM_NEWLINK as the kernel writes it (rtnetlink(7))."""
    attributes = attribute(3, name) + (b"" if falls is None else attribute(48, struct.pack("=I", falls)))
    body = struct.pack("=BxHiII", 0, 1, 7, flags, 0) + attributes
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


@pytest.mark.parametrize(
    ("messages", "closed"),
    [
        ([told(UP, 1)], [True]),
        ([told(UP | LOWER_UP, 1)], [False]),
        ([told(UP | LOWER_UP, 1), told(UP | LOWER_UP, 1)], [False, False]),
        ([told(UP | LOWER_UP, 1), told(UP | LOWER_UP, 2)], [False, True]),
        ([told(UP | LOWER_UP, 1) + told(UP, 2) + told(UP | LOWER_UP, 2)], [True]),
        ([told(UP | LOWER_UP), told(UP)], [False, True]),
        ([told(LOWER_UP, 1)], [False]),
        ([told(0, 1)], [False]),
        ([told(UP, 1, b"tap1\0")], [False]),
        ([told(UP, 1, b"tap01\0")], [False]),
        ([told(UP, 1, kind=DELLINK)], [False]),
        ([told(UP, 1, kind=NEWADDR)], [False]),
        ([told(UP, 1, b"eth0\0") + told(UP, 1)], [True]),
    ],
)
def test_a_tap_that_nobody_holds_or_that_was_opened_anew(messages: list[bytes], closed: list[bool]) -> None:
    holder = TapHolder("tap0")
    assert [holder.closed(message) for message in messages] == closed


def test_octets_that_are_no_messages_are_none() -> None:
    whole = told(UP, 1)
    for end in range(len(whole)):
        TapHolder("tap0").closed(whole[:end])
    numbers = random.Random(1)  # noqa: S311 # the same ones each time
    for _ in range(2000):
        broken = bytearray(whole + whole)
        broken[numbers.randrange(len(broken))] = numbers.randrange(256)
        TapHolder("tap0").closed(bytes(broken))
    assert TapHolder("tap0").closed(bytes(64)) is False
