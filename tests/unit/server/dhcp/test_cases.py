"""Every case of tests/data/dhcp, from the pod's facts to the frame that leaves, dissected by scapy."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.testlib.dhcp import cases
from tests.testlib.dhcp.frames import SCAPY, dissect

if TYPE_CHECKING:
    from tests.testlib.dhcp.cases import Case, Exchange

NAMES = cases.names()
LISTED = {"D": 30, "M": 37, "R": 19, "I": 5, "T": 1, "L": 6, "O": 30}
"""The cases that the README speaks of, by letter the last number."""
ROOT = Path(__file__).parents[4]


def test_there_are_as_many_as_promised() -> None:
    assert len(NAMES) >= 150


def test_each_case_of_the_list_is_a_file_or_says_what_shows_it_instead() -> None:
    listed = {f"{letter}{number:02}" for letter, last in LISTED.items() for number in range(1, last + 1)}
    readme = (cases.DIRECTORY / "README.md").read_text(encoding="utf-8")
    excused = set(re.findall(r"^\| ([A-Z]\d+) \|", readme, re.MULTILINE))
    assert listed - set(NAMES) == excused
    shown = re.findall(r"`(tests/[a-z_/]+\.py)`: `(test_\w+)`", readme)
    assert len(shown) >= len(excused)
    missing = [name for path, name in shown if f"def {name}(" not in (ROOT / path).read_text(encoding="utf-8")]
    assert missing == []


@pytest.mark.parametrize("name", NAMES)
def test_case(name: str) -> None:
    case = cases.load(name)
    lease = cases.lease_of(case)
    assert len(lease.warnings) == len(case.warns), lease.warnings
    assert [words for words in case.warns if not any(words in warning for warning in lease.warnings)] == []
    for exchange in case.exchanges:
        event, reply = cases.outcome(lease, exchange)
        if os.environ.get("VMNET_GOLDEN") == "write":
            _write(case, exchange, reply)
        assert (event, reply.hex()) == (exchange.event, exchange.reply.hex())
        if reply and event != "arp_reply":
            _compare(exchange)


def _write(case: Case, exchange: Exchange, reply: bytes) -> None:
    assert bool(reply) is bool(exchange.reply), "a reply and silence are told apart by hand"
    exchange.reply = reply
    cases.save(case)


def _compare(exchange: Exchange) -> None:
    """Compare the reply with what is written about it."""
    packet, options = dissect(exchange.reply)
    told = packet[SCAPY.BOOTP]
    asked = SCAPY.BOOTP(bytes(SCAPY.Ether(exchange.request)[SCAPY.UDP].payload))
    assert f"{packet.dst} {packet[SCAPY.IP].dst}" == exchange.to
    assert f"{told.ciaddr} {told.yiaddr} {told.siaddr}" == exchange.fields
    assert " ".join(map(str, options)) == exchange.options
    for value in exchange.values:
        code, octets = value.split()
        assert options[int(code)].hex() == octets
    assert (told.op, told.htype, told.hlen, told.hops, told.secs, told.giaddr) == (2, 1, 6, 0, 0, "0.0.0.0")  # noqa: S104
    assert (told.xid, int(told.flags), told.chaddr) == (asked.xid, int(asked.flags), asked.chaddr)
    assert len(bytes(packet[SCAPY.UDP].payload)) >= 300
    assert (packet[SCAPY.UDP].sport, packet[SCAPY.UDP].dport) == (67, 68)
