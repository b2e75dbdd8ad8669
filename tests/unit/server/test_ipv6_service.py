"""IPv6's half of the server without its sockets: who is answered, what is told, and how a gateway is followed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.server.test_service import Clock, Told
from vmnet.compile.process import compile_leases
from vmnet.compile.scapy_layers import ipv6_layers, layers
from vmnet.model.lease import Lease6, LeasedAddress, Leases, Router
from vmnet.server.compiled import loads
from vmnet.server.ipv6_service import Ipv6Service

if TYPE_CHECKING:
    from vmnet.server.ipv6_service import Sends

VM, VM_MAC, SERVER = "fe80::1", "02:00:00:00:00:01", "fe80::766d:6e65:7400"
ADDRESS, GATEWAY, ROUTER = "fd00::2", "fd00::1", "fe80::766d:6e65:7401"
MAC, ANOTHER = "02:00:00:00:00:f1", "02:00:00:00:00:f2"
SIX, ETHER = ipv6_layers(), layers().Ether


def service(*, served: bool = True, mac: str = "") -> tuple[Ipv6Service, Told, Clock]:
    router = Router(ROUTER, GATEWAY, mac, is_default=True)
    address = LeasedAddress(ADDRESS, 3600, 7200)
    lease = Lease6(VM_MAC, SERVER, (address,), (router,), ("fd00::/64",), mtu=1500, served=served)
    told, clock = Told(), Clock()
    compiled = loads(compile_leases(Leases(VM_MAC, None, lease)))
    return Ipv6Service(compiled, told, clock), told, clock  # type: ignore[arg-type]


def frame(layer: Any, src: str = VM, dst: str = "ff02::2", mac: str = VM_MAC) -> bytes:  # noqa: ANN401 - as scapy
    return bytes(ETHER(src=mac, dst="33:33:00:00:00:02") / SIX.IPv6(src=src, dst=dst) / layer)


def dhcpv6(message: Any) -> bytes:  # noqa: ANN401 - as scapy
    client = SIX.DHCP6OptClientId(duid=SIX.DUID_LL(lladdr=VM_MAC))
    return frame(SIX.UDP(sport=546, dport=547) / message / client / SIX.DHCP6OptIA_NA(iaid=7), dst="ff02::1:2")


SOLICIT = dhcpv6(SIX.DHCP6_Solicit(trid=9))
RS = frame(SIX.ICMPv6ND_RS() / SIX.ICMPv6NDOptSrcLLAddr(lladdr=VM_MAC))
PROBE = frame(SIX.ICMPv6ND_NS(tgt=ROUTER) / SIX.ICMPv6NDOptSrcLLAddr(lladdr=VM_MAC), dst="ff02::1:ff65:7401")


def from_gateway(mac: str) -> bytes:
    advertisement = SIX.ICMPv6ND_NA(tgt=GATEWAY, S=1, O=1) / SIX.ICMPv6NDOptDstLLAddr(lladdr=mac)
    return frame(advertisement, src=GATEWAY, dst=ADDRESS, mac=mac)


def answered(served: Ipv6Service, data: bytes) -> Sends:
    """What a frame of the guest brings about; it must not be ignored."""
    word, sends = served.frame(data, 0, 0)
    assert sends is not None, word
    return sends


def dissected(data: bytes) -> Any:  # noqa: ANN401 - as scapy
    return ETHER(data)


def test_a_guest_s_way_to_its_lease() -> None:
    served, told, _ = service(mac=MAC)
    (advertisement,), probes = answered(served, RS)
    assert dissected(advertisement)[SIX.IPv6].dst == VM
    assert probes == ()
    (advertise,), _ = answered(served, SOLICIT)
    assert dissected(advertise)[SIX.DHCP6OptIAAddress].addr == ADDRESS
    report: Any = served.report(0)
    assert (report["lease"], report["addresses"]) == ("offered", (ADDRESS,))
    assert report["events"] == {"router_solicitation": 1, "advertise": 1}
    assert report["routers"] == ({"address": ROUTER, "gateway": GATEWAY, "mac": MAC, "silent_seconds": None},)
    assert told.events() == ["advertise"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (RS[:40], "ipv6_short"),
        (RS[:6] + b"\2\0\0\0\0\7" + RS[12:], "ipv6_foreign_source_mac"),
        (frame(SIX.ICMPv6ND_NA(tgt=ROUTER)), "nd_not_solicitation"),
    ],
)
def test_what_is_not_for_us_is_ignored_by_name(data: bytes, reason: str) -> None:
    served, told, _ = service()
    assert served.frame(data, 0, 0) == (reason, None)
    assert (served.report(0)["lease"], told.lines) == ("silent", [])


def test_a_guest_that_is_served_elsewhere_is_still_shown_its_routers() -> None:
    served, _, _ = service(served=False, mac=MAC)
    assert served.frame(RS, 0, 0) == served.frame(SOLICIT, 0, 0) == ("ipv6_not_served", None)
    nothing, (_question,) = answered(served, PROBE)
    _, ((answer,), _) = served.network_frame(from_gateway(MAC), 0, 0)
    assert nothing == ()
    assert dissected(answer)[SIX.ICMPv6NDOptDstLLAddr].lladdr == MAC


def test_a_gateway_is_looked_for_found_and_followed() -> None:
    served, told, clock = service()
    (advertisement,), (question,) = served.tick()
    assert not dissected(advertisement).haslayer(SIX.ICMPv6NDOptSrcLLAddr)
    assert dissected(question)[SIX.ICMPv6ND_NS].tgt == GATEWAY
    clock.now += 5
    word, (frames, _) = served.network_frame(from_gateway(MAC), 0, 0)
    assert word == "gateway"
    assert [dissected(data)[SIX.IPv6].src for data in frames] == [ROUTER, ROUTER]
    assert served.network_frame(from_gateway(MAC), 0, 0) == ("gateway", ((), ()))
    clock.now += 5
    served.network_frame(from_gateway(ANOTHER), 0, 0)
    (answer,), (question,) = answered(served, PROBE)
    assert dissected(answer)[SIX.ICMPv6NDOptDstLLAddr].lladdr == ANOTHER
    assert [line[:2] for line in told.lines] == [("info", "gateway_found"), ("warning", "gateway_moved")]
    assert told.lines[-1][2] == {"gateway": GATEWAY, "mac": ANOTHER}


@pytest.mark.parametrize(
    ("data", "word"), [(b"", "ipv6_short"), (PROBE, "no_news"), (from_gateway(MAC)[:70], "ipv6_length")]
)
def test_other_frames_of_the_pod_network_change_nothing(data: bytes, word: str) -> None:
    served, told, _ = service()
    assert served.network_frame(data, 0, 0) == (word, ((), ()))
    assert told.lines == []


def test_when_it_wants_to_be_asked_again() -> None:
    served, _, clock = service()
    assert served.due() == clock.now
    served.tick()
    due = served.due()
    assert due is not None
    assert due > clock.now
    assert service(served=False, mac=MAC)[0].due() is None
