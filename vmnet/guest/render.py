"""The lease as configuration for guests without a DHCP client: Lease → text. Pure.

Each format says what DHCP would have told: address, routes in the order of option 121, MTU, DNS, search list, all
matched to the NIC by its MAC. Whatever a format cannot carry becomes a sentence in `Rendered.warnings`.
Router advertisements are off where they can be: nobody answers for the pod's, and systemd-networkd would hold a
guest's boot up for 12 s in wait of one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from socket import inet_ntoa
from typing import TYPE_CHECKING

from vmnet.codec import plain
from vmnet.dhcp.classless import ON_LINK, covers
from vmnet.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from vmnet.model import ClasslessRoute, Lease, Leases

_DEFAULT = "0.0.0.0/0"
_NAME = "vmnet"
"""What the NIC is called in files that want a name of our own."""
_KERNEL_NAMESERVERS = 2
_WHOLE = "json"
"""The format that carries the lease as it is."""
_WITH_NTP = ("networkd",)
_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Rendered:
    """A configuration, and in words what of the lease it does not carry."""

    text: str
    warnings: tuple[str, ...] = ()


def render(leases: Leases, form: str) -> Rendered:
    """Write the lease in one of `FORMATS`.

    Raises:
        KeyError: there is no such format.
        RefusedError: there is no IPv4 lease.
    """
    lease = leases.lease
    if lease is None:
        raise RefusedError("the pod has no IPv4 address, and that is all that can be written so far")
    names = tuple(name for name in lease.domain_search if _is_plain(name))
    dropped = tuple(
        f"search domain {name!r} is no plain host name: left out"
        for name in lease.domain_search
        if name not in names
    )
    rendered = FORMATS[form](replace(lease, domain_search=names))
    unsaid = () if form == _WHOLE else _by_dhcp_only(lease, ntp=form not in _WITH_NTP)
    return replace(rendered, warnings=(*dropped, *rendered.warnings, *unsaid))


def _by_dhcp_only(lease: Lease, *, ntp: bool) -> tuple[str, ...]:
    """Say what of the lease there is no word for in a NIC's configuration."""
    boot = " ".join(filter(None, (lease.boot.server, lease.boot.file, lease.boot.vendor_class)))
    options = ", ".join(str(option.code) for option in lease.options)
    facts = (
        (" ".join(lease.ntp_servers) if ntp else "", "NTP: this format names no time servers: {} left out"),
        (boot, "boot: only firmware that asks by DHCP is told {}"),
        (options, "DHCP options: this format carries none: {} left out"),
        (str(lease.ipv6_only_wait or ""), "ipv6_only_wait: only a guest that asks by DHCP is told {}"),
    )
    return tuple(sentence.format(value) for value, sentence in facts if value)


def _is_plain(name: str) -> bool:
    """Whether a name means the same in every format, whatever a format's own special characters are."""
    bare = name.replace("-", "").replace("_", "").replace(".", "")
    return bare.isascii() and bare.isalnum() and name[0] != "-"


def _netplan(lease: Lease) -> Rendered:
    text = "\n".join(["network:", *(f"  {line}" for line in _version_2(lease)), ""])
    return Rendered(text, _no_hostname(lease, "/etc/hostname"))


def _cloud_init(lease: Lease) -> Rendered:
    return Rendered("\n".join([*_version_2(lease), ""]), _no_hostname(lease, "the meta-data, as local-hostname"))


def _version_2(lease: Lease) -> list[str]:
    """The language that netplan and cloud-init share. Strings are JSON, which YAML reads as what they are."""
    lines = [
        "version: 2",
        "ethernets:",
        f"  {_NAME}:",
        f"    match: {{macaddress: {_quoted(lease.chaddr)}}}",
        "    dhcp4: false",
        "    accept-ra: false",
        *([f"    mtu: {lease.interface_mtu}"] if lease.interface_mtu else []),
        f"    addresses: [{_quoted(f'{lease.yiaddr}/{lease.prefixlen}')}]",
    ]
    if lease.nameservers or lease.domain_search:
        lines.append("    nameservers:")
        lines += [f"      addresses: {_list(lease.nameservers)}"] if lease.nameservers else []
        lines += [f"      search: {_list(lease.domain_search)}"] if lease.domain_search else []
    if lease.classless_routes:
        lines.append("    routes:")
        lines += [f"      - {{{_version_2_route(lease, route)}}}" for route in lease.classless_routes]
    return lines


def _version_2_route(lease: Lease, route: ClasslessRoute) -> str:
    to = f"to: {_quoted(route.dst)}"
    if route.gateway == ON_LINK:
        return f"{to}, scope: link"
    beyond = "" if _in_subnet(lease, route) else ", on-link: true"
    return f"{to}, via: {_quoted(route.gateway)}{beyond}"


def _networkd(lease: Lease) -> Rendered:
    lines = [
        "[Match]",
        f"MACAddress={lease.chaddr}",
        "",
        *(["[Link]", f"MTUBytes={lease.interface_mtu}", ""] if lease.interface_mtu else []),
        "[Network]",
        "DHCP=no",
        "IPv6AcceptRA=no",
        f"Address={lease.yiaddr}/{lease.prefixlen}",
        *(f"DNS={address}" for address in lease.nameservers),
        *([f"Domains={' '.join(lease.domain_search)}"] if lease.domain_search else []),
        *(f"NTP={address}" for address in lease.ntp_servers),
    ]
    for route in lease.classless_routes:
        lines += ["", "[Route]", f"Destination={route.dst}"]
        if route.gateway == ON_LINK:
            lines.append("Scope=link")
        else:
            lines.append(f"Gateway={route.gateway}")
            lines += [] if _in_subnet(lease, route) else ["GatewayOnLink=yes"]
    return Rendered("\n".join([*lines, ""]), _no_hostname(lease, "/etc/hostname"))


def _ifupdown(lease: Lease) -> Rendered:
    lines = [
        f"auto mac/{lease.chaddr}={_NAME}",
        f"iface {_NAME} inet static",
        f"    address {lease.yiaddr}/{lease.prefixlen}",
        *([f"    mtu {lease.interface_mtu}"] if lease.interface_mtu else []),
        *(f"    up ip route add {_iproute2(lease, route)}" for route in lease.classless_routes),
        *([f"    dns-nameservers {' '.join(lease.nameservers)}"] if lease.nameservers else []),
        *([f"    dns-search {' '.join(lease.domain_search)}"] if lease.domain_search else []),
    ]
    dns = ("DNS: ifupdown leaves it to the package resolvconf; without that, write /etc/resolv.conf",)
    warnings = (*_no_hostname(lease, "/etc/hostname"), *(dns if lease.nameservers or lease.domain_search else ()))
    return Rendered("\n".join([*lines, ""]), warnings)


def _iproute2(lease: Lease, route: ClasslessRoute) -> str:
    """A route as iproute2 and busybox read it; `gateway` of interfaces(5) refuses one outside the subnet."""
    if route.gateway == ON_LINK:
        return f"{route.dst} dev $IFACE scope link"
    beyond = "" if _in_subnet(lease, route) else " onlink"
    return f"{route.dst} via {route.gateway} dev $IFACE{beyond}"


def _kernel_ip(lease: Lease) -> Rendered:
    """The kernel's `ip=` (admin-guide/nfs/nfsroot.rst): client, server, gateway, mask, host, device, how, DNS."""
    mask = inet_ntoa((0xFFFFFFFF << (32 - lease.prefixlen) & 0xFFFFFFFF).to_bytes(4))
    dns = lease.nameservers[:_KERNEL_NAMESERVERS]
    fields = (lease.yiaddr, "", lease.router, mask, lease.hostname, "", "off", *dns)
    return Rendered(f"ip={':'.join(fields)}\n", tuple(_kernel_warnings(lease)))


def _kernel_warnings(lease: Lease) -> list[str]:
    warnings = ["ip= names no MAC: a guest with several NICs takes the first; name the device in the sixth field"]
    if lease.router and not covers(f"{lease.yiaddr}/{lease.prefixlen}", lease.router):
        warnings.append(
            f"gateway {lease.router} is outside the subnet: the kernel itself refuses it, only some initramfs "
            "take it; else add the routes in the guest"
        )
    others = [route.dst for route in lease.classless_routes if route.dst != _DEFAULT]
    if others:
        warnings.append(f"ip= carries no routes but the default: {', '.join(others)} are left out")
    if lease.interface_mtu:
        warnings.append(f"ip= carries no MTU: set {lease.interface_mtu} in the guest or with host_mtu of its NIC")
    if len(lease.nameservers) > _KERNEL_NAMESERVERS:
        warnings.append(f"ip= carries two nameservers: {', '.join(lease.nameservers[2:])} are left out")
    if lease.domain_search:
        warnings.append(f"ip= carries no search list: {' '.join(lease.domain_search)} is left out")
    return warnings


def _json(lease: Lease) -> Rendered:
    return Rendered(json.dumps({"schema": _SCHEMA, "lease": plain(lease)}, indent=2) + "\n")


def _in_subnet(lease: Lease, route: ClasslessRoute) -> bool:
    return covers(f"{lease.yiaddr}/{lease.prefixlen}", route.gateway)


def _no_hostname(lease: Lease, place: str) -> tuple[str, ...]:
    return (
        (f"host name {lease.hostname}: this format carries none, it goes into {place}",) if lease.hostname else ()
    )


def _quoted(text: str) -> str:
    return json.dumps(text)


def _list(texts: tuple[str, ...]) -> str:
    return json.dumps(list(texts))


FORMATS: dict[str, Callable[[Lease], Rendered]] = {
    "cloud-init": _cloud_init,
    "networkd": _networkd,
    "netplan": _netplan,
    "ifupdown": _ifupdown,
    "kernel-ip": _kernel_ip,
    _WHOLE: _json,
}
