"""Lease → Replies: scapy writes every packet and option, once."""

from __future__ import annotations

import struct
from socket import AF_INET, inet_pton
from typing import TYPE_CHECKING

from vmnet.compile.scapy_layers import layers, server_mac
from vmnet.model.links import FOREVER
from vmnet.server.dhcp import domain_search
from vmnet.server.dhcp.replies import COOKIE, HEAD, SMALLEST_IP, Replies, Template, tlvs

if TYPE_CHECKING:
    from vmnet.model.lease import Lease
    from vmnet.model.settings import Boot

_NAMES = {
    1: "subnet_mask",
    3: "router",
    6: "name_server",
    12: "hostname",
    15: "domain",
    26: "interface-mtu",
    28: "broadcast_address",
    42: "NTP_server",
    51: "lease_time",
    53: "message-type",
    54: "server_id",
    56: "error_message",
    58: "renewal_time",
    59: "rebinding_time",
    60: "vendor_class_id",
    66: "tftp_server_name",
    67: "boot-file-name",
    80: "rapid_commit",
    108: "ipv6-only-preferred",
    121: "classless_static_routes",
}
"""scapy's words. It drops a name that it does not know, so `_write` looks at what it wrote."""
_OFFER, _ACK, _NAK = 2, 5, 6
_ETHERNET_MTU = 1500
_LONGEST_FILE = 128
"""The size of BOOTP's field `file`."""
_MOST_ITEMS = {6: 63, 42: 63, 121: 28}
"""How many addresses of 4 octets, or routes of up to 9, an option's 255 octets hold."""


def compile_replies(lease: Lease) -> Replies:
    """Build every reply that the lease's client can get.

    Raises ValueError when the lease has a value that its option cannot carry.
    """
    _refuse_names(lease)
    parameters = _parameters(lease)
    times = _times(lease)
    rapid_commit = {80: _write(80, b"")}
    head, nak_head = _head(lease), _head(lease, nak=True)
    templates = (
        Template(head, {**_heading(lease, _OFFER), **times[0], **_in_order(parameters, times[1])}),
        Template(head, {**_heading(lease, _ACK), **times[0], **rapid_commit, **_in_order(parameters, times[1])}),
        # RFC 2131 §4.3.5: an INFORM is told neither an address nor lease times.
        Template(_head(lease, yiaddr="0.0.0.0"), {**_heading(lease, _ACK), **_in_order(parameters)}),  # noqa: S104
        Template(nak_head, {**_heading(lease, _NAK), 56: _write(56, "the address is not this machine's")}),
    )
    return Replies(
        _mac(lease.chaddr),
        (_write(54, lease.yiaddr)[2:], _write(54, lease.server_id)[2:]),
        max(lease.interface_mtu or _ETHERNET_MTU, SMALLEST_IP),
        templates if lease.served else (),
        _arp_replies(lease),
    )


def _head(lease: Lease, *, yiaddr: str = "", nak: bool = False) -> bytes:
    """Ethernet to magic cookie. Every address is set, and as a number: scapy asks ARP or DNS for anything else."""
    none = "0.0.0.0"  # noqa: S104 - the wire's "no address"
    scapy = layers()
    packet = (
        scapy.Ether(dst="ff:ff:ff:ff:ff:ff" if nak else lease.chaddr, src=server_mac(lease.chaddr))
        / scapy.IP(src=lease.server_id, dst="255.255.255.255" if nak else lease.yiaddr, ttl=64)
        / scapy.UDP(sport=67, dport=68)
        / scapy.BOOTP(
            op=2,
            yiaddr=none if nak else yiaddr or lease.yiaddr,
            siaddr=none if nak else _siaddr(lease.boot),
            chaddr=_mac(lease.chaddr),
            file=b"" if nak else _file(lease.boot),
            options=COOKIE,
        )
    )
    data = bytes(packet)
    if len(data) != HEAD:
        raise ValueError(f"scapy wrote a head of {len(data)} octets instead of {HEAD}")
    return data


def _siaddr(boot: Boot) -> str:
    """The next server of RFC 2131 §2, where it is an address."""
    return boot.server if _is_address(boot.server) else "0.0.0.0"  # noqa: S104 - the wire's "no address"


def _file(boot: Boot) -> bytes:
    """The field `file`, which ends with a NUL; a longer name is told by option 67 alone."""
    name = boot.file.encode("ascii")
    return name if len(name) < _LONGEST_FILE else b""


def _arp_replies(lease: Lease) -> dict[bytes, bytes]:
    """By address asked for, the ARP reply (RFC 826) to the VM; who asked is patched in by the server.

    The guest reaches the server identifier at the server's MAC. A gateway is at the MAC that the pod knew.
    """
    scapy = layers()
    entries = [
        (lease.server_id, server_mac(lease.chaddr)),
        *((entry.address, entry.mac) for entry in lease.neighbours),
    ]
    return {
        inet_pton(AF_INET, address): bytes(
            scapy.Ether(dst=lease.chaddr, src=mac)
            / scapy.ARP(op=2, hwsrc=mac, psrc=address, hwdst=lease.chaddr, pdst="0.0.0.0")  # noqa: S104
        )
        for address, mac in entries
    }


def _refuse_names(lease: Lease) -> None:
    """Refuse what is no number: scapy would ask DNS for it."""
    addresses = [lease.yiaddr, lease.server_id, lease.router, lease.broadcast, *lease.nameservers]
    addresses += [*lease.ntp_servers, *(entry.address for entry in lease.neighbours)]
    addresses += [
        part for route in lease.classless_routes for part in (route.dst.partition("/")[0], route.gateway)
    ]
    for address in filter(None, addresses):
        if not _is_address(address):
            raise ValueError(f"{address!r} is not an IPv4 address")


def _is_address(text: str) -> bool:
    try:
        inet_pton(AF_INET, text)
    except OSError:
        return False
    return True


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _heading(lease: Lease, message_type: int) -> dict[int, bytes]:
    return {53: _write(53, message_type), 54: _write(54, lease.server_id)}


def _times(lease: Lease) -> tuple[dict[int, bytes], dict[int, bytes]]:
    """Option 51, and with an end in sight 58 and 59: RFC 2131 §4.4.5's half and seven eighths."""
    if not 0 < lease.lease_time <= FOREVER:
        raise ValueError(f"lease time {lease.lease_time} is not between 1 and {FOREVER} seconds")
    duration = {51: _write(51, lease.lease_time)}
    if lease.lease_time == FOREVER:
        return duration, {}
    return duration, {58: _write(58, lease.lease_time // 2), 59: _write(59, lease.lease_time * 7 // 8)}


def _parameters(lease: Lease) -> dict[int, bytes]:
    """All but message type, server identifier and times. What the pod does not have is left out, never empty."""
    mask = ".".join(str((0xFFFFFFFF << (32 - lease.prefixlen) >> shift) & 0xFF) for shift in (24, 16, 8, 0))
    single = {
        1: mask,
        3: lease.router,
        12: lease.hostname,
        15: lease.domain_search[0] if lease.domain_search else "",
        26: lease.interface_mtu,
        28: lease.broadcast,
        60: lease.boot.vendor_class,
        66: lease.boot.server,
        67: lease.boot.file,
        108: lease.ipv6_only_wait,
    }
    parameters = {option.code: tlvs(option.code, bytes.fromhex(option.value)) for option in lease.options}
    parameters |= {code: _write(code, value) for code, value in single.items() if value}
    parameters[42] = _write_list(42, lease.ntp_servers)
    parameters[6] = _write_list(6, lease.nameservers)
    parameters[121] = _write_list(121, tuple(_route(route.dst, route.gateway) for route in lease.classless_routes))
    # Microsoft's number for 121, from before RFC 3442; scapy knows no 249.
    parameters[249] = _renumbered(249, parameters[121])
    search = domain_search.encode(lease.domain_search)
    parameters[119] = _write(119, search) if len(search) <= 255 else tlvs(119, search)
    return {code: tlv for code, tlv in parameters.items() if len(tlv) > 2}


def _in_order(*options: dict[int, bytes]) -> dict[int, bytes]:
    """Together, in the order of RFC 2132's numbers: what a client gets that asks for nothing in particular."""
    together: dict[int, bytes] = {}
    for some in options:
        together |= some
    return dict(sorted(together.items()))


def _route(dst: str, gateway: str) -> str:
    """A route in scapy's words. It does not clear the bits beyond the prefix, and RFC 3442 wants them zero."""
    address, _, length = dst.partition("/")
    number = int.from_bytes(_write(54, address)[2:])
    keep = 32 - int(length)
    octets = (number >> keep << keep).to_bytes(4)
    return f"{'.'.join(map(str, octets))}/{length}:{gateway}"


def _write_list(code: int, items: tuple[str, ...]) -> bytes:
    """An option of many values, split as RFC 3396 has it where it is longer than 255 octets.

    It is split between two values: there are clients that read each piece by itself.
    """
    size = _MOST_ITEMS[code]
    return b"".join(_write(code, *items[at : at + size]) for at in range(0, len(items), size))


def _renumbered(code: int, tlv: bytes) -> bytes:
    """The same pieces under another code."""
    pieces, at = b"", 0
    while at < len(tlv):
        end = at + 2 + tlv[at + 1]
        pieces += bytes((code,)) + tlv[at + 1 : end]
        at = end
    return pieces


def _write(code: int, *values: str | int | bytes) -> bytes:
    """One option as scapy writes it. Raises ValueError where scapy wrote something else, or nothing."""
    try:
        tlv = bytes(layers().DHCP(options=[(_NAMES.get(code, code), *values)]))
    except (struct.error, ValueError) as error:
        raise ValueError(f"option {code} cannot carry {values}: {error}") from error
    if len(tlv) < 2 or tlv[0] != code or tlv[1] != len(tlv) - 2:
        raise ValueError(f"scapy did not write option {code} from {values}")
    return tlv
