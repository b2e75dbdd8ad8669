"""Wireshark's dissector over every reply of tests/data/dhcp, in one run: it knows nothing of scapy, nor of us."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import pytest

from testbed.netns import run
from tests.need import need
from tests.testlib.dhcp import cases

if TYPE_CHECKING:
    from pathlib import Path

    from tests.testlib.dhcp.cases import Exchange

FIELDS = (
    "_ws.malformed", "_ws.expert.severity", "_ws.expert.message", "ip.checksum.status", "udp.checksum.status",
    "eth.dst", "ip.dst", "dhcp.ip.client", "dhcp.ip.your", "dhcp.ip.server", "dhcp.option.type", "arp.opcode",
)  # fmt: skip
PI_WARN = 0x00600000
"""Wireshark's epan/proto.h: below are chats and notes, such as that a reply uses option 52."""
GOOD = ["1"]
PAD, END = "0", "255"


def replies() -> list[tuple[str, Exchange]]:
    """Every reply with the name of its case."""
    loaded = [cases.load(name) for name in cases.names()]
    return [(case.name, exchange) for case in loaded for exchange in case.exchanges if exchange.reply]


def pcap(frames: list[bytes]) -> bytes:
    """A capture of Ethernet frames (draft-ietf-opsawg-pcap)."""
    records = [struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame for frame in frames]
    return struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + b"".join(records)


def dissected(frames: list[bytes], directory: Path, fields: tuple[str, ...] = FIELDS) -> list[dict[str, Any]]:
    """What tshark sees of each frame: of each field all values."""
    capture = directory / "replies.pcap"
    capture.write_bytes(pcap(frames))
    checks = ("-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE")
    wanted = [word for name in fields for word in ("-e", name)]
    shown = run(["tshark", "-n", "-r", str(capture), *checks, "-T", "json", *wanted])
    return [frame["_source"]["layers"] for frame in json.loads(shown.stdout)]


def complaints(seen: dict[str, Any]) -> list[str]:
    """What tshark complains of by itself."""
    severities = [int(severity) for severity in seen.get("_ws.expert.severity", ())]
    malformed: list[str] = seen.get("_ws.malformed", [])
    return malformed + [
        message
        for message, severity in zip(seen.get("_ws.expert.message", ()), severities, strict=True)
        if severity >= PI_WARN
    ]


def faults(seen: dict[str, Any], exchange: Exchange) -> list[str]:
    """What tshark complains of, or reads otherwise than it is written."""
    found = complaints(seen)
    if exchange.event == "arp_reply":
        return found if seen.get("arp.opcode") == ["2"] else [*found, "no ARP reply"]
    found += [name for name in ("ip.checksum.status", "udp.checksum.status") if seen.get(name) != GOOD]
    fields = [seen[f"dhcp.ip.{name}"][0] for name in ("client", "your", "server")]
    found += [] if " ".join(fields) == exchange.fields else [f"fields {fields}"]
    to = f"{seen['eth.dst'][0]} {seen['ip.dst'][0]}"
    found += [] if to == exchange.to else [f"to {to}"]
    codes = {code for code in seen["dhcp.option.type"] if code not in (PAD, END)}
    return found if codes == set(exchange.options.split()) else [*found, f"options {sorted(codes)}"]


def test_wireshark_finds_nothing_wrong_and_reads_what_is_written(tmp_path: Path) -> None:
    need("tshark", "tshark")
    named = replies()
    seen = dissected([exchange.reply for _, exchange in named], tmp_path)
    assert len(seen) == len(named)
    wrong = {name: faults(layers, exchange) for layers, (name, exchange) in zip(seen, named, strict=True)}
    assert {name: found for name, found in wrong.items() if found} == {}


@pytest.mark.parametrize(
    ("at", "octet", "complaint"),
    [
        pytest.param(40, 0, "udp.checksum.status", id="a wrong checksum"),
        pytest.param(58, 11, "fields", id="another yiaddr"),
        pytest.param(283, 200, "Malformed", id="a length past the end"),
    ],
)
def test_wireshark_would_tell(at: int, octet: int, complaint: str, tmp_path: Path) -> None:
    need("tshark", "tshark")
    exchange = cases.load("D01").exchanges[0]
    frame = bytearray(exchange.reply)
    frame[at] = octet
    [seen] = dissected([bytes(frame)], tmp_path)
    assert complaint in " ".join(faults(seen, exchange))
