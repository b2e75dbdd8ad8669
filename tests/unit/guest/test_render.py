"""The lease for guests without a DHCP client: each format as it stands, and read back, as what the lease says.

The expected texts are files of tests/data/render; VMNET_GOLDEN=write writes them anew, to be read in the diff.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from ipaddress import IPv4Interface
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.unit import layouts
from vmnet.codec import decode
from vmnet.config import RENDER_FORMATS
from vmnet.dhcp.lease import lease
from vmnet.guest.render import FORMATS, render
from vmnet.model import Boot, ClasslessRoute, Lease, Leases, RawOption, Resolver, Settings
from vmnet.plumbing.discover import discover

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = Path(__file__).parents[2] / "data" / "render"
RESOLVER = Resolver(("10.96.0.10", "10.96.0.11", "10.96.0.12"), ("vms.svc.cluster.local", "cluster.local"))
NAMES = ("bridge", "calico", "cilium", "ovn", "ptp")
DEFAULT = "0.0.0.0/0"


def leases(lease: Lease) -> Leases:
    """A guest that is told this, and of IPv6 nothing."""
    return Leases(lease.chaddr, lease, None)


def lease_of(layout: str) -> Lease:
    """What a guest in a pod of that layout is told."""
    return lease(discover(layouts.status(layout), "eth0"), RESOLVER, Settings(hostname="vm-1"))


@pytest.mark.parametrize("form", RENDER_FORMATS)
@pytest.mark.parametrize("name", NAMES)
def test_text_and_warnings(name: str, form: str) -> None:
    rendered = render(leases(lease_of(name)), form)
    text = rendered.text + "".join(f"# not carried over: {warning}\n" for warning in rendered.warnings)
    path = GOLDEN / f"{name}.{form}"
    if os.environ.get("VMNET_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_formats_are_those_of_the_command_line() -> None:
    assert tuple(FORMATS) == RENDER_FORMATS


@dataclass(frozen=True, slots=True)
class Said:
    """What a format was read to say; routes as (destination, gateway or nothing)."""

    mac: str
    address: str
    routes: tuple[tuple[str, str], ...]
    mtu: int | None
    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    on_link: tuple[str, ...] = ()
    """Gateways said to be reachable whatever the subnet."""


def shall_say(lease: Lease) -> Said:
    """The same of the lease itself."""
    subnet = IPv4Interface(f"{lease.yiaddr}/{lease.prefixlen}").network
    routes = tuple(
        (route.dst, "" if route.gateway == "0.0.0.0" else route.gateway)  # noqa: S104 -- RFC 3442's "on-link"
        for route in lease.classless_routes
    )
    beyond = tuple(gateway for _, gateway in routes if gateway and IPv4Interface(gateway).ip not in subnet)
    return Said(
        lease.chaddr,
        f"{lease.yiaddr}/{lease.prefixlen}",
        routes,
        lease.interface_mtu,
        lease.nameservers,
        lease.domain_search,
        beyond,
    )


def one(values: list[str]) -> str:
    """The only element there is."""
    [value] = values
    return value


def read_version_2(text: str) -> Said:
    """Understand netplan's and cloud-init's YAML; every string must be one to YAML 1.1 too."""
    document = yaml.safe_load(text)
    document = document.get("network", document)
    assert (document["version"], list(document["ethernets"])) == (2, ["vmnet"])
    nic = document["ethernets"]["vmnet"]
    routes: list[dict[str, Any]] = nic["routes"]
    assert nic["dhcp4"] is False
    assert all(route.get("scope") == "link" for route in routes if "via" not in route)
    return Said(
        nic["match"]["macaddress"],
        one(nic["addresses"]),
        tuple((route["to"], route.get("via", "")) for route in routes),
        nic["mtu"],
        tuple(nic["nameservers"]["addresses"]),
        tuple(nic["nameservers"]["search"]),
        tuple(route["via"] for route in routes if route.get("on-link")),
    )


def read_networkd(text: str) -> Said:
    """Understand a .network file: like an INI file, but sections and keys repeat."""
    sections: list[tuple[str, list[tuple[str, str]]]] = []
    for line in filter(None, text.splitlines()):
        if line.startswith("["):
            sections.append((line.strip("[]"), []))
        else:
            key, _, value = line.partition("=")
            sections[-1][1].append((key, value))
    once = {name: dict(pairs) for name, pairs in sections if name != "Route"}
    routes = [dict(pairs) for name, pairs in sections if name == "Route"]
    network = next(pairs for name, pairs in sections if name == "Network")
    assert all(route.get("Scope") == "link" for route in routes if "Gateway" not in route)
    return Said(
        once["Match"]["MACAddress"],
        once["Network"]["Address"],
        tuple((route["Destination"], route.get("Gateway", "")) for route in routes),
        int(once["Link"]["MTUBytes"]),
        tuple(value for key, value in network if key == "DNS"),
        tuple(once["Network"]["Domains"].split()),
        tuple(route["Gateway"] for route in routes if route.get("GatewayOnLink") == "yes"),
    )


def read_ifupdown(text: str) -> Said:
    """Understand an interfaces(5) stanza."""
    auto, iface, *options = [line.split() for line in text.splitlines()]
    assert iface == ["iface", "vmnet", "inet", "static"]
    mac, _, name = auto[1].removeprefix("mac/").partition("=")
    assert (auto[0], name) == ("auto", "vmnet")
    routes = [words[4:] for words in options if words[:4] == ["up", "ip", "route", "add"]]
    values = {words[0]: words[1:] for words in options if words[0] != "up"}
    assert len(routes) + len(values) == len(options)
    return Said(
        mac,
        one(values["address"]),
        tuple((route[0], route[2] if route[1] == "via" else "") for route in routes),
        int(one(values["mtu"])),
        tuple(values["dns-nameservers"]),
        tuple(values["dns-search"]),
        tuple(route[2] for route in routes if route[-1] == "onlink"),
    )


@pytest.mark.parametrize(
    ("form", "read"),
    [
        ("cloud-init", read_version_2),
        ("netplan", read_version_2),
        ("networkd", read_networkd),
        ("ifupdown", read_ifupdown),
    ],
)
@pytest.mark.parametrize("name", layouts.NAMES)
def test_read_back_it_is_the_lease(name: str, form: str, read: Callable[[str], Said]) -> None:
    told = lease_of(name)
    assert read(render(leases(told), form).text) == shall_say(told)


@pytest.mark.parametrize("name", layouts.NAMES)
def test_json_is_the_lease_whole(name: str) -> None:
    told = lease_of(name)
    document = json.loads(render(leases(told), "json").text)
    assert document["schema"] == 1
    assert decode(Lease, json.dumps(document["lease"]).encode()) == told


@pytest.mark.parametrize("name", layouts.NAMES)
def test_kernel_ip(name: str) -> None:
    told = lease_of(name)
    fields = render(leases(told), "kernel-ip").text.strip().removeprefix("ip=").split(":")
    client, server, gateway, mask, hostname, device, how, *dns = fields
    assert str(IPv4Interface(f"{client}/{mask}")) == f"{told.yiaddr}/{told.prefixlen}"
    assert (server, gateway, hostname, device, how) == ("", told.router, "vm-1", "", "off")
    assert tuple(dns) == told.nameservers[:2]


@pytest.mark.parametrize(
    ("name", "unsaid"),
    [
        ("bridge", ("MTU", "1450")),
        ("bridge", ("10.96.0.12",)),
        ("bridge", ("vms.svc.cluster.local",)),
        ("bridge", ("MAC",)),
        ("calico", ("169.254.1.1", "outside the subnet")),
        ("ovn", ("10.128.0.0/14", "172.30.0.0/16")),
    ],
)
def test_what_kernel_ip_cannot_carry_is_said(name: str, unsaid: tuple[str, ...]) -> None:
    warnings = render(leases(lease_of(name)), "kernel-ip").warnings
    assert any(all(word in warning for word in unsaid) for warning in warnings), warnings


CONFIGURED: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "NTP": ({"ntp_servers": ("10.0.0.123", "10.0.0.124")}, ("NTP", "10.0.0.123 10.0.0.124")),
    "boot": ({"boot": Boot("10.0.0.9", "ipxe.efi", "PXEClient")}, ("boot", "10.0.0.9 ipxe.efi PXEClient")),
    "options": ({"options": (RawOption(43, "01"), RawOption(252, "78"))}, ("DHCP options", "43, 252")),
    "IPv6-only": ({"ipv6_only_wait": 300}, ("ipv6_only_wait", "300")),
}
"""What a configuration file may say, and the words of the warning where a format has no place for it."""


@pytest.mark.parametrize("form", RENDER_FORMATS)
@pytest.mark.parametrize("name", CONFIGURED)
def test_what_only_dhcp_carries_is_said(name: str, form: str) -> None:
    fields, words = CONFIGURED[name]
    plain, rendered = render(leases(BARE), form), render(leases(replace(BARE, **fields)), form)
    news = rendered.warnings[len(plain.warnings) :]
    if form == "json" or (form, name) == ("networkd", "NTP"):
        assert news == ()
        assert rendered.text != plain.text
    else:
        [warning] = news
        assert all(word in warning for word in words)
        assert rendered.text == plain.text


def test_networkd_is_told_the_time_servers() -> None:
    told = replace(BARE, ntp_servers=("10.0.0.123", "10.0.0.124"))
    assert "\nNTP=10.0.0.123\nNTP=10.0.0.124\n" in render(leases(told), "networkd").text


BARE = Lease("02:00:00:00:00:01", "10.0.0.5", 24, "169.254.75.10")


@pytest.mark.parametrize("form", RENDER_FORMATS)
def test_what_the_lease_does_not_say_is_not_said(form: str) -> None:
    rendered = render(leases(BARE), form)
    lower = rendered.text.lower() if form != "json" else ""
    assert not any(word in lower for word in ("mtu", "dns", "nameservers", "search", "domains", "route", "none"))
    assert not any("host name" in warning for warning in rendered.warnings)


@pytest.mark.parametrize("form", [form for form in RENDER_FORMATS if form != "json"])
@pytest.mark.parametrize("name", ["a b", "$(reboot)", "~.", "a:b", '"', "a\n[Network]", "#", "-x", "ä"])
def test_a_search_domain_with_another_meaning_is_left_out_and_said(form: str, name: str) -> None:
    rendered = render(leases(replace(BARE, domain_search=(name, "good.example"))), form)
    assert rendered.text == render(leases(replace(BARE, domain_search=("good.example",))), form).text
    assert sum(repr(name) in warning for warning in rendered.warnings) == 1


def test_a_route_within_the_subnet_needs_no_mark() -> None:
    told = replace(BARE, router="10.0.0.1", classless_routes=(ClasslessRoute(DEFAULT, "10.0.0.1"),))
    for form, mark in (("netplan", "on-link"), ("networkd", "GatewayOnLink"), ("ifupdown", "onlink")):
        assert mark not in render(leases(told), form).text
