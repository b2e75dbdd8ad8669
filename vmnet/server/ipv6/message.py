"""An IPv6 packet of the guest → a DHCPv6 Message, or a named reason to ignore it. RFC 9915, strict and total.

The guest is hostile and may flood: each octet is looked at once, the loops are bounded, and no bytes raise.
Standard library only, and little of it: the server process reads this room.
"""

from __future__ import annotations

import struct

from vmnet.server.ipv6.packet import UDP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vmnet.server.ipv6.packet import Packet

SOLICIT, REQUEST, CONFIRM, RENEW, REBIND = 1, 3, 4, 5, 6
RELEASE, DECLINE, INFORMATION_REQUEST = 8, 9, 11
"""The messages of a client that a server takes (§7.3)."""
SERVER_PORT = 547

NOT_UDP = "dhcpv6_not_udp"
PORT = "dhcpv6_port"
UDP_LENGTH = "dhcpv6_udp_length"
SOURCE = "dhcpv6_source"
DESTINATION = "dhcpv6_destination"
MESSAGE_TYPE = "dhcpv6_message_type"
OPTION_PAST_END = "dhcpv6_option_past_end"
OPTION_TWICE = "dhcpv6_option_twice"
TOO_MANY_OPTIONS = "dhcpv6_too_many_options"
TOO_MANY_IAS = "dhcpv6_too_many_ias"
TOO_MANY_ADDRESSES = "dhcpv6_too_many_addresses"
DUID_LENGTH = "dhcpv6_duid_length"
IA_LENGTH = "dhcpv6_ia_length"
IA_OVERRUN = "dhcpv6_ia_overrun"
IA_TWICE = "dhcpv6_ia_twice"
ADDRESS_LENGTH = "dhcpv6_address_length"
OPTION_LENGTH = "dhcpv6_option_length"

_MESSAGES = frozenset((SOLICIT, REQUEST, CONFIRM, RENEW, REBIND, RELEASE, DECLINE, INFORMATION_REQUEST))
_ALL_SERVERS = bytes.fromhex("ff020000000000000000000000010002")
"""All_DHCP_Relay_Agents_and_Servers (§7.1). Nothing else: servers SHOULD NOT accept unicast (§16), and there is
neither option nor status code any more that would speak of it."""
_CLIENT_ID, _SERVER_ID, _IA_NA, _IA_TA, _IAADDR, _ORO, _ELAPSED_TIME = 1, 2, 3, 4, 5, 6, 8
_RAPID_COMMIT, _IA_PD, _IAPREFIX, _FQDN = 14, 25, 26, 39
_ONCE = frozenset((_CLIENT_ID, _SERVER_ID, _ORO, _ELAPSED_TIME, _RAPID_COMMIT, _FQDN))
"""What is read, and may be there once only (§21.1)."""
_IA_HEADS = {_IA_NA: 12, _IA_TA: 4, _IA_PD: 12}
"""Octets before the options of an IA (§21.4, §21.5, §21.21)."""
_MEMBERS = {_IA_NA: (_IAADDR, 24, 0, 16), _IA_TA: (_IAADDR, 24, 0, 16), _IA_PD: (_IAPREFIX, 25, 8, 25)}
"""Of each IA the code and shortest length of what it is made of, and where in it the address or prefix stands
(§21.6, §21.22)."""

_UDP, _HEAD = 8, 12
"""Octets up to the message, and to its first option."""
_SHORTEST_DUID, _LONGEST_DUID = 3, 130
"""§11.1: two octets of type and 1 to 128 more."""
_LONGEST_FQDN = 1 + 255
"""Flags and a name (RFC 4704 §4, RFC 1035 §2.3.4)."""
_MOST_OPTIONS, _MOST_IAS, _MOST_ADDRESSES = 32, 8, 64
"""Of a message, and of all its IAs. The clients we know send ten options, two of them IAs; a frame has room for
370, which would cost 100 µs to read."""
# destination port, length | message type, transaction id
_UDP_MESSAGE = struct.Struct("!2xHH2x BB2s")
_OPTION = struct.Struct("!HH")


class Message:
    """A DHCPv6 message that a client sent to all servers. Options that are absent are empty.

    `ia_na`, `ia_ta` and `ia_pd` have of each IA its IAID and its addresses; of a prefix length and address.
    """

    __slots__ = (
        "client_id",
        "fqdn",
        "ia_na",
        "ia_pd",
        "ia_ta",
        "options",
        "oro",
        "rapid_commit",
        "server_id",
        "source",
        "type",
        "xid",
    )
    type: int
    xid: int
    source: bytes
    options: bytes
    """As they came but for the elapsed time: all that the answer depends on besides the source."""
    client_id: bytes
    server_id: bytes
    oro: bytes
    fqdn: bytes
    """Flags and name (RFC 4704 §4)."""
    rapid_commit: bool
    ia_na: tuple[tuple[bytes, tuple[bytes, ...]], ...]
    ia_ta: tuple[tuple[bytes, tuple[bytes, ...]], ...]
    ia_pd: tuple[tuple[bytes, tuple[bytes, ...]], ...]


def parse(packet: Packet) -> Message | str:
    """Read what `packet.parse` gave of one frame."""
    datagram = packet.payload
    if packet.protocol != UDP or len(datagram) < _HEAD:
        return NOT_UDP if packet.protocol != UDP else UDP_LENGTH
    port, length, kind, xid_high, xid_low = _UDP_MESSAGE.unpack_from(datagram)
    if port != SERVER_PORT or length != len(datagram):
        return PORT if port != SERVER_PORT else UDP_LENGTH
    if packet.destination != _ALL_SERVERS or packet.source[0] != 0xFE or packet.source[1] & 0xC0 != 0x80:
        return DESTINATION if packet.destination != _ALL_SERVERS else SOURCE
    if kind not in _MESSAGES:
        return MESSAGE_TYPE
    message = Message()
    message.type = kind
    message.xid = xid_high << 16 | int.from_bytes(xid_low)
    message.source = packet.source
    return _read(message, datagram) or message


def _read(message: Message, datagram: bytes) -> str:
    """Put the options into the message, or say what is wrong with them."""
    once: dict[int, bytes] = {}
    associations: list[tuple[int, bytes]] = []
    message.options = datagram[_HEAD:]
    at, end, left = _HEAD, len(datagram), _MOST_OPTIONS
    while at < end:
        if not left:
            return TOO_MANY_OPTIONS
        left -= 1
        if at + 4 > end:
            return OPTION_PAST_END
        code, length = _OPTION.unpack_from(datagram, at)
        start, at = at + 4, at + 4 + length
        if at > end:
            return OPTION_PAST_END
        if code in _ONCE:
            if code in once:
                return OPTION_TWICE
            once[code] = datagram[start:at]
            if code == _ELAPSED_TIME:
                message.options = datagram[_HEAD : start - 4] + datagram[at:]
        elif code in _IA_HEADS:
            associations.append((code, datagram[start:at]))
    return _fill(message, once) or _associate(message, associations)


def _fill(message: Message, once: dict[int, bytes]) -> str:
    get = once.get
    message.client_id, message.server_id = get(_CLIENT_ID, b""), get(_SERVER_ID, b"")
    for code in (_CLIENT_ID, _SERVER_ID):
        if code in once and not _SHORTEST_DUID <= len(once[code]) <= _LONGEST_DUID:
            return DUID_LENGTH
    message.oro, message.fqdn = get(_ORO, b""), get(_FQDN, b"")
    message.rapid_commit = _RAPID_COMMIT in once
    if len(message.oro) & 1 or len(message.fqdn) > _LONGEST_FQDN or get(_RAPID_COMMIT):
        return OPTION_LENGTH
    return ""


def _associate(message: Message, associations: list[tuple[int, bytes]]) -> str:
    """Read the IAs. IAIDs are unique among those of a kind (§21.4)."""
    if len(associations) > _MOST_IAS:
        return TOO_MANY_IAS
    found: dict[int, dict[bytes, tuple[bytes, ...]]] = {_IA_NA: {}, _IA_TA: {}, _IA_PD: {}}
    left = _MOST_ADDRESSES
    for code, data in associations:
        if len(data) < _IA_HEADS[code]:
            return IA_LENGTH
        members = _members(code, data, left)
        if isinstance(members, str):
            return members
        left -= len(members)
        if data[:4] in found[code]:
            return IA_TWICE
        found[code][data[:4]] = members
    message.ia_na, message.ia_ta, message.ia_pd = (tuple(ias.items()) for ias in found.values())
    return ""


def _members(code: int, data: bytes, left: int) -> tuple[bytes, ...] | str:
    """The addresses or prefixes of an IA."""
    wanted, shortest, first, last = _MEMBERS[code]
    found: list[bytes] = []
    at, end = _IA_HEADS[code], len(data)
    while at < end:
        if at + 4 > end:
            return IA_OVERRUN
        member, length = _OPTION.unpack_from(data, at)
        start, at = at + 4, at + 4 + length
        if at > end:
            return IA_OVERRUN
        if member != wanted:
            continue
        if length < shortest:
            return ADDRESS_LENGTH
        if len(found) == left:
            return TOO_MANY_ADDRESSES
        found.append(data[start + first : start + last])
    return tuple(found)
