"""A guest's frame → a Request, or a named reason to ignore it. Strict and total: no bytes raise.

The guest is hostile and may flood, so the cheap tests come first and each frame is walked once. Standard library
only, and little of it: the server process reads this room.
"""

from __future__ import annotations

import struct

from vmnet.server.auxdata import TP_STATUS_CSUM_SETTLED, TP_STATUS_VLAN_VALID, VLAN_VID_MASK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

DISCOVER, REQUEST, DECLINE, RELEASE, INFORM = 1, 3, 4, 7, 8
"""The messages of a client that a server takes (RFC 2132 §9.6)."""
BROADCAST_FLAG = 0x8000
LIMITED_BROADCAST = 0xFFFFFFFF

FOREIGN_SOURCE_MAC = "foreign_source_mac"
FOREIGN_CHADDR = "foreign_chaddr"
SHORT = "short"
VLAN = "vlan"
NOT_IPV4 = "not_ipv4"
IP_HEADER = "ip_header"
FRAGMENT = "fragment"
NOT_UDP = "not_udp"
IP_LENGTH = "ip_length"
NOT_PORT_67 = "not_port_67"
UDP_LENGTH = "udp_length"
UDP_CHECKSUM = "udp_checksum"
BOOTP_OP = "bootp_op"
HARDWARE_TYPE = "hardware_type"
COOKIE = "cookie"
OPTION_PAST_END = "option_past_end"
TOO_MANY_OPTIONS = "too_many_options"
NO_MESSAGE_TYPE = "no_message_type"
MESSAGE_TYPE = "message_type"
ADDRESS_LENGTH = "address_length"

_MESSAGES = frozenset((DISCOVER, REQUEST, DECLINE, RELEASE, INFORM))
_ETH_P_IP = 0x0800
_ETH_P_8021Q = 0x8100
_MORE_FRAGMENTS_OR_OFFSET = 0x3FFF
_IPPROTO_UDP = 17
_ETHERNET = 14
_UDP_BOOTP = 8 + 236 + 4
"""Octets from the UDP header to the first option, the magic cookie included."""
_SHORTEST = _ETHERNET + 20 + _UDP_BOOTP

# source MAC, type | version and IHL, total length, fragment, protocol, source, destination
_LINK_IP = struct.Struct("!6x6sH BxHxxHxBxxII")
# destination port, length, checksum | op, htype and hlen, xid, flags, ciaddr, giaddr, chaddr | cookie
_UDP_DHCP = struct.Struct("!2xHHH BHxI2xHI8xI6s10x192x4s")
_ETHERNET_HARDWARE = 0x0106
_MAGIC = b"\x63\x82\x53\x63"

_PAD, _END = 0, 255
_STEPS = range(32)
"""One for each option of a field and each row of pads. The clients we know send ten options at most; a frame has
room for 600, which would cost 70 µs to read."""
_ROW = 32
"""Octets in which a row of pads is looked for first: for each of many short ones the rest would be copied."""
_REQUESTED, _OVERLOAD, _TYPE, _SERVER_ID, _PRL, _MAX_SIZE = 50, 52, 53, 54, 55, 57
_CLIENT_ID, _RAPID_COMMIT, _FQDN, _RELAY_AGENT = 61, 80, 81, 82
_WANTED = frozenset(
    (_REQUESTED, _OVERLOAD, _TYPE, _SERVER_ID, _PRL, _MAX_SIZE, _CLIENT_ID, _RAPID_COMMIT, _FQDN, _RELAY_AGENT)
)
_JOINED = frozenset((_PRL, _CLIENT_ID, _FQDN, _RELAY_AGENT))
"""Options that may come in pieces (RFC 3396); of the others, all of fixed length, the first counts."""
_FILE, _SNAME = (108, 236), (44, 108)
"""Where these fields begin and end within BOOTP."""


class Request:
    """A DHCP message of the VM: its chaddr and Ethernet source are the VM's MAC, or it would not be here.

    Addresses are numbers, 0 or None where there is none; options that are absent are None or empty.
    """

    __slots__ = (
        "ciaddr",
        "client_id",
        "destination",
        "flags",
        "fqdn",
        "giaddr",
        "kind",
        "max_size",
        "parameter_request_list",
        "rapid_commit",
        "relay_agent",
        "requested",
        "server_id",
        "source",
        "xid",
    )
    kind: int
    xid: int
    flags: int
    ciaddr: int
    giaddr: int
    source: int
    destination: int
    requested: int | None
    server_id: int | None
    client_id: bytes
    fqdn: bytes
    relay_agent: bytes
    parameter_request_list: bytes
    max_size: int
    rapid_commit: bool


def parse(frame: bytes, vm_mac: bytes, tp_status: int = 0, vlan_tci: int = 0) -> Request | str:
    """Read one Ethernet frame as the packet socket gave it, with `tp_status` and `tp_vlan_tci` of its auxdata.

    Returns the request, or one of the reasons above as text.
    """
    if len(frame) < _SHORTEST:
        return SHORT
    source_mac, ethertype, version_ihl, total, fragment, protocol, source, destination = _LINK_IP.unpack_from(
        frame
    )
    if source_mac != vm_mac:
        return FOREIGN_SOURCE_MAC
    if tp_status & TP_STATUS_VLAN_VALID and vlan_tci & VLAN_VID_MASK:
        return VLAN
    if ethertype != _ETH_P_IP:
        return _tagged(frame, vm_mac, tp_status) if ethertype == _ETH_P_8021Q else NOT_IPV4
    udp = _ETHERNET + ((version_ihl & 15) << 2)
    end = _ETHERNET + total
    if (
        not 0x45 <= version_ihl < 0x50
        or fragment & _MORE_FRAGMENTS_OR_OFFSET
        or protocol != _IPPROTO_UDP
        or not udp + _UDP_BOOTP <= end <= len(frame)
    ):
        return _ip_fault(version_ihl, fragment, protocol)
    return _dhcp(frame[udp:end], vm_mac, (source, destination), tp_status)


def foreign_chaddr(frame: bytes) -> bytes:
    """The MAC that made `parse` say FOREIGN_CHADDR of this frame."""
    ip = _ETHERNET + 4 * (frame[12:14] == b"\x81\x00")
    bootp = ip + ((frame[ip] & 15) << 2) + 8
    return frame[bootp + 28 : bootp + 34]


def _tagged(frame: bytes, vm_mac: bytes, tp_status: int) -> Request | str:
    """A frame with its 802.1Q tag in place: id 0 says only a priority. One tag at most, wherever it is kept."""
    if tp_status & TP_STATUS_VLAN_VALID or int.from_bytes(frame[14:16]) & VLAN_VID_MASK:
        return VLAN
    return parse(frame[:12] + frame[16:], vm_mac, tp_status | TP_STATUS_VLAN_VALID)


def _ip_fault(version_ihl: int, fragment: int, protocol: int) -> str:
    if not 0x45 <= version_ihl < 0x50:
        return IP_HEADER
    if fragment & _MORE_FRAGMENTS_OR_OFFSET:
        return FRAGMENT  # half a message is never read, and the bridge does not reassemble
    return NOT_UDP if protocol != _IPPROTO_UDP else IP_LENGTH


def _dhcp(datagram: bytes, vm_mac: bytes, addresses: tuple[int, int], tp_status: int) -> Request | str:
    """Read a UDP datagram that is long enough for BOOTP and the cookie."""
    fields = _UDP_DHCP.unpack_from(datagram)
    port, length, checksum, op, hardware, xid, flags, ciaddr, giaddr, chaddr, cookie = fields
    if port != 67 or not _UDP_BOOTP <= length <= len(datagram):
        return NOT_PORT_67 if port != 67 else UDP_LENGTH
    if op != 1 or hardware != _ETHERNET_HARDWARE or chaddr != vm_mac or cookie != _MAGIC:
        return _bootp_fault(op, hardware, chaddr != vm_mac)
    if length != len(datagram):
        datagram = datagram[:length]
    if checksum and not tp_status & TP_STATUS_CSUM_SETTLED:
        # Zero means that the sender made none (RFC 768); an unfinished one is the virtio offload's.
        words = datagram + b"\0" if length & 1 else datagram
        pseudo_header = addresses[0] + addresses[1] + _IPPROTO_UDP + length
        if (int.from_bytes(words) % 0xFFFF + pseudo_header) % 0xFFFF:
            return UDP_CHECKSUM
    options: dict[int, bytes] = {}
    fault = _walk(datagram, _UDP_BOOTP, length, options)
    if not fault and _OVERLOAD in options:
        fault = _walk_overload(datagram, options)
    if fault:
        return fault
    request = Request()
    request.xid = xid
    request.flags = flags
    request.ciaddr = ciaddr
    request.giaddr = giaddr
    request.source, request.destination = addresses
    return _fill(request, options) or request


def _bootp_fault(op: int, hardware: int, foreign: bool) -> str:
    if op != 1:
        return BOOTP_OP
    if hardware != _ETHERNET_HARDWARE:
        return HARDWARE_TYPE
    return FOREIGN_CHADDR if foreign else COOKIE


def _walk(data: bytes, at: int, end: int, options: dict[int, bytes]) -> str:
    """Collect the wanted options of one field, or say why not. A missing End is fine."""
    for _ in _STEPS:
        if at >= end:
            return ""
        code = data[at]
        if code == _PAD:
            part = data[at : at + _ROW].lstrip(b"\0")
            inside = part and at + _ROW <= end
            at = at + _ROW - len(part) if inside else end - len(data[at:end].lstrip(b"\0"))
            continue
        if code == _END:
            return ""
        at += 2
        stop = at + data[at - 1] if at <= end else at
        if stop > end:
            return OPTION_PAST_END
        if code in _WANTED:
            if code not in options:
                options[code] = data[at:stop]
            elif code in _JOINED:
                options[code] += data[at:stop]
        at = stop
    return "" if at >= end or data[at] == _END else TOO_MANY_OPTIONS


def _walk_overload(datagram: bytes, options: dict[int, bytes]) -> str:
    """The fields that option 52 names: `file`, then `sname` (RFC 2131 §4.1). A 52 within them changes nothing."""
    overload = options[_OVERLOAD]
    which = overload[0] if len(overload) == 1 else 0
    fields: Iterable[tuple[int, int]] = (_FILE,) * (which in (1, 3)) + (_SNAME,) * (which in (2, 3))
    for start, stop in fields:
        fault = _walk(datagram, 8 + start, 8 + stop, options)
        if fault:
            return fault
    return ""


def _fill(request: Request, options: dict[int, bytes]) -> str:
    """Put the options into the request, or say what is wrong with them."""
    get = options.get
    kind = get(_TYPE)
    if kind is None:
        return NO_MESSAGE_TYPE
    if len(kind) != 1 or kind[0] not in _MESSAGES:
        return MESSAGE_TYPE
    requested, server_id = get(_REQUESTED), get(_SERVER_ID)
    if (requested is not None and len(requested) != 4) or (server_id is not None and len(server_id) != 4):
        return ADDRESS_LENGTH
    client_id, fqdn, max_size = get(_CLIENT_ID, b""), get(_FQDN, b""), get(_MAX_SIZE, b"")
    request.kind = kind[0]
    request.requested = None if requested is None else int.from_bytes(requested)
    request.server_id = None if server_id is None else int.from_bytes(server_id)
    request.client_id = client_id if len(client_id) > 1 else b""  # two octets at least (RFC 2132 §9.14)
    request.fqdn = fqdn if len(fqdn) > 2 else b""  # three octets before the name (RFC 4702 §2)
    request.relay_agent = get(_RELAY_AGENT, b"")
    request.parameter_request_list = get(_PRL, b"")
    request.max_size = int.from_bytes(max_size) if len(max_size) == 2 else 0
    request.rapid_commit = _RAPID_COMMIT in options
    return ""
