"""The questions by which the guest is asked for its addresses, and what is an answer."""

from __future__ import annotations

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from tests.testlib.sights import ROUTER, family, journal, server, sight
from vmnet.diagnosis import reach
from vmnet.model.links import Neighbour, Status

GATEWAY = Neighbour("eth0", "10.246.1.1", "02:42:0a:f6:01:fe")
OWN6 = "fd00:10:246:1::2"


def test_ipv4_is_asked_for_as_the_gateway_asks() -> None:
    seen = sight(journal("bridge-dual"), server(), now=Status((), neighbours=(GATEWAY,)))
    question, _ = reach.questions(seen)
    frame = Ether(question.frame)
    assert (question.address, question.sender, question.sender_mac) == ("10.246.1.2", GATEWAY.dst, GATEWAY.mac)
    assert (frame.src, frame.dst) == (GATEWAY.mac, "ff:ff:ff:ff:ff:ff")
    assert (frame[ARP].op, frame[ARP].psrc, frame[ARP].hwsrc, frame[ARP].pdst) == (
        *(1, GATEWAY.dst, GATEWAY.mac),
        "10.246.1.2",
    )


def test_ipv6_is_asked_for_as_the_router_asks_that_the_guest_is_told_of() -> None:
    seen = sight(journal("ipv6-only"), server(ipv6=family(routers=[ROUTER])))
    [question] = reach.questions(seen)
    frame = Ether(question.frame)
    own = question.address
    assert (question.sender, question.sender_mac) == (ROUTER["address"], ROUTER["mac"])
    assert (frame.dst[:8], frame[IPv6].src, frame[IPv6].hlim) == ("33:33:ff", ROUTER["address"], 255)
    assert frame[IPv6].dst.startswith("ff02::1:ff")
    assert (frame[ICMPv6ND_NS].tgt, frame[ICMPv6NDOptSrcLLAddr].lladdr) == (own, ROUTER["mac"])


def test_where_no_gateway_is_known_our_server_asks() -> None:
    told = journal("bridge-dual")
    seen = sight(told, server(ipv6=family(routers=[{**ROUTER, "mac": ""}])), now=Status(()))
    ipv4, ipv6 = reach.questions(seen)
    assert told.lease6
    assert ipv6.sender == told.lease6.server_address
    assert {ipv4.sender_mac, ipv6.sender_mac} >= {"02:76:6d:6e:65:74"}


@pytest.mark.parametrize("layout", ["bridge-dual", "ipv6-only"])
def test_the_frames_are_as_scapy_writes_them(layout: str) -> None:
    for question in reach.questions(sight(journal(layout), server())):
        frame = Ether(question.frame)
        if IPv6 in frame:
            del frame[IPv6].plen, frame[ICMPv6ND_NS].cksum
        assert bytes(frame) == question.frame


def _arp(**fields: object) -> bytes:
    return bytes(Ether(src="02:00:00:00:00:05") / ARP(**{"op": 2, "psrc": "10.246.1.2", **fields}))


def _advertisement(**fields: object) -> bytes:
    return bytes(Ether(src="02:00:00:00:00:05") / IPv6() / ICMPv6ND_NA(**{"tgt": OWN6, **fields}))


@pytest.mark.parametrize(
    ("frame", "address"),
    [
        (_arp(), "10.246.1.2"),
        (_arp(op=1), ""),
        (_arp(psrc="10.9.9.9"), ""),
        (_arp()[:41], ""),
        (_advertisement(), OWN6),
        (_advertisement(tgt="fd00::9"), ""),
        (_advertisement()[:77], ""),
        (bytes(Ether() / IPv6() / ICMPv6ND_NS(tgt=OWN6)), ""),
        (b"", ""),
    ],
)
def test_what_is_an_answer(frame: bytes, address: str) -> None:
    asked = reach.questions(sight(journal("bridge-dual"), server()))
    expected = {address: "02:00:00:00:00:05"} if address else {}
    assert reach._answered(frame, asked) == expected
