"""Lease6 → Replies: scapy writes every option of DHCPv6 and the head of its packets, once. RFC 9915."""

from __future__ import annotations

import struct
from socket import AF_INET6, inet_pton
from typing import TYPE_CHECKING

from vmnet.compile.scapy_layers import SERVER_MAC, ipv6_layers, server_mac
from vmnet.model.links import FOREVER
from vmnet.server.ipv6 import replies as dhcpv6
from vmnet.server.ipv6.replies import HEAD, LEAST_MTU, STATUSES, Replies

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vmnet.model.lease import Lease6, LeasedAddress

_ETHERNET_MTU = 1500
_HOP_LIMIT = 64
_PREFERENCE = 255
"""The most: the client waits for no other server, for there is none (§18.2.1)."""
_REFRESH_TIME = 86400
"""IRT_DEFAULT, seconds (§7.6). What the guest is told changes when it starts anew."""
_MESSAGES = {
    dhcpv6.SUCCESS: "",
    dhcpv6.NO_ADDRS_AVAIL: "no addresses but the pod's",
    dhcpv6.NO_BINDING: "not an address of the pod",
    dhcpv6.NOT_ON_LINK: "not an address of the pod",
    dhcpv6.NO_PREFIX_AVAIL: "no prefix is delegated",
}
_NO_UPDATE = 4
"""RFC 4704 §4.1, N: nobody here touches the DNS."""
_LONGEST_LABEL, _LONGEST_NAME = 63, 255
"""RFC 1035 §2.3.4."""


def compile_replies(lease: Lease6) -> Replies:
    """Build whatever the lease's client can get.

    Raises ValueError when the lease has a value that its option cannot carry.
    """
    _refuse_names(lease)
    if not lease.addresses:
        raise ValueError("there is no IPv6 address to lease")
    addresses = tuple(map(_address, lease.addresses))
    return Replies(
        _head(lease),
        max(lease.mtu or _ETHERNET_MTU, LEAST_MTU),
        (_times(lease.addresses), addresses),
        _options(lease),
        tuple(map(_status, STATUSES)) if lease.served else (),
    )


def _head(lease: Lease6) -> bytes:
    """Ethernet to UDP. Every address is set: scapy looks for a route or a neighbour to anything else."""
    scapy = ipv6_layers()
    packet = (
        scapy.Ether(dst=lease.chaddr, src=server_mac(lease.chaddr))
        / scapy.IPv6(src=lease.server_address, dst="::", hlim=_HOP_LIMIT)
        / scapy.UDP(sport=547, dport=546)
    )
    data = bytes(packet)
    if len(data) != HEAD:
        raise ValueError(f"scapy wrote a head of {len(data)} octets instead of {HEAD}")
    return data


def _times(addresses: tuple[LeasedAddress, ...]) -> bytes:
    """T1 and T2: half and four fifths of the shortest preferred lifetime (§21.4).

    An address that is deprecated is not extended. Where all are, the client shall choose the times (§14.2).
    """
    shortest = min((leased.preferred_lifetime for leased in addresses if leased.preferred_lifetime), default=0)
    if shortest == FOREVER:
        return struct.pack("!II", FOREVER, FOREVER)
    return struct.pack("!II", shortest // 2, shortest * 4 // 5)


def _address(leased: LeasedAddress) -> bytes:
    preferred, valid = leased.preferred_lifetime, leased.valid_lifetime
    if not 0 <= preferred <= valid <= FOREVER or not valid:  # §21.6: clients discard it
        raise ValueError(f"lifetimes of {leased.address} are {preferred} and {valid}: preferred, valid")
    return _write(5, "IAAddress", addr=leased.address, preflft=preferred, validlft=valid)


def _options(lease: Lease6) -> dict[int, bytes]:
    """All options but IAs and statuses. What the pod does not have is left out, never empty."""
    scapy = ipv6_layers()
    # The same for every pod, whose guests never meet another server: so it outlives any restart (§11).
    options = {
        dhcpv6.SERVER_ID: _write(dhcpv6.SERVER_ID, "ServerId", duid=scapy.DUID_LL(lladdr=SERVER_MAC)),
        dhcpv6.PREFERENCE: _write(dhcpv6.PREFERENCE, "Pref", prefval=_PREFERENCE),
        dhcpv6.RAPID_COMMIT: _write(dhcpv6.RAPID_COMMIT, "RapidCommit"),
        dhcpv6.REFRESH_TIME: _write(dhcpv6.REFRESH_TIME, "InfoRefreshTime", reftime=_REFRESH_TIME),
    }
    if lease.nameservers:
        options[dhcpv6.DNS] = _write(dhcpv6.DNS, "DNSServers", dnsservers=list(lease.nameservers))
    if lease.domain_search:
        options[dhcpv6.SEARCH] = _search(lease.domain_search)
    if lease.ntp_servers:
        servers = [scapy.DHCP6NTPSubOptSrvAddr(addr=address) for address in lease.ntp_servers]
        options[dhcpv6.NTP] = _write(dhcpv6.NTP, "NTPServer", ntpserver=servers)
        # Obsolete (RFC 5908), and what dhclient asks for.
        options[dhcpv6.SNTP] = _write(dhcpv6.SNTP, "SNTPServers", sntpservers=list(lease.ntp_servers))
    if lease.hostname:
        options[dhcpv6.FQDN] = _fqdn(lease)
    return options


def _search(domains: tuple[str, ...]) -> bytes:
    """Option 24: names of RFC 1035 §3.1, which must not be compressed (RFC 9915 §10)."""
    encoded = b"".join(_labels(domain) + b"\0" for domain in domains)
    option = _write(dhcpv6.SEARCH, "DNSDomains", dnsdomains=list(domains))
    if option[4:] != encoded:
        raise ValueError(f"scapy did not write option {dhcpv6.SEARCH} from {domains}")
    return option


def _fqdn(lease: Lease6) -> bytes:
    """Option 39: the host name in the first search domain; where there is none, or no room, a partial name."""
    label = lease.hostname.partition(".")[0]
    name = ".".join((label, *lease.domain_search[:1]))
    if name == label or len(_labels(name)) >= _LONGEST_NAME:
        # RFC 4704 §4.2: a partial name has no end, which scapy's own class would write.
        return _write(dhcpv6.FQDN, "Unknown", optcode=dhcpv6.FQDN, data=bytes((_NO_UPDATE,)) + _labels(label))
    option = _write(dhcpv6.FQDN, "ClientFQDN", flags=_NO_UPDATE, fqdn=name)
    if option[4:] != bytes((_NO_UPDATE,)) + _labels(name) + b"\0":
        raise ValueError(f"scapy did not write option {dhcpv6.FQDN} from {name}")
    return option


def _labels(name: str) -> bytes:
    """A name without its end. Raises ValueError where RFC 1035 §2.3.4 knows none like it."""
    labels = [label.encode("ascii", "replace") for label in name.split(".")]
    if not name.isascii() or not all(0 < len(label) <= _LONGEST_LABEL for label in labels):
        raise ValueError(f"{name!r} is not a name of the DNS")
    return b"".join(bytes((len(label),)) + label for label in labels)


def _status(number: int) -> bytes:
    return _write(13, "StatusCode", statuscode=number, statusmsg=_MESSAGES[number].encode())


def _refuse_names(lease: Lease6) -> None:
    """Refuse what is no number: scapy would ask DNS for it."""
    for address in _addresses(lease):
        try:
            inet_pton(AF_INET6, address)
        except OSError:
            raise ValueError(f"{address!r} is not an IPv6 address") from None


def _addresses(lease: Lease6) -> Iterable[str]:
    yield lease.server_address
    yield from (leased.address for leased in lease.addresses)
    yield from (*lease.nameservers, *lease.ntp_servers)


def _write(code: int, name: str, **fields: object) -> bytes:
    """One option as scapy writes it. Raises ValueError where scapy wrote something else."""
    try:
        option = bytes(getattr(ipv6_layers(), f"DHCP6Opt{name}")(**fields))
    except (struct.error, ValueError, TypeError) as error:
        raise ValueError(f"option {code} cannot carry {fields}: {error}") from error
    if option[:4] != struct.pack("!HH", code, len(option) - 4):
        raise ValueError(f"scapy did not write option {code} from {fields}")
    return option
