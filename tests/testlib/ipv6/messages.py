"""What the tests of DHCPv6 share: a lease, its compiled replies, messages octet by octet, a dissector."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any

from tests.testlib.dhcp.frames import VM_MAC, checksum_of
from vmnet.compile.dhcpv6 import compile_replies
from vmnet.compile.scapy_layers import ipv6_layers
from vmnet.model.lease import Lease6, LeasedAddress, Router
from vmnet.model.links import FOREVER
from vmnet.server.ipv6 import message, packet
from vmnet.server.ipv6.answer import answer

if TYPE_CHECKING:
    from vmnet.server.ipv6.replies import Replies

SCAPY = ipv6_layers()
GUEST, SERVER = "fe80::ff:fe00:1", "fe80::766d:6e65:7400"
ALL_SERVERS = "ff02::1:2"
POD, POD2, OTHER = "2001:db8::5", "2001:db8::6", "2001:db8:ffff::77"
CLIENT_DUID = bytes.fromhex("00030001020000000001")
SERVER_DUID = bytes.fromhex("0003000102766d6e6574")
LEASE = Lease6(
    chaddr="02:00:00:00:00:01",
    server_address=SERVER,
    addresses=(LeasedAddress(POD, FOREVER, FOREVER),),
    routers=(Router("fe80::1", "fe80::1", is_default=True),),
    prefixes=("2001:db8::/64",),
    mtu=1450,
    nameservers=("2001:db8::53",),
    domain_search=("default.svc.cluster.local", "svc.cluster.local"),
    hostname="web-0",
)
REPLIES = compile_replies(LEASE)
CLIENT_ID, SERVER_ID, IA_NA, IA_TA, IAADDR, ORO, ELAPSED = 1, 2, 3, 4, 5, 6, 8
RAPID_COMMIT, DNS, SEARCH, IA_PD, IAPREFIX, FQDN, NTP = 14, 23, 24, 25, 26, 39, 56


def packed(address: str) -> bytes:
    """The 16 octets of an IPv6 address."""
    return IPv6Address(address).packed


def option(code: int, value: bytes = b"", length: int | None = None) -> bytes:
    """One option, whose length may be a lie."""
    return struct.pack("!HH", code, len(value) if length is None else length) + value


def ia_na(iaid: int, *addresses: str) -> bytes:
    """An IA_NA with addresses as clients send them."""
    return option(IA_NA, struct.pack("!III", iaid, 0, 0) + b"".join(map(iaaddr, addresses)))


def ia_ta(iaid: int, *addresses: str) -> bytes:
    """An IA_TA."""
    return option(IA_TA, struct.pack("!I", iaid) + b"".join(map(iaaddr, addresses)))


def ia_pd(iaid: int, *prefixes: str) -> bytes:
    """An IA_PD with prefixes as address/length."""
    return option(IA_PD, struct.pack("!III", iaid, 0, 0) + b"".join(map(iaprefix, prefixes)))


def iaaddr(address: str) -> bytes:
    """An IA Address option."""
    return option(IAADDR, packed(address) + struct.pack("!II", 300, 600))


def iaprefix(prefix: str) -> bytes:
    """An IA Prefix option."""
    address, _, length = prefix.partition("/")
    return option(IAPREFIX, struct.pack("!IIB", 300, 600, int(length)) + packed(address))


def oro(*codes: int) -> bytes:
    """An Option Request option."""
    return option(ORO, struct.pack(f"!{len(codes)}H", *codes))


def dhcpv6(kind: int, *options: bytes, xid: int = 0xABCDEF) -> bytes:
    """A message."""
    return struct.pack("!I", kind << 24 | xid) + b"".join(options)


def solicit(*options: bytes, client_id: bytes = CLIENT_DUID) -> bytes:
    """A SOLICIT as clients send it, and more options."""
    return dhcpv6(1, option(CLIENT_ID, client_id), ia_na(7), option(ELAPSED, b"\0\0"), oro(DNS, SEARCH), *options)


def to_us(kind: int, *options: bytes) -> bytes:
    """A message with the identifiers of the client and of our server."""
    return dhcpv6(kind, option(CLIENT_ID, CLIENT_DUID), option(SERVER_ID, SERVER_DUID), *options)


def frame(payload: bytes, **fields: Any) -> bytes:  # noqa: ANN401 - each has its type
    """Ethernet, IPv6 and UDP around a payload; `fields` override what a client sends. The checksum is right."""
    given: dict[str, Any] = {
        "source_mac": VM_MAC, "ethertype": 0x86DD, "version": 6, "length": None, "protocol": 17, "hop_limit": 1,
        "source": GUEST, "destination": ALL_SERVERS, "sport": 546, "dport": 547, "udp_length": None,
        "checksum": None, "trailer": b"",
    }  # fmt: skip
    assert given.keys() >= fields.keys()
    given |= fields
    size = 8 + len(payload)
    addresses = packed(given["source"]) + packed(given["destination"])
    udp_length = size if given["udp_length"] is None else given["udp_length"]
    udp = struct.pack("!HHHH", given["sport"], given["dport"], udp_length, 0) + payload
    checksum = given["checksum"]
    if checksum is None:
        checksum = checksum_of(addresses + struct.pack("!II", size, 17) + udp) or 0xFFFF
    udp = udp[:6] + struct.pack("!H", checksum) + udp[8:]
    length = size if given["length"] is None else given["length"]
    ip = struct.pack("!IHBB", given["version"] << 28, length, given["protocol"], given["hop_limit"])
    ethernet = bytes.fromhex("333300010002") + given["source_mac"] + struct.pack("!H", given["ethertype"])
    return bytes(ethernet + ip + addresses + udp + given["trailer"])


def outcome(data: bytes, replies: Replies = REPLIES, tp_status: int = 0) -> tuple[str, bytes]:
    """The event and the reply to a frame, or the reason it was ignored for and nothing."""
    got = packet.parse(data, tp_status)
    if isinstance(got, str):
        return got, b""
    asked = message.parse(got)
    if isinstance(asked, str):
        return asked, b""
    answered = answer(asked, replies)
    return answered.event, answered.frame or b""


def event_of(payload: bytes, replies: Replies = REPLIES) -> str:
    """What becomes of a message."""
    return outcome(frame(payload), replies)[0]


def dissect(reply: bytes) -> tuple[Any, list[tuple[int, bytes]]]:
    """A reply by scapy's layers, and what `proven` says of it."""
    seen = SCAPY.Ether(reply)
    layer = seen[SCAPY.UDP].payload
    while layer.payload:
        assert type(layer).__name__.startswith("DHCP6"), layer
        layer = layer.payload
    return seen, proven(reply)


def proven(reply: bytes) -> list[tuple[int, bytes]]:
    """The options of a reply in order, walked strictly, once lengths and checksum are right."""
    udp = reply[54:]
    assert reply[18:20] == udp[4:6] == struct.pack("!H", len(udp))
    assert udp[6:8] != b"\0\0"
    assert checksum_of(reply[22:54] + struct.pack("!II", len(udp), 17) + udp) == 0
    return walk(udp[12:])


def walk(data: bytes) -> list[tuple[int, bytes]]:
    """Options with their values. Whatever is left over is an error."""
    found, at = [], 0
    while at < len(data):
        code, length = struct.unpack_from("!HH", data, at)
        assert at + 4 + length <= len(data), f"option {code} ends behind the end"
        found.append((code, data[at + 4 : at + 4 + length]))
        at += 4 + length
    return found


def said(reply: bytes) -> list[str]:
    """IAs and statuses in words: `na 7 T1 T2 address,preferred,valid`, `pd 8 0 0 status,6`, `status 0`."""
    words = []
    for code, value in dissect(reply)[1]:
        if code == 13:
            words.append(f"status {int.from_bytes(value[:2])}")
        if code in (IA_NA, IA_PD):
            times = struct.unpack_from("!II", value, 4)
            head = ["na" if code == IA_NA else "pd", int.from_bytes(value[:4]), *times]
            words.append(" ".join(map(str, [*head, *map(_member, walk(value[12:]))])))
        if code == IA_TA:
            words.append(" ".join(map(str, ["ta", int.from_bytes(value[:4]), *map(_member, walk(value[4:]))])))
    return words


def _member(member: tuple[int, bytes]) -> str:
    code, value = member
    if code == IAADDR:
        preferred, valid = struct.unpack_from("!II", value, 16)
        return f"{IPv6Address(value[:16])},{preferred},{valid}"
    if code == IAPREFIX:
        preferred, valid, length = struct.unpack_from("!IIB", value)
        return f"{IPv6Address(value[9:])}/{length},{preferred},{valid}"
    assert code == 13
    return f"status,{int.from_bytes(value[:2])}"
