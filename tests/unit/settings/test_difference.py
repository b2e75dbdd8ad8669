"""What is asked otherwise of a binding that is up: named by the words it is set by, never as Python writes it."""

from __future__ import annotations

import re
from dataclasses import fields, replace

import pytest

from tests.docs import DOCS
from vmnet.model.links import FOREVER
from vmnet.model.settings import Boot, RawOption, Settings, Told
from vmnet.settings.difference import first_change

BOUND = Settings(owner=107, hostname="vm-1", mtu=1400, told=Told(lease_time=600, ntp_servers=("10.0.0.123",)))
CHANGES = {
    "tap": ("tap9", "tap tap0, you asked for tap9"),
    "owner": (0, "owner 107, you asked for 0"),
    "group": (36, "owner's group none, you asked for 36"),
    "mac": ("52:54:00:00:00:01", "mac as the pod has it, you asked for 52:54:00:00:00:01"),
    "mtu": (1300, "mtu 1400, you asked for 1300"),
    "hostname": ("vm-2", "hostname vm-1, you asked for vm-2"),
    "multi_queue": (True, "queues 1, you asked for several"),
    "isolation": ("off", "isolation strict, you asked for off"),
    "allow_addresses": (("10.0.0.0/8", "10.0.0.9"), "allow_address none, you asked for 10.0.0.0/8, 10.0.0.9"),
    "allow_macs": (("52:54:00:00:00:01",), "allow_mac none, you asked for 52:54:00:00:00:01"),
    "sandbox": (False, "sandbox on, you asked for off"),
    "server_user": (65533, "server_user none, you asked for 65533"),
    "server_group": (65533, "server_user's group none, you asked for 65533"),
    "dhcp": ("external", "dhcp on, you asked for external"),
}
TOLD = {
    "lease_time": (FOREVER, "lease_time 600, you asked for infinite"),
    "nameservers": (("10.0.0.53",), "dns.servers as the pod has it, you asked for 10.0.0.53"),
    "domain_search": ((), "dns.search as the pod has it, you asked for none"),
    "ntp_servers": (("10.0.0.1", "10.0.0.2"), "ntp 10.0.0.123, you asked for 10.0.0.1, 10.0.0.2"),
    "boot": (Boot("10.0.0.9", "ipxe.efi"), "boot none, you asked for 10.0.0.9 ipxe.efi"),
    "ipv6_only_wait": (300, "ipv6_only_wait none, you asked for 300"),
    "ipv6": (False, "ipv6 on, you asked for off"),
    "autonomous": (True, "autonomous off, you asked for on"),
    "nat64_prefix": ("64:ff9b::/96", "nat64_prefix none, you asked for 64:ff9b::/96"),
    "options": ((RawOption(252, "78"), RawOption(43, "0102")), "options none, you asked for 252=78, 43=0102"),
}


@pytest.mark.parametrize("field", [*CHANGES, *TOLD])
def test_a_change_is_named_with_both_values(field: str) -> None:
    if field in CHANGES:
        value, words = CHANGES[field]
        asked = replace(Settings(), **{field: value})  # type: ignore[arg-type]
    else:
        value, words = TOLD[field]
        asked = Settings(told=replace(Told(), **{field: value}))  # type: ignore[arg-type]
    assert first_change(BOUND, asked) == words


def test_every_setting_has_its_words_here() -> None:
    assert {*CHANGES, "told"} == {field.name for field in fields(Settings)}
    assert TOLD.keys() == {field.name for field in fields(Told)}


@pytest.mark.parametrize(("_", "words"), [*CHANGES.values(), *TOLD.values()])
def test_the_words_are_those_of_the_page(_: object, words: str) -> None:
    key = words.partition(" ")[0].removesuffix("'s")
    page = (DOCS / "guide" / "configuration.md").read_text(encoding="utf-8")
    assert re.search(rf"^\|.*`{re.escape(key)}[.`]", page, re.MULTILINE)


def test_what_nobody_asks_for_is_no_change() -> None:
    assert first_change(BOUND, Settings()) == ""
    assert first_change(BOUND, BOUND) == ""
