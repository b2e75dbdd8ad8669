"""The ruleset as text, beside what was read over once: tests/data/isolation/LAYOUT-ISOLATION.nft."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.testlib import layouts
from vmnet.bindings.isolation import rulesets
from vmnet.model.links import Route
from vmnet.model.settings import (
    DHCP_EXTERNAL,
    DHCP_OFF,
    ISOLATION_DHCP_ONLY,
    ISOLATION_OFF,
    ISOLATION_STRICT,
    Settings,
)
from vmnet.plumbing.discover import discover

if TYPE_CHECKING:
    from vmnet.model.pod import PodInterface

GOLDEN = Path(__file__).parents[2] / "data" / "isolation"
LONGEST_COMMENT = 127
"""NFTNL_UDATA_COMMENT_MAXLEN less the terminating NUL (libnftnl)."""
FURTHER = Settings(allow_addresses=("10.1.0.0/16", "2001:db8:5::/48"), allow_macs=("00:00:5e:00:01:07",))


def _pod(layout: str) -> PodInterface:
    return discover(layouts.status(layout))


def _texts(pod: PodInterface, settings: Settings) -> list[str]:
    return [ruleset.text for ruleset in rulesets(pod, settings)]


@pytest.mark.parametrize("isolation", [ISOLATION_STRICT, ISOLATION_DHCP_ONLY])
@pytest.mark.parametrize("layout", layouts.NAMES)
def test_the_best_ruleset_is_the_golden_one(layout: str, isolation: str) -> None:
    best, *_ = _texts(_pod(layout), Settings(isolation=isolation))
    assert best == (GOLDEN / f"{layout}-{isolation}.nft").read_text(encoding="utf-8")


@pytest.mark.parametrize(("place", "name"), [(1, "unchecked"), (2, "no-bridge-family"), (4, "no-ingress")])
def test_what_a_lesser_kernel_is_given_is_the_golden_one(place: int, name: str) -> None:
    ruleset = rulesets(_pod("bridge"), Settings())[place]
    assert ruleset.text == (GOLDEN / f"bridge-{name}.nft").read_text(encoding="utf-8")
    assert ("cls_bpf" if name == "unchecked" else "this kernel has no") in ruleset.warning


def test_without_isolation_there_is_nothing_to_load() -> None:
    assert rulesets(_pod("bridge"), Settings(isolation=ISOLATION_OFF)) == ()


def test_what_is_allowed_further_is_a_source_of_every_kind() -> None:
    pod = _pod("bridge")
    text = _texts(pod, FURTHER)[0]
    assert f"ether saddr != {{ {pod.mac}, 00:00:5e:00:01:07 }} drop" in text
    assert f"ip saddr != {{ 10.1.0.0/16, {pod.addresses[0].local}/32 }} drop" in text
    assert "ip6 saddr != { fe80::/10, 2001:db8:5::/48 } drop" in text
    assert "@nh,64,48 0x00005e000107" in text
    assert "nd-neighbor-advert @th,64,48 0x20010db80005 accept" in text


@pytest.mark.parametrize("isolation", [ISOLATION_STRICT, ISOLATION_DHCP_ONLY])
def test_multicasts_of_a_further_mac_come_in(isolation: str) -> None:
    """A VRRP master's do, from the MAC that the guest would take over (RFC 9568 §7.3)."""
    pod = _pod("bridge")
    text = _texts(pod, replace(FURTHER, isolation=isolation))[0]
    assert next(line for line in text.splitlines() if "sent back" in line).startswith(
        f"    ether saddr {pod.mac} @ll"
    )


def test_who_may_have_every_address_may_tell_of_every_address() -> None:
    """Nft ends in an assertion where it shall compare no bits."""
    text = _texts(_pod("bridge-dual"), Settings(allow_addresses=("::/0",)))[0]
    assert "icmpv6 type nd-neighbor-advert accept" in text
    assert "@th,64,0" not in text


def test_an_ipv6_only_pods_guest_says_nothing_in_arp() -> None:
    pod = _pod("bridge-dual")
    alone = replace(pod, addresses=tuple(address for address in pod.addresses if address.ipv6))
    assert "arp saddr" not in _texts(alone, Settings())[0]


@pytest.mark.parametrize("isolation", [ISOLATION_STRICT, ISOLATION_DHCP_ONLY])
def test_a_dhcp_server_of_the_pod_network_is_let_through_and_the_guest_still_is_none(isolation: str) -> None:
    text = _texts(_pod("bridge"), Settings(isolation=isolation, dhcp=DHCP_EXTERNAL))[0]
    asks = "ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept"
    assert (asks in text) is (isolation == ISOLATION_STRICT)
    of_guest, of_network = text.split("chain network")
    assert "udp dport 68 drop" in of_guest
    assert "udp dport { 67, 68 }" not in text
    assert "udp dport 68" not in of_network


def test_where_nobody_serves_dhcp_stays_apart() -> None:
    pod = _pod("bridge")
    assert _texts(pod, Settings(dhcp=DHCP_OFF)) == _texts(pod, Settings())


def test_prefixes_that_overlap_become_one() -> None:
    """Nft refuses a set with two prefixes of which one holds the other."""
    pod = _pod("bridge")
    own = pod.addresses[0].local
    text = _texts(pod, Settings(allow_addresses=("10.0.0.0/8", "10.1.0.0/16")))[0]
    assert own.startswith("10.")
    assert "ip saddr != { 10.0.0.0/8 } drop" in text


def test_the_gateways_link_local_address_is_not_the_guests() -> None:
    pod = _pod("bridge-dual")
    routes = (*pod.routes, Route(ifname="eth0", dst="::/0", gateway="fe80::1"))
    text = _texts(replace(pod, routes=routes), Settings())[0]
    assert "ip6 saddr { fe80::1 } drop" in text
    assert "nd-neighbor-advert @th,64,128 0xfe800000000000000000000000000001 drop" in text


def test_the_vms_own_mac_counts_where_it_is_not_the_pods() -> None:
    pod = _pod("bridge")
    text = _texts(pod, Settings(mac="52:54:00:00:00:07"))[0]
    assert pod.mac not in text
    assert "ether saddr != { 52:54:00:00:00:07 } drop" in text


@pytest.mark.parametrize("layout", layouts.NAMES)
def test_every_rule_has_a_comment_of_its_own_that_nft_takes(layout: str) -> None:
    for ruleset in rulesets(_pod(layout), FURTHER):
        for chain in ruleset.chains:
            assert len(set(chain.comments)) == len(chain.comments)
            assert max(map(len, chain.comments), default=0) <= LONGEST_COMMENT
