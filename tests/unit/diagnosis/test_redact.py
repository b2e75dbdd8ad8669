"""What tells whose a bundle is, is not in it; and the same thing has the same placeholder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmnet.diagnosis.redact import Redactor

if TYPE_CHECKING:
    import ipaddress

NAMES = ("vm-1", "vms.svc.cluster.local", "cluster.local", "Node7")


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("10.0.0.5/24 via 10.0.0.1.", "ipv4-1/24 via ipv4-2."),
        ("10.0.0.5 and 10.0.0.5", "ipv4-1 and ipv4-1"),
        ("IPv6 fd00::5: bound", "IPv6 ipv6-1: bound"),
        ("fd00:0::5, FD00::5", "ipv6-1, ipv6-1"),
        ("fd00::/64", "ipv6-1/64"),
        ("at 02:00:00:00:00:05: 02:00:00:00:00:05", "at mac-1: mac-1"),
        ("02:AB:00:00:00:05 is 02:ab:00:00:00:05", "mac-1 is mac-1"),
        ("vm-1.vms.svc.cluster.local", "name-1.name-2"),
        ("x.cluster.local", "x.name-1"),
        ("on Node7, node7", "on name-1, name-1"),
        ("ff02::1:ff00:5 and 33:33:ff:00:00:05", "ipv6-1 and mac-1"),
    ],
)
def test_what_is_replaced(text: str, redacted: str) -> None:
    assert Redactor(NAMES)(text) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0/0 :: ::1 127.0.0.1 255.255.255.255 224.0.0.1 ff02::1",
        "ff:ff:ff:ff:ff:ff 33:33:00:00:00:01 02:76:6d:6e:65:74 fe80::766d:6e65:7401",
        "12:34:56.789  Linux 6.18.44 nftables v1.0.6 1.2.3.4.5 xid 0x01020304",
        "vm-10, my-vm-1, VM-1x, a::b::c",
    ],
)
def test_what_tells_nothing_stays(text: str) -> None:
    assert Redactor(NAMES)(text) == text


def test_the_same_in_every_document() -> None:
    redactor = Redactor(NAMES)
    first = redactor.document(json.dumps({"lease": {"10.0.0.5": ["10.0.0.6", 7, None, True]}}))
    log = redactor.document('{"address":"10.0.0.6"}\nno JSON: 10.0.0.5')
    assert json.loads(first) == {"lease": {"ipv4-1": ["ipv4-2", 7, None, True]}}
    assert log.splitlines() == ['{"address": "ipv4-2"}', "no JSON: ipv4-1"]


def test_half_of_a_character_can_be_written() -> None:
    """As in the log of a server that was taken over."""
    for text in ('{"x": "\\ud800"}', '{"x": "\\ud800"}\n{}'):
        Redactor(NAMES).document(text).encode()


def test_members_keep_their_names_and_raw_options_lose_their_octets() -> None:
    redacted = Redactor(["lease"]).document('{"lease": "lease", "options": [{"code": 252, "value": "0a000005"}]}')
    assert json.loads(redacted) == {"lease": "name-1", "options": [{"code": 252, "value": "redacted"}]}


@given(st.ip_addresses(), st.sampled_from(["{}", "x {}: y", "({})", "{}.", "{},{}", "[{}]:80", "{}/24", '"{}"']))
def test_no_address_comes_through(address: ipaddress.IPv4Address | ipaddress.IPv6Address, frame: str) -> None:
    text = Redactor(NAMES)(frame.replace("{}", str(address)))
    kept = address.is_multicast or address.is_loopback or address.is_unspecified
    if not kept and str(address) != "255.255.255.255":
        assert str(address) not in text
