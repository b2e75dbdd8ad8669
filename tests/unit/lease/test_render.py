"""What guests are told that do not listen: each format as it stands, and read back, as what the leases say.

The expected texts are files of tests/data/render; VMNET_GOLDEN=write writes them anew, to be read in the diff.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from ipaddress import (
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.testlib import layouts
from vmnet.lease.ipv4 import lease
from vmnet.lease.ipv6 import lease6
from vmnet.lease.render import FORMATS, render
from vmnet.model.codec import decode
from vmnet.model.lease import ClasslessRoute, Lease, Lease6, LeasedAddress, Leases, Resolver, Router
from vmnet.model.links import FOREVER
from vmnet.model.settings import Boot, RawOption, Settings
from vmnet.plumbing.discover import discover
from vmnet.settings.config import RENDER_FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = Path(__file__).parents[2] / "data" / "render"
SERVERS = ("10.96.0.10", "10.96.0.11", "10.96.0.12", "fd00:96::a")
RESOLVER = Resolver(SERVERS, ("vms.svc.cluster.local", "cluster.local"))
NAMES = ("bridge", "bridge-dual", "calico", "cilium", "ovn", "ptp")
DEFAULT = "0.0.0.0/0"


def leases(lease: Lease) -> Leases:
    """A guest that is told this, and of IPv6 nothing."""
    return Leases(lease.chaddr, lease, None)


def lease_of(layout: str) -> Lease:
    """What a guest in a pod of that layout is told."""
    return lease(discover(layouts.status(layout), "eth0"), RESOLVER, Settings(hostname="vm-1"))


def address(text: str) -> LeasedAddress:
    """An address for as long as any."""
    return LeasedAddress(text, FOREVER, FOREVER)


def stands_in(gateway: str, number: int = 1) -> Router:
    """The router that the server stands in for, and that a guest which does not listen never hears of."""
    return Router(f"fe80::766d:6e65:74{number:02x}", gateway, is_default=True)


def told_of(layout: str) -> Leases:
    """What a guest in a pod of that layout is told of both families."""
    pod = discover(layouts.status(layout), "eth0")
    settings = Settings(hostname="vm-1")
    return Leases(pod.mac, lease(pod, RESOLVER, settings), lease6(pod, RESOLVER, settings))


DUAL = told_of("bridge-dual")
assert DUAL.lease6
BRIDGE6 = DUAL.lease6
ALONE = replace(DUAL, lease=None)
CALICO6 = replace(
    BRIDGE6,
    addresses=(address("fd00:77::5"),),
    routers=(Router("fe80::ecee:eeff:feee:eeee", "fe80::ecee:eeff:feee:eeee", is_default=True),),
    prefixes=(),
    mtu=1480,
)
MANY6 = replace(
    BRIDGE6,
    addresses=(address("fd00:10:246:1::2"), address("2001:db8::2")),
    routers=(
        replace(stands_in("fd00:9::1"), routes=("fd00:20::/48", "fd00:30::/48")),
        replace(stands_in("fd00:10:246:1::fe", 2), routes=("fd00:30::/48", "2001:db8:8::/64")),
        Router("fe80::1", "fe80::1", routes=("fd00:40::/48",)),
    ),
    prefixes=("fd00:10:246:1::/64", "2001:db8::/64"),
    autonomous=True,
    mtu=1400,
    ntp_servers=("fd00::123",),
    nat64_prefix="64:ff9b::/96",
)
"""Whatever can be: a second address, a gateway beyond all prefixes, two ways to one place, a smaller MTU."""
LEASES = {
    **{name: told_of(name) for name in layouts.NAMES},
    "calico-by-hand": replace(told_of("calico"), lease6=CALICO6),
    "many": replace(DUAL, lease6=MANY6),
    "ipv6-only": ALONE,
    "calico-ipv6-only": replace(ALONE, lease6=CALICO6),
}


@pytest.mark.parametrize("form", RENDER_FORMATS)
@pytest.mark.parametrize("name", [*NAMES, "many", "ipv6-only"])
def test_text_and_warnings(name: str, form: str) -> None:
    rendered = render(LEASES[name], form)
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
    addresses: tuple[str, ...]
    routes: tuple[tuple[str, str], ...]
    mtu: int | None
    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    on_link: tuple[str, ...] = ()
    """Gateways said to be reachable whatever the prefixes."""
    ipv6_mtu: int | None = None


def shall_say(told: Leases) -> Said:
    """The same of the leases themselves."""
    lease, lease6 = told.lease, told.lease6
    search = (lease or lease6 or BARE).domain_search
    said = Said(told.chaddr, (), (), told.interface_mtu, search=search)
    if lease:
        said = _with_ipv4(said, lease)
    return _with_ipv6(said, lease6) if lease6 else said


def _with_ipv4(said: Said, lease: Lease) -> Said:
    own = IPv4Interface(f"{lease.yiaddr}/{lease.prefixlen}")
    routes = tuple(
        (route.dst, "" if route.gateway == "0.0.0.0" else route.gateway)  # noqa: S104 -- RFC 3442's "on-link"
        for route in lease.classless_routes
    )
    return replace(
        said,
        addresses=(str(own),),
        routes=routes,
        nameservers=lease.nameservers,
        on_link=tuple(via for _, via in routes if via and IPv4Interface(via).ip not in own.network),
    )


def _with_ipv6(said: Said, lease: Lease6) -> Said:
    """What RA and DHCPv6 would tell: host addresses, on-link prefixes, and the way by the pod's own gateways."""
    ways: dict[str, str] = {}
    for router in lease.routers:
        for dst in router.routes:
            ways.setdefault(dst, router.gateway)
    ways["::/0"] = next(router.gateway for router in lease.routers if router.is_default)
    on_link = [IPv6Network(prefix) for prefix in ("fe80::/10", *lease.prefixes)]
    beyond = (gateway for gateway in ways.values() if not any(IPv6Address(gateway) in net for net in on_link))
    return replace(
        said,
        addresses=(*said.addresses, *(f"{leased.address}/128" for leased in lease.addresses)),
        routes=(*said.routes, *((prefix, "") for prefix in lease.prefixes), *ways.items()),
        nameservers=(*said.nameservers, *lease.nameservers),
        on_link=(*said.on_link, *beyond),
        ipv6_mtu=lease.mtu if lease.mtu and said.mtu and lease.mtu < said.mtu else None,
    )


def one(values: list[str]) -> str:
    """The only element there is."""
    [value] = values
    return value


def read_version_2(text: str) -> Said:
    """Understand netplan's YAML; every string must be one to YAML 1.1 too."""
    document = yaml.safe_load(text)
    document = document.get("network", document)
    assert (document["version"], list(document["ethernets"])) == (2, ["vmnet"])
    nic = document["ethernets"]["vmnet"]
    routes: list[dict[str, Any]] = nic["routes"]
    assert [nic[key] for key in ("dhcp4", "dhcp6", "accept-ra")] == [False] * 3
    assert all(route.get("scope") == "link" for route in routes if "via" not in route)
    return Said(
        nic["match"]["macaddress"],
        tuple(nic["addresses"]),
        tuple((route["to"], route.get("via", "")) for route in routes),
        nic["mtu"],
        tuple(nic["nameservers"]["addresses"]),
        tuple(nic["nameservers"]["search"]),
        tuple(route["via"] for route in routes if route.get("on-link")),
        nic.get("ipv6-mtu"),
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
    assert [once["Network"][key] for key in ("DHCP", "IPv6AcceptRA")] == ["no"] * 2
    on_link4 = [route for route in routes if "Gateway" not in route and ":" not in route["Destination"]]
    assert [route for route in routes if "Scope" in route] == on_link4
    return Said(
        once["Match"]["MACAddress"],
        tuple(value for key, value in network if key == "Address"),
        tuple((route["Destination"], route.get("Gateway", "")) for route in routes),
        int(once["Link"]["MTUBytes"]),
        tuple(value for key, value in network if key == "DNS"),
        tuple(once["Network"]["Domains"].split()),
        tuple(route["Gateway"] for route in routes if route.get("GatewayOnLink") == "yes"),
        int(once["Network"]["IPv6MTUBytes"]) if "IPv6MTUBytes" in once["Network"] else None,
    )


def read_ifupdown(text: str) -> Said:
    """Understand the stanzas of interfaces(5): what a family's own says may not be another's."""
    auto, *lines = [line.split() for line in text.splitlines()]
    mac, _, name = auto[1].removeprefix("mac/").partition("=")
    assert (auto[0], name) == ("auto", "vmnet")
    stanzas: list[list[list[str]]] = []
    for words in lines:
        if words[0] == "iface":
            stanzas.append([])
        stanzas[-1].append(words)
    heads, options = [stanza[0] for stanza in stanzas], [words for stanza in stanzas for words in stanza[1:]]
    assert all((head[1], head[3]) == ("vmnet", "static") for head in heads)
    commands = [words[1:] for words in options if words[0] in ("up", "pre-up")]
    routes = [words[words.index("route") + 2 :] for words in commands if "route" in words]
    devices = [words[words.index("dev") + 1] for words in commands if words[0] == "ip"]
    assert devices == ["$IFACE"] * len(devices)
    assert all(("-6" in words) is (":" in "".join(words)) for words in commands if "route" in words)
    own_mtu = [words for words in commands if words[0] == "echo"]
    assert [words[2] for words in own_mtu] == [">/proc/sys/net/ipv6/conf/$IFACE/mtu"] * len(own_mtu)
    families = ["inet6" if ["accept_ra", "0"] in stanza else "inet" for stanza in stanzas]
    assert [head[2] for head in heads] == families
    device_mtu = [words[-1] for words in commands if words[:3] == ["ip", "link", "set"]]
    values = {words[0]: words[1:] for words in options}
    return Said(
        mac,
        (
            *(words[1] for words in options if words[0] == "address"),
            *(words[words.index("add") + 1] for words in commands if "address" in words),
        ),
        tuple((route[0], route[2] if route[1] == "via" else "") for route in routes),
        int(one(device_mtu or values["mtu"])),
        tuple(values["dns-nameservers"]),
        tuple(values["dns-search"]),
        tuple(route[2] for route in routes if route[-1] == "onlink"),
        int(one([words[1] for words in own_mtu])) if own_mtu else None,
    )


@pytest.mark.parametrize(
    ("form", "read"),
    [
        ("netplan", read_version_2),
        ("networkd", read_networkd),
        ("ifupdown", read_ifupdown),
    ],
)
@pytest.mark.parametrize("name", LEASES)
def test_read_back_it_is_what_the_leases_say(name: str, form: str, read: Callable[[str], Said]) -> None:
    told = LEASES[name]
    assert read(render(told, form).text) == shall_say(told)


Ways = list[tuple[IPv4Network | IPv6Network, str]]
"""Prefixes, and the gateway that each is behind; empty for what is on the link."""


def way(ways: Ways, to: str) -> str:
    """Where a packet goes: the gateway, or the destination itself; of equals the first."""
    address = ip_address(to)
    found = [(net, via) for net, via in ways if address.version == net.version and address in net]
    return max(found, key=lambda entry: entry[0].prefixlen)[1] or to if found else "nowhere"


def of_version_1(text: str) -> tuple[dict[str, Any], Ways]:
    """The NIC, and the ways that its subnets make; of each family they stand with its own addresses."""
    document = yaml.safe_load(text)
    [nic] = document["config"]
    assert (document["version"], nic["type"], nic["accept-ra"]) == (1, "physical", False)
    ways: Ways = []
    for subnet in nic["subnets"]:
        own = ip_interface(subnet["address"])
        assert subnet["type"] == ("static6" if own.version == 6 else "static")
        on_link = [route["destination"] for route in subnet.get("routes", ()) if route["gateway"] in NOWHERE]
        reached = [own.network, ip_network("fe80::/10"), *map(ip_network, on_link)]
        gateways = [route["gateway"] for route in subnet.get("routes", ()) if route["gateway"] not in NOWHERE]
        gateways += [subnet["gateway"]] if "gateway" in subnet else []
        for gateway in map(ip_address, gateways):
            assert gateway.version == own.version
            assert any(gateway in net for net in reached if net.version == own.version)
        ways += [(ip_network(dst), "") for dst in on_link]
        ways += [
            (ip_network(route["destination"]), route["gateway"])
            for route in subnet.get("routes", ())
            if route["gateway"] not in NOWHERE
        ]
        ways += [(own.network, "")]
        ways += [(ip_network("::/0" if own.version == 6 else "0.0.0.0/0"), subnet.get("gateway", ""))] * (
            "gateway" in subnet
        )
    return nic, ways


NOWHERE = ("0.0.0.0", "::")  # noqa: S104 - RFC 3442's "on-link"


@pytest.mark.parametrize("name", LEASES)
def test_cloud_init_s_version_1_leads_wherever_the_leases_do(name: str) -> None:
    told, shall = LEASES[name], shall_say(LEASES[name])
    rendered = render(told, "cloud-init")
    nic, ways = of_version_1(rendered.text)
    assert (nic["mac_address"], nic["mtu"]) == (shall.mac, shall.mtu)
    assert [str(ip_interface(subnet["address"]).ip) for subnet in nic["subnets"]] == [
        address.partition("/")[0] for address in shall.addresses
    ]
    assert tuple(nic["subnets"][0]["dns_nameservers"]) == shall.nameservers
    assert tuple(nic["subnets"][0]["dns_search"]) == shall.search
    wanted: Ways = [(ip_interface(address).network, "") for address in shall.addresses]
    wanted = [*((ip_network(dst), via) for dst, via in shall.routes), *wanted]
    probes = {str(net[number]) for net, _ in wanted for number in (1, -2) if net.num_addresses > 2}
    probes |= {via for _, via in wanted if via}
    differing = {to: (way(ways, to), way(wanted, to)) for to in probes if way(ways, to) != way(wanted, to)}
    assert differing == {}


@pytest.mark.parametrize("name", LEASES)
def test_json_is_the_leases_whole(name: str) -> None:
    told = LEASES[name]
    document = json.loads(render(told, "json").text)
    assert document.pop("schema") == 1
    assert decode(Leases, json.dumps({"chaddr": told.chaddr, "allowed": [], **document}).encode()) == told


@pytest.mark.parametrize("name", layouts.NAMES)
def test_kernel_ip(name: str) -> None:
    told = lease_of(name)
    fields = render(leases(told), "kernel-ip").text.strip().removeprefix("ip=").split(":")
    client, server, gateway, mask, hostname, device, how, *dns = fields
    assert str(IPv4Interface(f"{client}/{mask}")) == f"{told.yiaddr}/{told.prefixlen}"
    assert (server, gateway, hostname, device, how) == ("", told.router, "vm-1", "", "off")
    assert tuple(dns) == told.nameservers[:2]


@pytest.mark.parametrize("name", [name for name, told in LEASES.items() if told.lease6])
def test_kernel_ip_says_nothing_of_ipv6_and_that_it_does_not(name: str) -> None:
    told = LEASES[name]
    rendered = render(told, "kernel-ip")
    if told.lease:
        assert rendered.text == render(leases(told.lease), "kernel-ip").text
    else:
        assert rendered.text == "ip=off\n"
    [warning] = [warning for warning in rendered.warnings if "carries no IPv6" in warning]
    unsaid = shall_say(replace(told, lease=None))
    assert all(word in warning for word in (*unsaid.addresses, *unsaid.nameservers))
    assert all((f"{dst} via {gateway}" if gateway else dst) in warning for dst, gateway in unsaid.routes)


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


CONFIGURED6: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "NTP": ({"ntp_servers": ("fd00::123",)}, ("NTP", "fd00::123")),
    "SLAAC": ({"autonomous": True}, ("autonomous", "from fd00:10:246:1::/64")),
    "NAT64": ({"nat64_prefix": "64:ff9b::/96"}, ("nat64_prefix", "64:ff9b::/96")),
    "a second default": ({"routers": (*BRIDGE6.routers, stands_in("fd00::9", 2))}, ("::/0 via fd00::9", "best")),
}
"""The same of IPv6, and what only one of may be written."""


@pytest.mark.parametrize("form", RENDER_FORMATS)
@pytest.mark.parametrize("name", CONFIGURED6)
def test_what_only_a_listener_hears_is_said(name: str, form: str) -> None:
    fields, words = CONFIGURED6[name]
    plain, rendered = render(ALONE, form), render(replace(ALONE, lease6=replace(BRIDGE6, **fields)), form)
    news = [warning for warning in rendered.warnings if warning not in plain.warnings]
    if form == "json" or (form, name) == ("networkd", "NTP"):
        assert news == []
        assert rendered.text != plain.text
    else:
        [warning] = news
        assert all(word in warning for word in words)
        assert rendered.text == plain.text


@pytest.mark.parametrize("form", RENDER_FORMATS)
def test_a_router_that_is_none_is_no_gateway(form: str) -> None:
    """Where the pod has no gateway, the server's advertisements carry the rest."""
    none = Router(BRIDGE6.server_address, "")
    rendered = render(replace(ALONE, lease6=replace(BRIDGE6, routers=(none,))), form)
    assert form == "json" or not any(word in rendered.text for word in ("via", "Gateway", "fe80"))


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
