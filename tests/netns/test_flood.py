"""A guest that floods its server with DHCP, its own or in the name of others: the VM's exchange goes through.

The server is the real one, behind the pod's real tap; a second process floods through the descriptor that the
client speaks through. Frames are counted on both sides, and that is what is asserted. Rates, latencies and shares
of a core are figures, which `make soak` holds against their limits.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from testbed.patience import attempts
from testbed.tap_guest import raw_tap
from tests import figures
from tests.extent import amount
from tests.loud import LOUD
from tests.netns.raw_client import Served, served
from tests.testlib.dhcp.frames import bootp, frame, message, option

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.tap_guest import RawTap

pytestmark = pytest.mark.alone(reason=LOUD)
SECONDS = amount(1, 8) / 2
FAST, FIXED = 100_000, 10_000
"""Frames a second: at least, where as many are sent as go; and of a flood that keeps to a rate."""
PAUSE = 0.01
"""Between two exchanges of the client: one that asks a hundred times a second is patient enough."""
STRANGER = b"\2\0\0\0\0\7"
MIB = 1 << 20
EXCHANGE_EVENTS = ("offer", "ack_selecting")


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as made:
        yield made


@dataclass(frozen=True, slots=True)
class Flood:
    """What was sent, and how the client fared meanwhile."""

    sent: int
    rate: float
    latencies: list[float]
    share: float
    """Of one core, by the server."""

    def percentile(self, percent: int) -> float:
        """So many of a hundred exchanges were that quick, in milliseconds."""
        return 1000 * sorted(self.latencies)[len(self.latencies) * percent // 100]

    def tell(self, rate: int, share: float, resent: int) -> None:
        """Print its figures, of which these are limits: the least rate, and the server's greatest share."""
        figures.tell("the flood", self.rate, "frames/s", at_least=0.9 * rate)
        figures.tell("the server's share of a core", 100 * self.share, "%", at_most=100 * share)
        if self.latencies:
            figures.tell("exchanges", len(self.latencies), f"and {resent} questions asked again")
            figures.tell("the 50th percentile", self.percentile(50), "ms")
            figures.tell("the 99th percentile", self.percentile(99), "ms")


def flooded(mine: Served, data: bytes, rate: int, directory: Path, *, lease: bool = True) -> Flood:
    """Flood for some seconds; the client leases all the while, or only takes what comes."""
    latencies, before, began = [], mine.cpu_seconds(), time.monotonic()
    with mine.client.tap.flooded(data, rate, SECONDS, directory / "flooder.log") as flooder:
        flooder.wait_for("^flooding$")
        while flooder.process.poll() is None:
            if lease:
                latencies.append(mine.client.exchange())
            mine.client.tap.take(PAUSE)
        share = (mine.cpu_seconds() - before) / (time.monotonic() - began)
        sent, took = flooder.wait_for(r"^(\d+) ([\d.]+)$").groups()
    return Flood(int(sent), int(sent) / float(took), latencies, share)


def test_a_flood_from_another_mac_costs_the_server_nothing(mine: Served, tmp_path: Path) -> None:
    stranger = frame(bootp(message(1), chaddr=STRANGER), source_mac=STRANGER)
    resident = mine.memory()
    flood = flooded(mine, stranger, 0, tmp_path)
    report = mine.report()

    flood.tell(FAST, 0.05, mine.client.resent)
    figures.tell("an exchange meanwhile", flood.percentile(99), "ms", at_most=10)
    assert report["ignored"] == {"foreign_source_mac": flood.sent}  # and none of the VM's
    assert [line["mac"] for line in mine.lines("foreign_source_mac")] == ["02:00:00:00:00:07"]
    assert mine.memory() - resident <= MIB


def test_frames_that_are_no_dhcp_never_wake_the_server(mine: Served, tmp_path: Path) -> None:
    before = mine.wake_ups()
    flood = flooded(mine, mine.client.frame(bytes(300), dport=53), 0, tmp_path, lease=False)
    woken = mine.wake_ups() - before

    flood.tell(FAST, 0.001, mine.client.resent)
    # What the kernel says of a link wakes it, too, now and then; each frame would, if one did.
    assert woken * 1000 < flood.sent
    assert mine.report()["ignored"] == {}


def test_the_vms_own_flood_of_10_000_a_second_is_served_and_the_exchange_too(mine: Served, tmp_path: Path) -> None:
    resident = mine.memory()
    flood = flooded(mine, mine.client.discover(), FIXED, tmp_path)
    mine.client.exchange()  # behind whatever of the flood still waits in the socket
    report = mine.report()

    flood.tell(FIXED, 0.3, mine.client.resent)
    assert report["events"]["ack_selecting"] >= 1 + len(flood.latencies)
    assert _heard(report) == 2 * (2 + len(flood.latencies)) + mine.client.resent + flood.sent
    assert mine.memory() - resident <= MIB


def test_the_heaviest_frames_are_served_past(mine: Served, tmp_path: Path) -> None:
    """As many pieces of an option as a frame holds, with a pad behind each: each is a step of the walk."""
    heaviest = mine.client.discover(*[option(61, b"x") + b"\0"] * 300)
    flood = flooded(mine, heaviest, FIXED, tmp_path)
    mine.client.exchange()  # behind whatever of the flood still waits in the socket
    report = mine.report()

    flood.tell(FIXED, 0.3, mine.client.resent)
    assert report["ignored"]["too_many_options"] + report["ignored"].get("queue_full", 0) >= flood.sent
    assert report["events"]["ack_selecting"] >= 1 + len(flood.latencies)


def test_after_the_greatest_flood_the_next_exchange_succeeds(mine: Served, tmp_path: Path) -> None:
    resident = mine.memory()
    flood = flooded(mine, mine.client.discover(), 0, tmp_path, lease=False)
    seconds = mine.client.exchange()
    report = mine.report()

    flood.tell(FAST, 1, mine.client.resent)
    figures.tell("of them answered", 100 * report["events"]["offer"] / flood.sent, "%")
    figures.tell("the next exchange", seconds, "s", at_most=1)
    figures.tell("grown by", (mine.memory() - resident) / MIB, "MiB")
    figures.tell("that met a full queue", report["ignored"].get("queue_full", 0), "frames", at_least=1)
    assert _heard(report) == 2 * 2 + mine.client.resent + flood.sent
    assert mine.memory() - resident <= MIB


def test_each_foreign_mac_is_told_of_once_and_also_through_a_new_tap(mine: Served) -> None:
    strangers = [b"\2\0\0\0\1" + bytes((number,)) for number in range(10)]
    for mac in strangers * 2:
        mine.client.tap.send(_of(mac))
    assert mine.report()["ignored"] == {"foreign_source_mac": 20}
    _told_of(mine, mine.client.tap, strangers)

    mine.pod.netns.ip_batch("link delete tap0", "tuntap add tap0 mode tap vnet_hdr", "link set tap0 up")
    with raw_tap(mine.pod.netns) as tap:
        _told_of(mine, tap, [*strangers, STRANGER], _of(STRANGER))
        assert mine.report()["ignored"]["foreign_source_mac"] > 20


def _of(mac: bytes) -> bytes:
    """A DISCOVER of somebody else."""
    return frame(bootp(message(1), chaddr=mac), source_mac=mac)


def _told_of(mine: Served, tap: RawTap, macs: list[bytes], again: bytes = b"") -> None:
    """The log comes to name these, each once; `again` is sent until it does."""
    for _ in attempts("the log to name each foreign MAC"):
        told = [line["mac"] for line in mine.lines("foreign_source_mac")]
        if len(told) >= len(macs):
            break
        if again:
            tap.send(again)
        tap.take(PAUSE)
    assert told == [mac.hex(":") for mac in macs]


def _heard(report: dict[str, dict[str, int]]) -> int:
    """How many frames of the VM were answered, or met a full queue: together all that it sent."""
    answered = sum(report["events"].get(event, 0) for event in EXCHANGE_EVENTS)
    return answered + report["ignored"].get("queue_full", 0)
