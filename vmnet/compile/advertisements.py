"""Lease6 → Advertisements: scapy writes every message of neighbour discovery, once."""

from __future__ import annotations

from socket import AF_INET6, inet_ntop, inet_pton
from typing import TYPE_CHECKING, Any

from vmnet.compile.scapy_layers import ipv6_layers, server_mac
from vmnet.model.lease import AUTONOMOUS_LENGTH, PREF64_LENGTHS
from vmnet.server.ipv6.advertisements import OURS, UNKNOWN, Advertisements, RouterFrames
from vmnet.server.ipv6.packet import ICMPV6, checksum

if TYPE_CHECKING:
    from vmnet.model.lease import Lease6, Router

    Packet = Any  # scapy is untyped

_ALL_NODES, _ALL_NODES_MAC = "ff02::1", "33:33:00:00:00:01"
"""RFC 4291 §2.7.1, RFC 2464 §7."""
_SOLICITED_NODE = inet_pton(AF_INET6, "ff02::1:ff00:0")[:13]
"""RFC 4291 §2.7.1: the last three octets are the target's."""
_ETHERNET = 14
_CUR_HOP_LIMIT = 64
"""IANA's default TTL (RFC 1700), Linux's own."""
_ROUTER_LIFETIME = 1800
"""Seconds: three times MaxRtrAdvInterval (RFC 4861 §6.2.1), also of routes and names (RFC 4191, RFC 8106)."""
_VALID, _PREFERRED = 5400, 2700
"""Seconds: a prefix that has changed is not long in use (RFC 9096 §3.1, §3.2)."""
_PREF64_UNIT = 8
"""RFC 8781 §4: the lifetime counts 8 seconds."""
_LONGEST_LABEL = 63


def compile_advertisements(lease: Lease6) -> Advertisements:
    """Build every message that the lease's guest can get, and those that ask for its gateways.

    Raises ValueError when the lease has a value that its option cannot carry.
    """
    neighbours = {_packed(lease.server_address): (OURS, _neighbour(lease, lease.server_address, ours=True))}
    for number, router in enumerate(lease.routers):
        if router.synthetic and router.gateway:
            neighbours[_packed(router.address)] = number, _neighbour(lease, router.address)
        if router.permanent:
            neighbours[_packed(router.gateway)] = number, _neighbour(lease, router.gateway)
    return Advertisements(
        bytes.fromhex(lease.chaddr.replace(":", "")),
        tuple(_router(lease, router) for router in lease.routers),
        neighbours,
        served=lease.served,
    )


def _router(lease: Lease6, router: Router) -> RouterFrames:
    """A router's frames. The one that is none is our server itself."""
    mac = router.mac if router.gateway else server_mac(lease.chaddr)
    options = _options(lease, router)
    link_layer = ipv6_layers().ICMPv6NDOptSrcLLAddr(lladdr=mac or UNKNOWN.hex(":"))
    is_synthetic = router.synthetic and bool(router.gateway)
    frames = RouterFrames(
        _packed(router.address),
        _packed(router.gateway) if router.gateway else b"",
        bytes.fromhex(mac.replace(":", "")) or UNKNOWN,
        (
            _advertisement(lease, router, options),
            _advertisement(lease, router, [*options, link_layer]),
            _probe(lease, router) if is_synthetic and not router.permanent else b"",
        ),
    )
    frames.is_synthetic = is_synthetic
    frames.permanent = router.permanent or not router.gateway
    return frames


def _advertisement(lease: Lease6, router: Router, options: list[Packet]) -> bytes:
    """RFC 4861 §4.2, with the preference of RFC 4191 §2.2. Addresses and all else are DHCPv6's: M and O."""
    packet = ipv6_layers().ICMPv6ND_RA(
        chlim=_CUR_HOP_LIMIT,
        M=1,
        O=1,
        prf=router.preference if router.is_default else 0,
        routerlifetime=_ROUTER_LIFETIME if router.is_default else 0,
    )
    for option in options:
        packet /= option
    data = _to_all(lease, router.address, packet)
    size = len(data) - _ETHERNET
    if lease.mtu and size > lease.mtu:
        raise ValueError(f"the advertisement of {router.address} has {size} octets, the MTU is {lease.mtu}")
    return data


def _options(lease: Lease6, router: Router) -> list[Packet]:
    """All but the source link-layer address; what is said once is said by the first router."""
    scapy = ipv6_layers()
    first = router is lease.routers[0]
    options = [scapy.ICMPv6NDOptMTU(mtu=lease.mtu)] if lease.mtu else []
    options += [_prefix(lease, prefix) for prefix in lease.prefixes if first]
    options += [
        scapy.ICMPv6NDOptRouteInfo(prefix=address, plen=length, prf=0, rtlifetime=_ROUTER_LIFETIME)
        for address, length in map(_split, router.routes)
    ]
    if first and lease.nameservers:
        servers = list(map(_canonical, lease.nameservers))
        options.append(scapy.ICMPv6NDOptRDNSS(lifetime=_ROUTER_LIFETIME, dns=servers))
    if first and lease.domain_search:
        names = list(map(_name, lease.domain_search))
        options.append(scapy.ICMPv6NDOptDNSSL(lifetime=_ROUTER_LIFETIME, searchlist=names))
    if first and lease.nat64_prefix:
        address, length = _split(lease.nat64_prefix)
        lifetime = _ROUTER_LIFETIME // _PREF64_UNIT
        code = PREF64_LENGTHS.index(length)
        options.append(scapy.ICMPv6NDOptPREF64(scaledlifetime=lifetime, plc=code, prefix=address))
    return options


def _prefix(lease: Lease6, prefix: str) -> Packet:
    """RFC 4861 §4.6.2. On-link it is for every guest, autonomous only for who wishes it."""
    address, length = _split(prefix)
    return ipv6_layers().ICMPv6NDOptPrefixInfo(
        prefixlen=length,
        L=1,
        A=int(lease.autonomous and length == AUTONOMOUS_LENGTH),
        R=0,
        validlifetime=_VALID,
        preferredlifetime=_PREFERRED,
        prefix=address,
    )


def _neighbour(lease: Lease6, address: str, *, ours: bool = False) -> bytes:
    """The advertisement of a neighbour (RFC 4861 §4.4). Its MAC is patched in by the server, unless it is ours.

    Our server is a router where it stands in for one: what has advertised routes must not say that it is none.
    """
    scapy = ipv6_layers()
    is_router = not ours or address == lease.routers[0].address
    return _to_all(
        lease,
        address,
        scapy.ICMPv6ND_NA(R=int(is_router), S=1, O=1, tgt=_canonical(address))
        / scapy.ICMPv6NDOptDstLLAddr(lladdr=server_mac(lease.chaddr) if ours else UNKNOWN.hex(":")),
    )


def _probe(lease: Lease6, router: Router) -> bytes:
    """The VM's own solicitation for the gateway (RFC 4861 §4.3, §7.2.2)."""
    scapy = ipv6_layers()
    node = _SOLICITED_NODE + _packed(router.gateway)[13:]
    return _write(
        scapy.Ether(dst=f"33:33:{node[12:].hex(':')}", src=lease.chaddr)
        / scapy.IPv6(src=_canonical(lease.addresses[0].address), dst=inet_ntop(AF_INET6, node), hlim=255)
        / scapy.ICMPv6ND_NS(tgt=_canonical(router.gateway))
        / scapy.ICMPv6NDOptSrcLLAddr(lladdr=lease.chaddr)
    )


def _to_all(lease: Lease6, source: str, message: Packet) -> bytes:
    scapy = ipv6_layers()
    return _write(
        scapy.Ether(dst=_ALL_NODES_MAC, src=server_mac(lease.chaddr))
        / scapy.IPv6(src=_canonical(source), dst=_ALL_NODES, hlim=255)
        / message
    )


def _write(packet: Packet) -> bytes:
    """The packet as scapy writes it. Raises ValueError where it reads back as something else."""
    data = bytes(packet)
    asked, wrote = packet, ipv6_layers().Ether(data)
    while asked:
        for name, value in asked.fields.items():
            if type(wrote) is not type(asked) or wrote.getfieldval(name) != value:
                raise ValueError(f"scapy did not write {name} {value} of {type(asked).__name__}")
        asked, wrote = asked.payload, wrote.payload
    if wrote or checksum(data[22:54], ICMPV6, data[54:]):
        raise ValueError(f"scapy wrote something else than {packet.summary()}")
    return data


def _name(domain: str) -> str:
    """A name as scapy reads it back. It writes a longer label than RFC 1035 §2.3.4 has, too: refused."""
    if any(len(label) > _LONGEST_LABEL for label in domain.split(".")):
        raise ValueError(f"{domain!r} has a label of more than {_LONGEST_LABEL} octets")
    return f"{domain}."


def _split(prefix: str) -> tuple[str, int]:
    address, _, length = prefix.partition("/")
    return _canonical(address), int(length)


def _canonical(address: str) -> str:
    """An address as scapy reads it back. It asks DNS for what is no address: refused."""
    return inet_ntop(AF_INET6, _packed(address))


def _packed(address: str) -> bytes:
    try:
        return inet_pton(AF_INET6, address)
    except OSError:
        raise ValueError(f"{address!r} is not an IPv6 address") from None
