"""The compiled replies: what scapy wrote once, in the form that the server patches and sends.

They travel from the compile process to the server process, so they have a small explicit form in bytes. This
room is read by the server: it imports `struct` and nothing else.
"""

from __future__ import annotations

import struct

OFFER, ACK, INFORM_ACK, NAK = range(4)
"""The kinds of reply: indices into `Replies.templates`."""

HEAD = 282
"""Octets of a template's head: Ethernet 14, IPv4 20, UDP 8, BOOTP 236, magic cookie 4."""
COOKIE = b"\x63\x82\x53\x63"
"""RFC 2131 §3."""
SMALLEST_IP = 28 + 300
"""The IP length of the shortest reply: old clients want 300 octets of BOOTP (RFC 1542 §2.1)."""

_RAPID_COMMIT = 80
_LONGEST_OPTION = 255
_MAGIC = b"vmnet-replies-2\n"
_FACTS = struct.Struct("!6s4s4sHBH")
_TEMPLATE = struct.Struct(f"!{HEAD}sB")
_OPTION = struct.Struct("!BH")
_ARP = struct.Struct("!4s42s")


class Template:
    """One kind of reply: its head, and of every option code the whole TLV bytes, in default order."""

    __slots__ = ("head", "options")

    def __init__(self, head: bytes, options: dict[int, bytes]) -> None:
        self.head = head
        self.options = options


class Replies:
    """All the single client can ever get. `mtu` is the largest IP datagram in octets that the tap takes.

    `arp` has by address the reply to who asks for it. Without `templates` no DHCP is answered.
    """

    __slots__ = ("arp", "memo", "mtu", "server_id", "templates", "vm_mac", "yiaddr")

    def __init__(
        self,
        vm_mac: bytes,
        addresses: tuple[bytes, bytes],
        mtu: int,
        templates: tuple[Template, ...],
        arp: dict[bytes, bytes],
    ) -> None:
        self.vm_mac = vm_mac
        self.yiaddr, self.server_id = addresses
        self.mtu = mtu
        self.templates = templates
        self.arp = arp
        self.memo: dict[object, tuple[bytes, int, bytes, dict[int, tuple[int, int]]]] = {}
        """What `answer` has put together before; bounded there."""


def tlvs(code: int, value: bytes) -> bytes:
    """An option as code, length, value; one of more than 255 octets in adjacent pieces (RFC 3396 §5)."""
    pieces = [value[at : at + _LONGEST_OPTION] for at in range(0, len(value), _LONGEST_OPTION)] or [b""]
    return b"".join(bytes((code, len(piece))) + piece for piece in pieces)


def dumps(replies: Replies) -> bytes:
    """The bytes that `loads` reads."""
    counts = (len(replies.templates), len(replies.arp))
    facts = (replies.vm_mac, replies.yiaddr, replies.server_id, replies.mtu, *counts)
    parts = [_MAGIC, _FACTS.pack(*facts), *(_ARP.pack(*entry) for entry in replies.arp.items())]
    for template in replies.templates:
        parts.append(_TEMPLATE.pack(template.head, len(template.options)))
        for code, tlv in template.options.items():
            parts += [_OPTION.pack(code, len(tlv)), tlv]
    return b"".join(parts)


def loads(data: bytes) -> Replies:
    """Read what `dumps` wrote. Raises ValueError on anything else."""
    if not data.startswith(_MAGIC):
        raise ValueError("not compiled replies of this version")
    try:
        return _loads(data)
    except struct.error as error:
        raise ValueError(f"compiled replies are cut off: {error}") from None


def _loads(data: bytes) -> Replies:
    at = len(_MAGIC)
    vm_mac, yiaddr, server_id, mtu, template_count, arp_count = _FACTS.unpack_from(data, at)
    at += _FACTS.size
    arp = dict(_ARP.unpack_from(data, at + number * _ARP.size) for number in range(arp_count))
    at += arp_count * _ARP.size
    if template_count not in (0, NAK + 1):
        raise ValueError(f"compiled replies are of {template_count} kinds")
    templates = []
    for _ in range(template_count):
        template, at = _load_template(data, at)
        templates.append(template)
    if at != len(data):
        raise ValueError(f"compiled replies have {len(data) - at} octets too many")
    if mtu < SMALLEST_IP:
        raise ValueError(f"compiled replies have an MTU of {mtu}, below {SMALLEST_IP}")
    return Replies(vm_mac, (yiaddr, server_id), mtu, tuple(templates), arp)


def _load_template(data: bytes, at: int) -> tuple[Template, int]:
    head, count = _TEMPLATE.unpack_from(data, at)
    at += _TEMPLATE.size
    if not head.endswith(COOKIE) or head[12:15] != b"\x08\x00\x45":
        raise ValueError("a compiled reply does not begin with Ethernet, IPv4, UDP and BOOTP")
    options: dict[int, bytes] = {}
    for _ in range(count):
        code, length = _OPTION.unpack_from(data, at)
        at += _OPTION.size
        tlv = data[at : at + length]
        at += length
        if len(tlv) != length or code in options or not _well_formed(code, tlv):
            raise ValueError(f"compiled option {code} is malformed")
        options[code] = tlv
    return Template(head, options), at


def _well_formed(code: int, tlv: bytes) -> bool:
    """Whether the bytes are one or more TLVs of that code; only rapid commit may be empty (RFC 4039 §4)."""
    at = 0
    while at + 1 < len(tlv):
        if tlv[at] != code or (not tlv[at + 1] and code != _RAPID_COMMIT):
            return False
        at += 2 + tlv[at + 1]
    return bool(tlv) and at == len(tlv)
