"""Whose ARP requests are answered for whom, and that none else are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.testlib.dhcp.frames import LEASE, NO_ADDRESS, OTHER, SCAPY, SERVER_ID, VM_MAC, YIADDR
from vmnet.compile.dhcp import compile_replies
from vmnet.compile.scapy_layers import SERVER_MAC
from vmnet.model.lease import ArpEntry
from vmnet.server.dhcp.arp import answer

GATEWAY, GATEWAY_MAC = "169.254.1.1", "1e:8a:53:c2:07:44"
REPLIES = compile_replies(replace(LEASE, neighbours=(ArpEntry(GATEWAY, GATEWAY_MAC),)))
STRANGER = "02:00:00:00:00:99"


def arp(**changed: Any) -> bytes:  # noqa: ANN401 - scapy's fields are of any type
    """The VM's request for the server identifier with these changes; `src` and `type` are Ethernet's."""
    ethernet: dict[str, Any] = {"dst": "ff:ff:ff:ff:ff:ff", "src": LEASE.chaddr}
    ethernet |= {name: changed.pop(name) for name in ("src", "type") if name in changed}
    fields = {"op": 1, "hwsrc": LEASE.chaddr, "psrc": YIADDR, "pdst": SERVER_ID, **changed}
    return bytes(SCAPY.Ether(**ethernet) / SCAPY.ARP(**fields))


@pytest.mark.parametrize(("target", "mac"), [(SERVER_ID, SERVER_MAC), (GATEWAY, GATEWAY_MAC)])
@pytest.mark.parametrize("sender", [YIADDR, NO_ADDRESS, OTHER])
def test_the_vm_is_told_where_an_address_is(target: str, mac: str, sender: str) -> None:
    reply = answer(arp(pdst=target, psrc=sender), REPLIES, 0, 0)
    assert reply is not None
    told = SCAPY.Ether(reply)
    assert (told.src, told.dst, told.type, len(reply)) == (mac, VM_MAC.hex(":"), 0x0806, 42)
    arp_ = told[SCAPY.ARP]
    assert (arp_.op, arp_.hwtype, arp_.ptype, arp_.hwlen, arp_.plen) == (2, 1, 0x0800, 6, 4)
    assert (arp_.hwsrc, arp_.psrc, arp_.hwdst, arp_.pdst) == (mac, target, LEASE.chaddr, sender)


def test_a_unicast_probe_of_an_entry_that_ages_is_answered_and_padding_does_not_matter() -> None:
    data = arp(pdst=GATEWAY)
    assert answer(bytes.fromhex(GATEWAY_MAC.replace(":", "")) + data[6:] + bytes(18), REPLIES, 0, 0)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(arp(pdst=OTHER), id="for somebody else"),
        pytest.param(arp(pdst=YIADDR, psrc=NO_ADDRESS), id="a probe of its own address"),
        pytest.param(arp(pdst=GATEWAY, psrc=GATEWAY), id="an announcement of ours"),
        pytest.param(arp(op=2), id="a reply"),
        pytest.param(arp(src=STRANGER), id="from another MAC"),
        pytest.param(arp(hwsrc=STRANGER), id="for another MAC"),
        pytest.param(arp(type=0x8035), id="RARP"),
        pytest.param(arp(hwtype=6), id="not of Ethernet"),
        pytest.param(arp(ptype=0x86DD), id="not of IPv4"),
        pytest.param(arp()[:41], id="cut off"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_silence(data: bytes) -> None:
    assert answer(data, REPLIES, 0, 0) is None


@pytest.mark.parametrize(("status", "tci", "answered"), [(16, 5, False), (16, 0xE000, True), (0, 5, True)])
def test_a_vlan_is_not_ours_a_priority_is(status: int, tci: int, answered: bool) -> None:
    assert bool(answer(arp(), REPLIES, status, tci)) is answered
