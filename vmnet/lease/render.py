"""What the guest is told as configuration for guests that do not listen: Leases → text. Pure.

Each format says what DHCP and router advertisements would have told: addresses, routes in their order, MTU, DNS,
search list, all matched to the NIC by its MAC. Whatever a format cannot carry becomes a sentence in
`Rendered.warnings`. Router advertisements are off where they can be: all that they say stands here, and where the
pod has no IPv6, systemd-networkd would hold a guest's boot up for 12 s in wait of one.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from vmnet.lease.cloud_init import cloud_init
from vmnet.lease.kernel_ip import kernel_ip
from vmnet.lease.static import Rendered, static
from vmnet.model.codec import plain
from vmnet.model.lease import AUTONOMOUS_LENGTH

if TYPE_CHECKING:
    from collections.abc import Callable

    from vmnet.lease.static import Static, StaticRoute
    from vmnet.model.lease import Leases

_NAME = "vmnet"
"""What the NIC is called in files that want a name of our own."""
_SCHEMA = 1


def render(leases: Leases, form: str) -> Rendered:
    """Write the leases in one of `FORMATS`.

    Raises:
        KeyError: there is no such format.
    """
    return FORMATS[form](leases)


def _for_a_nic(write: Callable[[Static], Rendered], *, ntp: bool = False) -> Callable[[Leases], Rendered]:
    """Make a format of one that only knows a NIC, and say what is no NIC's to know."""

    def written(leases: Leases) -> Rendered:
        nic = static(leases)
        rendered = write(nic)
        unsaid = _by_asking_only(leases, () if ntp else nic.ntp_servers)
        return replace(rendered, warnings=(*nic.warnings, *rendered.warnings, *unsaid))

    return written


def _by_asking_only(leases: Leases, ntp_servers: tuple[str, ...]) -> tuple[str, ...]:
    """Say what of the leases there is no word for in a NIC's configuration."""
    facts = [(" ".join(ntp_servers), "NTP: this format names no time servers: {} left out")]
    if lease := leases.lease:
        boot = " ".join(filter(None, (lease.boot.server, lease.boot.file, lease.boot.vendor_class)))
        options = ", ".join(str(option.code) for option in lease.options)
        facts += [
            (boot, "boot: only firmware that asks by DHCP is told {}"),
            (options, "DHCP options: this format carries none: {} left out"),
            (str(lease.ipv6_only_wait or ""), "ipv6_only_wait: only a guest that asks by DHCP is told {}"),
        ]
    if lease6 := leases.lease6:
        made = [prefix for prefix in lease6.prefixes if prefix.endswith(f"/{AUTONOMOUS_LENGTH}")]
        facts += [
            (
                " ".join(made if lease6.autonomous else ()),
                "autonomous: only a guest that hears router advertisements makes addresses of its own from {}",
            ),
            (lease6.nat64_prefix, "nat64_prefix: only a guest that hears router advertisements is told {}"),
        ]
    return tuple(sentence.format(value) for value, sentence in facts if value)


def _netplan(nic: Static) -> Rendered:
    text = "\n".join(["network:", *(f"  {line}" for line in _version_2(nic)), ""])
    return Rendered(text, _no_hostname(nic, "/etc/hostname"))


def _cloud_init(nic: Static) -> Rendered:
    rendered = cloud_init(nic)
    return replace(rendered, warnings=(*rendered.warnings, *_no_hostname(nic, "the meta-data, as local-hostname")))


def _version_2(nic: Static) -> list[str]:
    """Netplan's language. Strings are JSON, which YAML reads as what they are."""
    lines = [
        "version: 2",
        "ethernets:",
        f"  {_NAME}:",
        f"    match: {{macaddress: {_quoted(nic.mac)}}}",
        "    dhcp4: false",
        "    dhcp6: false",
        "    accept-ra: false",
        *([f"    mtu: {nic.mtu}"] if nic.mtu else []),
        *([f"    ipv6-mtu: {nic.ipv6_mtu}"] if nic.ipv6_mtu else []),
        f"    addresses: {_list(nic.addresses)}",
    ]
    if nic.nameservers or nic.domain_search:
        lines.append("    nameservers:")
        lines += [f"      addresses: {_list(nic.nameservers)}"] if nic.nameservers else []
        lines += [f"      search: {_list(nic.domain_search)}"] if nic.domain_search else []
    if nic.routes:
        lines.append("    routes:")
        lines += [f"      - {{{_version_2_route(route)}}}" for route in nic.routes]
    return lines


def _version_2_route(route: StaticRoute) -> str:
    to = f"to: {_quoted(route.dst)}"
    if not route.gateway:
        return f"{to}, scope: link"
    return f"{to}, via: {_quoted(route.gateway)}{', on-link: true' if route.beyond else ''}"


def _networkd(nic: Static) -> Rendered:
    lines = [
        "[Match]",
        f"MACAddress={nic.mac}",
        "",
        *(["[Link]", f"MTUBytes={nic.mtu}", ""] if nic.mtu else []),
        "[Network]",
        "DHCP=no",
        "IPv6AcceptRA=no",
        *([f"IPv6MTUBytes={nic.ipv6_mtu}"] if nic.ipv6_mtu else []),
        *(f"Address={address}" for address in nic.addresses),
        *(f"DNS={address}" for address in nic.nameservers),
        *([f"Domains={' '.join(nic.domain_search)}"] if nic.domain_search else []),
        *(f"NTP={address}" for address in nic.ntp_servers),
    ]
    for route in nic.routes:
        lines += ["", "[Route]", f"Destination={route.dst}"]
        if route.gateway:
            lines.append(f"Gateway={route.gateway}")
            lines += ["GatewayOnLink=yes"] if route.beyond else []
        elif not route.ipv6:  # an IPv6 route has no scope
            lines.append("Scope=link")
    return Rendered("\n".join([*lines, ""]), _no_hostname(nic, "/etc/hostname"))


def _ifupdown(nic: Static) -> Rendered:
    stanzas = (*_inet(nic), *_inet6(nic))
    lines = [
        f"auto mac/{nic.mac}={_NAME}",
        *stanzas,
        *([f"    dns-nameservers {' '.join(nic.nameservers)}"] if nic.nameservers else []),
        *([f"    dns-search {' '.join(nic.domain_search)}"] if nic.domain_search else []),
    ]
    dns = ("DNS: ifupdown leaves it to the package resolvconf; without that, write /etc/resolv.conf",)
    warnings = (*_no_hostname(nic, "/etc/hostname"), *(dns if nic.nameservers or nic.domain_search else ()))
    return Rendered("\n".join([*lines, ""]), warnings)


def _inet(nic: Static) -> list[str]:
    if not nic.ipv4:
        return []
    return [
        f"iface {_NAME} inet static",
        f"    address {nic.ipv4}",
        *([f"    mtu {nic.mtu}"] if nic.mtu else []),
        *(f"    up ip route add {_iproute2(route)}" for route in nic.routes if not route.ipv6),
    ]


def _inet6(nic: Static) -> list[str]:
    """Not by `mtu` of interfaces(5): what it sets for IPv6 is lost when the link comes up right after.

    A router that was heard before, when the link was up for IPv4 alone, is replaced.
    """
    if not nic.ipv6:
        return []
    own = f"    up echo {nic.ipv6_mtu} >/proc/sys/net/ipv6/conf/$IFACE/mtu"
    device = f"    pre-up ip link set dev $IFACE mtu {nic.mtu}"
    return [
        f"iface {_NAME} inet6 static",
        f"    address {nic.ipv6[0]}",
        "    accept_ra 0",
        *([device] if nic.mtu and not nic.ipv4 else []),
        *([own] if nic.ipv6_mtu else []),
        *(f"    up ip -6 address add {address} dev $IFACE" for address in nic.ipv6[1:]),
        *(f"    up ip -6 route replace {_iproute2(route)}" for route in nic.routes if route.ipv6),
    ]


def _iproute2(route: StaticRoute) -> str:
    """A route as iproute2 and busybox read it; `gateway` of interfaces(5) refuses one outside the subnet."""
    if not route.gateway:
        return f"{route.dst} dev $IFACE{'' if route.ipv6 else ' scope link'}"
    return f"{route.dst} via {route.gateway} dev $IFACE{' onlink' if route.beyond else ''}"


def _json(leases: Leases) -> Rendered:
    document = {"schema": _SCHEMA, "lease": plain(leases.lease), "lease6": plain(leases.lease6)}
    return Rendered(json.dumps(document, indent=2) + "\n")


def _no_hostname(nic: Static, place: str) -> tuple[str, ...]:
    return (f"host name {nic.hostname}: this format carries none, it goes into {place}",) if nic.hostname else ()


def _quoted(text: str) -> str:
    return json.dumps(text)


def _list(texts: tuple[str, ...]) -> str:
    return json.dumps(list(texts))


FORMATS: dict[str, Callable[[Leases], Rendered]] = {
    "cloud-init": _for_a_nic(_cloud_init),
    "networkd": _for_a_nic(_networkd, ntp=True),
    "netplan": _for_a_nic(_netplan),
    "ifupdown": _for_a_nic(_ifupdown),
    "kernel-ip": _for_a_nic(kernel_ip),
    "json": _json,
}
