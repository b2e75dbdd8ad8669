"""Wireshark's dissector over every reply of tests/data/dhcpv6: it knows nothing of scapy, nor of us."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.need import need
from tests.netns.test_tshark import GOOD, complaints, dissected
from tests.testlib.ipv6 import cases
from tests.testlib.ipv6.messages import said

if TYPE_CHECKING:
    from pathlib import Path

    from tests.testlib.ipv6.cases import Exchange

FIELDS = (
    "_ws.malformed", "_ws.expert.severity", "_ws.expert.message", "udp.checksum.status", "udp.dstport",
    "dhcpv6.msgtype", "dhcpv6.xid", "dhcpv6.option.type", "dhcpv6.iaaddr.ip", "dhcpv6.status_code",
)  # fmt: skip
NESTED = {5, 13, 26}
"""IA Address, Status Code and IA Prefix are inside IAs, or may be."""


def replies() -> list[tuple[str, Exchange]]:
    """Every reply with the name of its case."""
    loaded = [cases.load(name) for name in cases.names()]
    return [(case.name, exchange) for case in loaded for exchange in case.exchanges if exchange.reply]


def faults(seen: dict[str, Any], exchange: Exchange) -> list[str]:
    """What tshark complains of, or reads otherwise than it is written."""
    found = complaints(seen)
    found += [] if seen.get("udp.checksum.status") == GOOD else ["udp.checksum.status"]
    found += [] if seen["udp.dstport"] == ["546"] else [f"to port {seen['udp.dstport']}"]
    found += [] if seen["dhcpv6.msgtype"] == [exchange.kind] else [f"kind {seen['dhcpv6.msgtype']}"]
    xid = exchange.request[63:66].hex()
    found += [] if int(seen["dhcpv6.xid"][0], 16) == int(xid, 16) else [f"xid {seen['dhcpv6.xid']}"]
    codes = Counter(int(code) for code in seen["dhcpv6.option.type"])
    written = Counter(map(int, exchange.options.split()))
    outer = Counter({code: count for code, count in codes.items() if code not in NESTED})
    found += [] if outer == written - Counter({13: written[13]}) else [f"options {sorted(codes.elements())}"]
    words = " ".join(exchange.ias)
    addresses = seen.get("dhcpv6.iaaddr.ip", [])
    told = [member.split(",")[0] for member in words.split() if "," in member and not member.startswith("status")]
    found += [] if addresses == [address for address in told if "/" not in address] else [f"addresses {addresses}"]
    statuses = words.replace("status,", "status ").split("status ")[1:]
    given = seen.get("dhcpv6.status_code", [])
    found += [] if given == [status.split()[0] for status in statuses] else [f"statuses {given}"]
    return found


def test_wireshark_finds_nothing_wrong_and_reads_what_is_written(tmp_path: Path) -> None:
    need("tshark", "tshark")
    named = replies()
    seen = dissected([exchange.reply for _, exchange in named], tmp_path, FIELDS)
    assert len(seen) == len(named) >= 80
    wrong = {name: faults(layers, exchange) for layers, (name, exchange) in zip(seen, named, strict=True)}
    assert {name: found for name, found in wrong.items() if found} == {}


@pytest.mark.parametrize(
    ("at", "octet", "complaint"),
    [
        pytest.param(60, 0, "udp.checksum.status", id="a wrong checksum"),
        pytest.param(65, 1, "xid", id="another transaction id"),
        pytest.param(62, 9, "kind", id="another message"),
        pytest.param(99, 200, "options", id="a length past the end"),
    ],
)
def test_wireshark_would_tell(at: int, octet: int, complaint: str, tmp_path: Path) -> None:
    need("tshark", "tshark")
    exchange = cases.load("V01").exchanges[0]
    assert said(exchange.reply) == exchange.ias
    frame = bytearray(exchange.reply)
    frame[at] = octet
    [seen] = dissected([bytes(frame)], tmp_path, FIELDS)
    assert complaint in " ".join(faults(seen, exchange))
