"""A million frames that were once good, through the parser: none raises, none takes long."""

from __future__ import annotations

import os
import random
import time

import pytest

from tests.unit.dhcp.frames import END, VM_MAC, YIADDR, bootp, discover, frame, message, option
from vmnet.dhcp import request as dhcp
from vmnet.dhcp.request import TP_STATUS_CSUMNOTREADY, TP_STATUS_VLAN_VALID, Request, parse

FRAMES = 1_000_000
BATCH = 10_000
MOST_SECONDS = 60
SEEDS = (
    discover(option(61, b"\1" + VM_MAC), option(57, b"\2\x40")),
    discover(tag=b"\x81\0\0\0", ip_options=b"\1\1\1\0"),
    frame(bootp(message(3, option(52, b"\3")), file=option(12, b"x") + END, sname=option(60, b"y"), length=0)),
    frame(bootp(message(8, option(82, b"\1\2ab")), ciaddr=YIADDR), source=YIADDR),
    frame(bootp(message(3, option(50, YIADDR), option(54, YIADDR), option(81, b"\4\0\0vm")), length=0)),
    frame(bootp(message(1, *[option(12)] * 15, option(61, b"x") * 15), length=1472)),
)
PLACES = ((0, 50), (270, 340), (34, 46), (0, 282))
"""Where decisions are made."""
OCTETS = bytes((0, 1, 3, 4, 50, 52, 53, 54, 55, 61, 82, 255))
STATUSES = (0, 0, TP_STATUS_CSUMNOTREADY, TP_STATUS_CSUMNOTREADY, TP_STATUS_VLAN_VALID)
REASONS = {word for name, word in vars(dhcp).items() if name.isupper() and isinstance(word, str)}


def mutated(chance: random.Random) -> bytes:
    """A seed with octets changed, most often where decisions are made, and sometimes cut or doubled."""
    uniform = chance.random
    data = bytearray(SEEDS[int(uniform() * len(SEEDS))])
    for _ in range(1 + int(uniform() * 4)):
        low, high = PLACES[int(uniform() * len(PLACES))]
        at = low + int(uniform() * (min(high, len(data)) - low))
        octet = int(uniform() * 3 * len(OCTETS))
        data[at] = OCTETS[octet] if octet < len(OCTETS) else int(uniform() * 256)
    cut = uniform()
    if cut < 0.1:
        del data[int(cut * 10 * len(data)) :]
    elif cut < 0.12:
        data = data * 2
    data[6:12] = VM_MAC if uniform() < 0.99 else b"\2\0\0\0\0\7"
    return bytes(data)


def batch(chance: random.Random) -> list[tuple[bytes, int]]:
    """Frames with the status that the kernel gives them."""
    return [(mutated(chance), STATUSES[int(chance.random() * len(STATUSES))]) for _ in range(BATCH)]


@pytest.mark.alone(reason="a million in a minute")
@pytest.mark.timeout(3 * MOST_SECONDS)
def test_a_million_mutated_frames_none_raises_and_none_takes_long() -> None:
    seed = int(os.environ.get("VMNET_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"VMNET_SEED={seed}")  # noqa: T201 # to try the same again
    chance = random.Random(seed)  # noqa: S311 - a seeded test
    clock, began = time.thread_time_ns, time.monotonic()
    done, spent, longest, seen = 0, 0, 0, set[str | int]()
    while done < FRAMES and time.monotonic() - began < MOST_SECONDS:
        for data, status in batch(chance):
            before = clock()
            try:
                got = parse(data, VM_MAC, status)
            except Exception as error:  # noqa: BLE001 # that there is none is the test
                pytest.fail(f"{error!r} at status {status}: {data.hex()}")
            took = clock() - before
            spent += took
            longest = max(longest, took)
            seen.add(got.kind if isinstance(got, Request) else got)
        done += BATCH

    print(  # noqa: T201 -- a figure
        f"{done:,} frames in {time.monotonic() - began:.0f} s, {spent / done / 1000:.1f} us each, "
        f"the longest {longest / 1e6:.1f} ms"
    )
    assert done == FRAMES, "the time was not enough"
    assert spent / done <= 20_000
    assert longest <= 50_000_000
    assert seen - REASONS == dhcp._MESSAGES
    assert REASONS - seen == set()
