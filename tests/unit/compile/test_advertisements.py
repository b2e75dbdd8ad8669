"""What scapy writes of neighbour discovery: every option's octets, and every frame."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.testlib import layouts
from tests.testlib.ipv6.discovery import (
    GATEWAY,
    GATEWAY_MAC,
    LEASE,
    NODE,
    POD,
    ROUTER,
    SCAPY,
    SERVER,
    SERVER_ADDRESS,
    SYNTHETIC,
    VM,
    VM_MAC,
    dissect,
    options,
    packed,
)
from vmnet.compile import advertisements as compiler
from vmnet.compile.scapy_layers import SERVER_MAC
from vmnet.lease.ipv6 import lease6
from vmnet.model.lease import Lease6, Resolver, Router
from vmnet.model.settings import Settings
from vmnet.plumbing.discover import discover
from vmnet.server.ipv6.advertisements import OURS, UNKNOWN, Advertisements

LINK_LOCAL = Router("fe80::b", "fe80::b", GATEWAY, is_default=True, preference=3, routes=("fd00:b::/48",))


def of(lease: Lease6 = LEASE, **changed: object) -> Advertisements:
    return compiler.compile_advertisements(replace(lease, **changed))  # type: ignore[arg-type]


def octets(**changed: object) -> list[str]:
    """The options of the first router's advertisement in hexadecimal."""
    return [bytes(option)[: option.len * 8].hex() for option in options(of(LEASE, **changed).routers[0].whole)]


def test_the_options_of_the_first_router() -> None:
    assert octets(nat64_prefix="64:ff9b::/96") == [
        "0501" "0000" "000005aa",
        "0304" "40" "80" "00001518" "00000a8c" "00000000" "fd000000000000000000000000000000",
        "1905" "0000" "00000708" "fd000000000000000000000000000053" "fd000000000000000000000000000054",
        "1f07" "0000" "00000708"
        "0764656661756c740373766307636c7573746572056c6f63616c00"
        "0373766307636c7573746572056c6f63616c00" + "00" * 2,
        "2602" "0708" "0064ff9b0000000000000000",
        "0101" "0200000000fe",
    ]  # fmt: skip


def test_a_router_s_head() -> None:
    packet = dissect(of().routers[0].whole)
    assert (packet.dst, packet.src) == ("33:33:00:00:00:01", SERVER)
    assert (packet[SCAPY.IPv6].src, packet[SCAPY.IPv6].dst) == (SYNTHETIC, "ff02::1")
    ra = packet[SCAPY.ICMPv6ND_RA]
    assert (ra.code, ra.chlim, ra.M, ra.O, ra.H, ra.P, ra.res) == (0, 64, 1, 1, 0, 0, 0)
    assert (ra.prf, ra.routerlifetime, ra.reachabletime, ra.retranstimer) == (0, 1800, 0, 0)


def test_without_the_mac_it_is_the_same_but_for_the_last_option() -> None:
    router = of().routers[0]
    assert [option.type for option in options(router.whole)] == [5, 3, 25, 31, 1]
    assert [bytes(option) for option in options(router.bare)][-1] == bytes(options(router.whole)[-2])[:-8]
    assert router.bare[58:] == router.whole[58:-8]
    unknown = of(routers=(replace(ROUTER, mac=""),)).routers[0]
    assert unknown.bare == router.bare
    assert (unknown.mac, unknown.whole[-6:]) == (UNKNOWN, UNKNOWN)


def test_further_routers_say_mtu_and_routes_only() -> None:
    first, second = of(routers=(replace(ROUTER, routes=("fd00:a::/32", "fd00:a:1::/64")), LINK_LOCAL)).routers
    assert [option.type for option in options(first.whole)] == [5, 3, 24, 24, 25, 31, 1]
    assert [
        (option.prefix, option.plen, option.prf, option.rtlifetime) for option in options(first.whole)[2:4]
    ] == [
        ("fd00:a::", 32, 0, 1800),
        ("fd00:a:1::", 64, 0, 1800),
    ]
    assert [option.type for option in options(second.whole)] == [5, 24, 1]
    packet = dissect(second.whole)
    assert (packet.src, packet[SCAPY.IPv6].src) == (SERVER, "fe80::b")
    assert (packet[SCAPY.ICMPv6ND_RA].prf, packet[SCAPY.ICMPv6ND_RA].routerlifetime) == (3, 1800)


def test_who_is_no_default_has_no_lifetime_and_no_preference() -> None:
    router = of(routers=(replace(LINK_LOCAL, is_default=False),)).routers[0]
    ra = dissect(router.whole)[SCAPY.ICMPv6ND_RA]
    assert (ra.routerlifetime, ra.prf) == (0, 0)


@pytest.mark.parametrize(
    ("autonomous", "prefix", "flag"),
    [(True, "fd00::/64", 1), (False, "fd00::/64", 0), (True, "fd00::/63", 0), (True, "fd00::9/128", 0)],
)
def test_addresses_are_autonomous_only_where_wished_and_of_64_bits(
    autonomous: bool, prefix: str, flag: int
) -> None:
    option = options(of(autonomous=autonomous, prefixes=(prefix,)).routers[0].whole)[1]
    assert (option.A, option.L, option.R, option.prefixlen) == (flag, 1, 0, int(prefix.partition("/")[2]))


@pytest.mark.parametrize(
    ("prefix", "code"), [("/96", 0), ("/64", 1), ("/56", 2), ("/48", 3), ("/40", 4), ("/32", 5)]
)
def test_pref64_s_lengths(prefix: str, code: int) -> None:
    option = options(of(nat64_prefix=f"2001:db8::{prefix}").routers[0].whole)[-2]
    assert (option.plc, option.scaledlifetime * 8, option.prefix) == (code, 1800, "2001:db8::")


def test_what_the_pod_does_not_have_is_absent_never_empty() -> None:
    bare = of(prefixes=(), nameservers=(), domain_search=(), mtu=None).routers[0]
    assert options(bare.bare) == []
    assert [option.type for option in options(bare.whole)] == [1]


def test_the_probe_is_the_vm_s_own_solicitation() -> None:
    packet = dissect(of().routers[0].probe)
    assert (packet.src, packet.dst) == (VM, "33:33:ff:00:00:01")
    assert (packet[SCAPY.IPv6].src, packet[SCAPY.IPv6].dst) == (POD, "ff02::1:ff00:1")
    assert packet[SCAPY.ICMPv6ND_NS].tgt == NODE
    assert [(option.type, option.lladdr) for option in options(of().routers[0].probe)] == [(1, VM)]
    assert (
        dissect(of(routers=(replace(ROUTER, gateway="fd00::ab:cdef"),)).routers[0].probe).dst
        == "33:33:ff:ab:cd:ef"
    )


@pytest.mark.parametrize(
    ("router", "is_synthetic", "permanent", "probed", "targets"),
    [
        (ROUTER, True, False, True, {SYNTHETIC: 0}),
        (replace(ROUTER, mac=""), True, False, True, {SYNTHETIC: 0}),
        (replace(ROUTER, permanent=True), True, True, False, {SYNTHETIC: 0, NODE: 0}),
        (LINK_LOCAL, False, False, False, {}),
        (replace(LINK_LOCAL, permanent=True), False, True, False, {"fe80::b": 0}),
        (Router(SERVER_ADDRESS, ""), False, True, False, {}),
    ],
)
def test_who_is_answered_for(
    router: Router, is_synthetic: bool, permanent: bool, probed: bool, targets: dict[str, int]
) -> None:
    compiled = of(routers=(router,))
    frames = compiled.routers[0]
    assert (frames.is_synthetic, frames.permanent, bool(frames.probe)) == (is_synthetic, permanent, probed)
    assert (frames.address, frames.gateway) == (
        packed(router.address),
        packed(router.gateway) if router.gateway else b"",
    )
    expected = {packed(SERVER_ADDRESS): OURS, **{packed(target): who for target, who in targets.items()}}
    assert {target: who for target, (who, _) in compiled.neighbours.items()} == expected
    for target, (who, frame) in compiled.neighbours.items():
        packet = dissect(frame)
        advertised = packet[SCAPY.ICMPv6ND_NA]
        assert packet.src == SERVER
        assert packed(packet[SCAPY.IPv6].src) == packed(advertised.tgt) == target
        assert (advertised.S, advertised.O) == (1, 1)
        assert (who != OURS or not router.gateway) == advertised.R
        assert [(option.type, option.lladdr) for option in options(frame)] == [
            (2, SERVER if who == OURS else "00:00:00:00:00:00")
        ]


def test_the_router_that_is_none_is_our_server() -> None:
    compiled = of(routers=(Router(SERVER_ADDRESS, ""),))
    assert compiled.routers[0].mac.hex(":") == SERVER
    assert options(compiled.routers[0].whole)[-1].lladdr == SERVER
    assert dissect(compiled.routers[0].whole)[SCAPY.ICMPv6ND_RA].routerlifetime == 0
    assert compiled.gateways == (b"",)


def test_the_facts() -> None:
    compiled = of()
    assert (compiled.vm_mac, compiled.routers[0].mac, compiled.served) == (VM_MAC, GATEWAY_MAC, True)
    assert compiled.gateways == (packed(NODE),)
    assert not of(served=False).served


def test_the_server_s_mac_is_not_the_vm_s() -> None:
    compiled = of(chaddr=SERVER_MAC)
    assert compiled.routers[0].whole[6:12] != compiled.vm_mac


@pytest.mark.parametrize("layout", ["bridge-dual", "calico-dual", "cilium", "ptp-dual"])
def test_every_layout_is_written_and_dissected(layout: str) -> None:
    lease = lease6(discover(layouts.status(layout)), Resolver(("fd00::53",), ("svc",)), Settings())
    assert lease
    compiled = of(lease)
    for router, told in zip(compiled.routers, lease.routers, strict=True):
        packet = dissect(router.whole)
        assert packet[SCAPY.IPv6].src == told.address
        assert packet[SCAPY.ICMPv6NDOptMTU].mtu == lease.mtu
        assert packet[SCAPY.ICMPv6ND_RA].routerlifetime == 1800
        assert options(router.whole)[-1].lladdr == (told.mac or "00:00:00:00:00:00")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"nameservers": ("dns.example",)}, "'dns.example' is not an IPv6 address"),
        ({"nameservers": ("10.0.0.1",)}, "'10.0.0.1' is not"),
        ({"prefixes": ("net/64",)}, "'net' is not"),
        ({"routers": (replace(ROUTER, address="router"),)}, "'router' is not"),
        ({"routers": (replace(ROUTER, gateway="gateway"),)}, "'gateway' is not"),
        ({"routers": (replace(ROUTER, routes=("net/64",)),)}, "'net' is not"),
        ({"routers": (replace(ROUTER, preference=7),)}, "did not write prf 7"),
        ({"domain_search": ("x" * 64,)}, "a label of more than 63 octets"),
        ({"domain_search": ("a..b",)}, "did not write searchlist"),
        ({"server_address": "server"}, "'server' is not"),
        ({"nat64_prefix": "64:ff9b::/95"}, "not in tuple"),
        ({"prefixes": ("fd00::/64",) * 50}, r"has \d+ octets, the MTU is 1450"),
        ({"prefixes": ("fd00::/999",)}, "prefixlen|range|format"),
        ({"nameservers": ("fd00::1",) * 128, "mtu": 9000}, "len|range|format"),
        ({"mtu": 1 << 33}, "range|format|argument"),
    ],
)
def test_what_a_message_cannot_carry_is_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        of(**changed)
