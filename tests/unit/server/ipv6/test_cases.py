"""Every case of tests/data/dhcpv6, from the lease to the frame that leaves, dissected by scapy."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from tests.testlib.dhcp.frames import VM_MAC
from tests.testlib.ipv6 import cases
from tests.testlib.ipv6.messages import SCAPY, SERVER, dissect, said

if TYPE_CHECKING:
    from tests.testlib.ipv6.cases import Case, Exchange

NAMES = cases.names()
LISTED = {f"V{number:02}" for number in range(1, 23)}
"""What conformance asks of a DHCPv6 server: tests/data/dhcpv6/README.md."""
IAS = {3, 4, 13, 25}


def test_each_row_of_the_list_has_a_case() -> None:
    assert {name[:3] for name in NAMES} == LISTED
    assert len(NAMES) >= 70


@pytest.mark.parametrize("name", NAMES)
def test_case(name: str) -> None:
    case = cases.load(name)
    assert re.match(r"RFC \d+ §", case.spec)
    for exchange in case.exchanges:
        event, reply = cases.outcome_of(case, exchange)
        if os.environ.get("VMNET_GOLDEN") == "write":
            _write(case, exchange, reply)
        assert (event, reply.hex()) == (exchange.event, exchange.reply.hex())
        if reply:
            _compare(exchange)


def _write(case: Case, exchange: Exchange, reply: bytes) -> None:
    assert bool(reply) is bool(exchange.reply), "a reply and silence are told apart by hand"
    exchange.reply = reply
    cases.save(case)


def _compare(exchange: Exchange) -> None:
    """Compare the reply with what is written about it."""
    packet, options = dissect(exchange.reply)
    asked = SCAPY.Ether(exchange.request)
    assert str(exchange.reply[62]) == exchange.kind
    assert exchange.reply[63:66] == exchange.request[63:66]
    assert " ".join(str(code) for code, _ in options) == exchange.options
    assert said(exchange.reply) == exchange.ias
    others = dict(options)
    assert len(options) - len(others) == sum(code in IAS for code, _ in options) - len(IAS & others.keys())
    for value in exchange.values:
        code, octets = value.split()
        assert others[int(code)].hex() == octets
    assert exchange.reply[:6] == VM_MAC
    assert (packet[SCAPY.IPv6].src, packet[SCAPY.IPv6].dst) == (SERVER, asked[SCAPY.IPv6].src)
    assert packet[SCAPY.IPv6].hlim >= 64
    assert (packet[SCAPY.UDP].sport, packet[SCAPY.UDP].dport) == (547, 546)
