"""What a frame says in one line; and whatever it holds, something is said."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dhcp6 import DHCP6_InfoRequest, DHCP6_Solicit, DHCP6OptIA_NA, DHCP6OptIAAddress
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RA, ICMPv6ND_RS, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.inet6 import ICMPv6NDOptPrefixInfo as Prefix
from scapy.layers.l2 import ARP, Ether

from vmnet.diagnosis import dissect
from vmnet.diagnosis.dissect import host_names, summary

if TYPE_CHECKING:
    from scapy.packet import Packet

VM, GATEWAY = "02:00:00:00:00:05", "02:00:00:00:00:01"
ROUTER, OWN = "fe80::1", "fd00::5"


def dhcp(kind: int, *options: tuple[str, object], **fields: object) -> Packet:
    message = DHCP(options=[("message-type", kind), *options, "end"])
    return Ether(src=VM) / IP() / UDP(sport=68, dport=67) / BOOTP(xid=0x1234, **fields) / message


def dhcpv6(message: Packet) -> Packet:
    return Ether(src=VM) / IPv6(src="fe80::5") / UDP(sport=546, dport=547) / message


LEASED = DHCP6OptIA_NA(ianaopts=[DHCP6OptIAAddress(addr=OWN)])
SAID = {
    "ARP who-has 10.0.0.1 tell 10.0.0.5": Ether() / ARP(op=1, psrc="10.0.0.5", pdst="10.0.0.1"),
    "ARP probe for 10.0.0.5": Ether() / ARP(op=1, psrc="0.0.0.0", pdst="10.0.0.5"),  # noqa: S104 # none
    f"ARP announcement of 10.0.0.5 at {VM}": Ether() / ARP(op=1, psrc="10.0.0.5", pdst="10.0.0.5", hwsrc=VM),
    f"ARP 10.0.0.5 is-at {VM}": Ether() / ARP(op=2, psrc="10.0.0.5", pdst="10.0.0.1", hwsrc=VM),
    "ARP 10.0.0.5 operation 9 02:00:00:00:00:05": Ether() / ARP(op=9, psrc="10.0.0.5", pdst="10.0.0.1", hwsrc=VM),
    "DHCP DISCOVER xid 0x00001234, host name vm": dhcp(1, ("hostname", b"vm")),
    "DHCP REQUEST xid 0x00001234, wants 10.0.0.5, server 10.0.0.1": dhcp(
        *(3, ("requested_addr", "10.0.0.5"), ("server_id", "10.0.0.1"))
    ),
    "DHCP ACK xid 0x00001234, yiaddr 10.0.0.5, lease 60": dhcp(5, ("lease_time", 60), yiaddr="10.0.0.5"),
    "DHCP message 200 xid 0x00001234": dhcp(200),
    "RS": Ether() / IPv6() / ICMPv6ND_RS(),
    f"RA from {ROUTER}, router for 1800 s, prefix fd00::/64": Ether()
    / IPv6(src=ROUTER)
    / ICMPv6ND_RA(routerlifetime=1800)
    / Prefix(prefix="fd00::", prefixlen=64),
    f"NS who-has {OWN} tell {ROUTER}": Ether() / IPv6(src=ROUTER) / ICMPv6ND_NS(tgt=OWN),
    f"NS probe for {OWN}": Ether() / IPv6(src="::") / ICMPv6ND_NS(tgt=OWN),
    f"NA {OWN} is-at {VM}": Ether() / IPv6() / ICMPv6ND_NA(tgt=OWN) / ICMPv6NDOptDstLLAddr(lladdr=VM),
    "DHCPv6 SOLICIT xid 0x000abc, from fe80::5": dhcpv6(DHCP6_Solicit(trid=0xABC)),
    f"DHCPv6 SOLICIT xid 0x000abd, from fe80::5, {OWN}": dhcpv6(DHCP6_Solicit(trid=0xABD) / LEASED),
    "DHCPv6 INFORMATION-REQUEST xid 0x000abe, from fe80::5": dhcpv6(DHCP6_InfoRequest(trid=0xABE)),
}


@pytest.mark.parametrize("said", SAID)
def test_what_a_frame_says(said: str) -> None:
    assert summary(bytes(SAID[said])) == said


def test_of_a_header_there_is_only_its_type() -> None:
    assert summary(bytes(SAID["RS"])[:14]) == "the header of a frame of type 0x86dd"


def test_a_host_name_is_found_whatever_is_in_it() -> None:
    assert host_names(bytes(dhcp(1, ("hostname", b"vm of x, y")))) == ["vm of x, y"]
    assert host_names(bytes(SAID["RS"])) == []


@pytest.mark.parametrize("said", SAID)
def test_of_a_damaged_frame_something_is_said(said: str) -> None:
    dice = random.Random(said)  # noqa: S311 # the same each time
    for _ in range(150):
        frame = bytearray(bytes(SAID[said]))
        for _ in range(dice.randint(1, 8)):
            frame[dice.randrange(12, len(frame))] = dice.randrange(256)
        assert summary(bytes(frame[: dice.randint(1, len(frame))]))


def test_what_is_too_much_for_scapy_is_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(_frame: bytes) -> None:
        raise RecursionError

    monkeypatch.setattr(dissect, "dissected", raises)
    assert summary(bytes(64)) == "unreadable: RecursionError"
