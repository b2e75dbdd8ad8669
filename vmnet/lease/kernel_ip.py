"""A NIC's configuration as the kernel's own `ip=` (admin-guide/nfs/nfsroot.rst), which knows IPv4 only. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface
from typing import TYPE_CHECKING

from vmnet.lease.static import DEFAULT4, Rendered

if TYPE_CHECKING:
    from vmnet.lease.static import Static

_NAMESERVERS = 2


def kernel_ip(nic: Static) -> Rendered:
    """Write client, server, gateway, mask, host, device, how, DNS; without IPv4, that none shall be asked for."""
    if not nic.ipv4:
        return Rendered("ip=off\n", (*_of_either(nic), *_of_ipv6(nic)))
    own = IPv4Interface(nic.ipv4)
    dns = _nameservers(nic)[:_NAMESERVERS]
    fields = (str(own.ip), "", _gateway(nic), str(own.netmask), nic.hostname, "", "off", *dns)
    return Rendered(f"ip={':'.join(fields)}\n", (*_of_ipv4(nic, own), *_of_either(nic), *_of_ipv6(nic)))


def _gateway(nic: Static) -> str:
    return next((route.gateway for route in nic.routes if route.dst == DEFAULT4), "")


def _nameservers(nic: Static) -> list[str]:
    return [address for address in nic.nameservers if ":" not in address]


def _of_ipv4(nic: Static, own: IPv4Interface) -> list[str]:
    """What of IPv4 is left out, in words."""
    warnings = ["ip= names no MAC: a guest with several NICs takes the first; name the device in the sixth field"]
    gateway, further = _gateway(nic), _nameservers(nic)[_NAMESERVERS:]
    if gateway and IPv4Address(gateway) not in own.network:
        warnings.append(
            f"gateway {gateway} is outside the subnet: the kernel itself refuses it, only some initramfs "
            "take it; else add the routes in the guest"
        )
    others = [route.dst for route in nic.routes if not route.ipv6 and route.dst != DEFAULT4]
    if others:
        warnings.append(f"ip= carries no routes but the default: {', '.join(others)} are left out")
    if further:
        warnings.append(f"ip= carries two nameservers: {', '.join(further)} are left out")
    return warnings


def _of_either(nic: Static) -> list[str]:
    warnings = []
    if nic.mtu:
        warnings.append(f"ip= carries no MTU: set {nic.mtu} in the guest or with host_mtu of its NIC")
    if nic.domain_search:
        warnings.append(f"ip= carries no search list: {' '.join(nic.domain_search)} is left out")
    return warnings


def _of_ipv6(nic: Static) -> tuple[str, ...]:
    """All of it: what the kernel knows of IPv6 it knows from router advertisements."""
    routes = (route for route in nic.routes if route.ipv6)
    facts = (
        ("addresses", nic.ipv6),
        ("routes", tuple(f"{route.dst} via {route.gateway}" if route.gateway else route.dst for route in routes)),
        ("nameservers", tuple(address for address in nic.nameservers if ":" in address)),
        ("host name", () if nic.ipv4 or not nic.hostname else (nic.hostname,)),
    )
    said = "; ".join(f"{what} {', '.join(values)}" for what, values in facts if values)
    return (f"ip= carries no IPv6: {said} are left out",) if said else ()
