"""Router advertisements row by row, A1 to A14 of the conformance tables: frames in, frames out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.testlib.ipv6.discovery import (
    GATEWAY,
    GUEST,
    LEASE,
    NOBODY,
    ROUTER,
    SCAPY,
    SERVER,
    SOURCE,
    SYNTHETIC,
    VM,
    advertiser,
    dissect,
    frame,
    na,
    option,
    options,
    outcome,
    reason,
    rs,
)
from tests.unit.lease.test_ipv6 import POD
from vmnet.lease.ipv6 import lease6
from vmnet.model.lease import Lease6, Resolver
from vmnet.model.links import Route
from vmnet.model.settings import Settings, Told

BARE = bytes((133,)) + bytes(7)


def answer(lease: Lease6 = LEASE) -> bytes:
    """The first router's advertisement to a guest that asks for it."""
    frames, _ = outcome(advertiser(lease)[0], rs(SOURCE))
    assert frames
    return frames[0]


def of_pod(settings: Settings, *routes: Route) -> list[object]:
    """The options of what a guest in such a pod hears."""
    lease = lease6(replace(POD, routes=routes), Resolver(), settings)
    assert lease
    return options(answer(lease))


@pytest.mark.parametrize(
    "data",
    [
        rs(SOURCE, hop_limit=254),
        rs(SOURCE, checksum=0xBAD),
        rs(SOURCE, code=1),
        frame(BARE[:7]),
        rs(option(1, bytes(6), 0)),
        rs(SOURCE, source=NOBODY),
    ],
    ids=["hop limit", "checksum", "code", "length", "option length", "link layer of nobody"],
)
def test_a1_an_invalid_solicitation_is_dropped(data: bytes) -> None:
    assert reason(data)


def test_a2_a_solicitation_is_answered_at_once_and_to_all_every_three_seconds_at_most() -> None:
    speaker, clock = advertiser()
    assert dissect(outcome(speaker, rs(SOURCE))[0][0])[SCAPY.IPv6].dst == GUEST
    assert dissect(outcome(speaker, rs(source=NOBODY))[0][0])[SCAPY.IPv6].dst == "ff02::1"
    clock.now += 2.9
    assert outcome(speaker, rs(source=NOBODY)) == ((), ())


def test_a3_addresses_hop_limit_checksum_and_source_link_layer() -> None:
    packet = dissect(answer())
    assert (packet.src, packet.dst) == (SERVER, VM)
    assert (packet[SCAPY.IPv6].src, packet[SCAPY.IPv6].hlim) == (SYNTHETIC, 255)
    assert packet[SCAPY.ICMPv6NDOptSrcLLAddr].lladdr == GATEWAY


def test_a4_addresses_and_all_else_are_dhcpv6_s() -> None:
    ra = dissect(answer())[SCAPY.ICMPv6ND_RA]
    assert (ra.M, ra.O) == (1, 1)
    for prefix in ("fd00::5/128", "fd00::/48"):
        assert (
            dissect(answer(replace(LEASE, autonomous=True, prefixes=(prefix,))))[SCAPY.ICMPv6NDOptPrefixInfo].A
            == 0
        )


def test_a5_the_lifetime_is_zero_without_a_default_route() -> None:
    assert dissect(answer())[SCAPY.ICMPv6ND_RA].routerlifetime == 1800
    lease = replace(LEASE, routers=(replace(ROUTER, is_default=False, routes=("fd00:1::/64",)),))
    assert dissect(answer(lease))[SCAPY.ICMPv6ND_RA].routerlifetime == 0


def test_a6_no_link_local_prefix_and_no_longer_preferred_than_valid() -> None:
    prefixes = [
        option
        for option in of_pod(
            Settings(), Route("eth0", "fe80::/64"), Route("eth0", "fd00::/64"), Route("eth0", "ff00::/8")
        )
        if isinstance(option, SCAPY.ICMPv6NDOptPrefixInfo)
    ]
    assert [option.prefix for option in prefixes] == ["fd00::"]
    assert prefixes[0].preferredlifetime <= prefixes[0].validlifetime


@pytest.mark.parametrize(("wished", "flag"), [(False, 0), (True, 1)])
def test_a7_addresses_of_its_own_only_where_wished(wished: bool, flag: int) -> None:
    found = of_pod(Settings(told=Told(autonomous=wished)), Route("eth0", "fd00::/64"))
    assert [option.A for option in found if isinstance(option, SCAPY.ICMPv6NDOptPrefixInfo)] == [flag]


def test_a8_rdnss_and_dnssl_have_their_lengths_and_last_as_long_as_the_router() -> None:
    servers, names = (dissect(answer())[layer] for layer in (SCAPY.ICMPv6NDOptRDNSS, SCAPY.ICMPv6NDOptDNSSL))
    assert (servers.len, servers.lifetime) == (1 + 2 * len(LEASE.nameservers), 1800)
    assert (names.len * 8 % 8, names.lifetime) == (0, 1800)
    assert names.searchlist == [f"{domain}." for domain in LEASE.domain_search]


def test_a9_pref64_only_where_configured() -> None:
    assert 38 not in [option.type for option in options(answer())]
    pref64 = dissect(answer(replace(LEASE, nat64_prefix="64:ff9b::/96")))[SCAPY.ICMPv6NDOptPREF64]
    assert (pref64.type, pref64.len, pref64.plc, pref64.scaledlifetime * 8) == (38, 2, 0, 1800)


def test_a10_prefixes_end_by_themselves() -> None:
    prefix = dissect(answer())[SCAPY.ICMPv6NDOptPrefixInfo]
    assert (prefix.preferredlifetime, prefix.validlifetime) == (45 * 60, 90 * 60)


def test_a11_no_router_takes_its_leave_for_it_outlives_our_server() -> None:
    speaker, clock = advertiser()
    for _ in range(50):
        due = speaker.due()
        assert due is not None
        clock.now = due
        assert dissect(speaker.tick()[0][0])[SCAPY.ICMPv6ND_RA].routerlifetime == 1800


@pytest.mark.parametrize("mtu", [1280, 1450, 9001])
def test_a12_the_mtu_is_the_pod_s(mtu: int) -> None:
    lease = lease6(replace(POD, mtu=mtu), Resolver(), Settings())
    assert lease
    assert dissect(answer(lease))[SCAPY.ICMPv6NDOptMTU].mtu == mtu
    assert lease6(replace(POD, mtu=1279), Resolver(), Settings()) is None


@pytest.mark.parametrize("offset", [0, 1, 0x100])
def test_a13_no_fragment_is_read(offset: int) -> None:
    header = bytes((58, 0)) + offset.to_bytes(2) + bytes(4)
    assert reason(rs(SOURCE, protocol=44, headers=header)) == "ipv6_extension_header"


def test_a14_what_the_guest_says_as_a_router_or_server_is_not_answered() -> None:
    for data in (
        frame(bytes((134,)) + bytes(15)),
        na(SYNTHETIC, option(2, bytes(6))),
        frame(bytes((137,)) + bytes(39)),
    ):
        assert reason(data) == "nd_not_solicitation"
