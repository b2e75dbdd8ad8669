"""What was once good, up to a million times changed, through a parser: nothing raises."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests import figures
from tests.extent import amount, seed
from tests.testlib.dhcp.frames import VM_MAC
from vmnet.server.auxdata import TP_STATUS_CSUMNOTREADY, TP_STATUS_VLAN_VALID

if TYPE_CHECKING:
    from collections.abc import Callable

FRAMES = amount(50_000, 1_000_000)
BATCH = 10_000
STATUSES = (0, 0, TP_STATUS_CSUMNOTREADY, TP_STATUS_CSUMNOTREADY, TP_STATUS_VLAN_VALID)


@dataclass(frozen=True)
class Mutations:
    """Seeds, the places in them where decisions are made, and octets that mean something there."""

    seeds: tuple[bytes, ...]
    places: tuple[tuple[int, int], ...]
    octets: bytes

    def frame(self, chance: random.Random) -> bytes:
        """A seed with octets changed, most often where decisions are made, and sometimes cut or doubled."""
        uniform = chance.random
        data = bytearray(self.seeds[int(uniform() * len(self.seeds))])
        for _ in range(1 + int(uniform() * 4)):
            low, high = self.places[int(uniform() * len(self.places))]
            at = low + int(uniform() * (min(high, len(data)) - low))
            octet = int(uniform() * 3 * len(self.octets))
            data[at] = self.octets[octet] if octet < len(self.octets) else int(uniform() * 256)
        cut = uniform()
        if cut < 0.1:
            del data[int(cut * 10 * len(data)) :]
        elif cut < 0.12:
            data = data * 2
        data[6:12] = VM_MAC if uniform() < 0.99 else b"\2\0\0\0\0\7"
        return bytes(data)

    def batch(self, chance: random.Random) -> list[tuple[bytes, int]]:
        """Frames with the status that the kernel gives them."""
        return [(self.frame(chance), STATUSES[int(chance.random() * len(STATUSES))]) for _ in range(BATCH)]


def read_all(mutations: Mutations, read: Callable[[bytes, int], str | int]) -> set[str | int]:
    """Read so many frames; return all that `read` said of them. Prints the seed and figures, in CPU time."""
    chance = random.Random(seed())  # noqa: S311 - a seeded test
    clock = time.thread_time_ns
    spent, longest, seen = 0, 0, set[str | int]()
    for _ in range(FRAMES // BATCH):
        for data, status in mutations.batch(chance):
            before = clock()
            try:
                got = read(data, status)
            except Exception as error:  # noqa: BLE001 # that there is none is the test
                pytest.fail(f"{error!r} at status {status}: {data.hex()}")
            took = clock() - before
            spent += took
            longest = max(longest, took)
            seen.add(got)
    figures.tell(f"one of {FRAMES:,} frames", spent / FRAMES / 1000, "µs", at_most=20)
    figures.tell("the longest", longest / 1e6, "ms", at_most=50)
    return seen


def must_read_or_refuse(loads: Callable[[bytes], object], good: bytes) -> None:
    """Change octets of what `loads` reads; it may raise ValueError, and nothing else."""
    chance = random.Random(3)  # noqa: S311 - a seeded test
    for _ in range(5000):
        data = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            loads(bytes(data))
        except ValueError:
            continue
