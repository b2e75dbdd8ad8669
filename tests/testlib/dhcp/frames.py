"""What the tests of the DHCP rooms share: a lease, its compiled replies, requests byte by byte, a dissector."""

from __future__ import annotations

import importlib
import os
import struct
from typing import Any
from unittest.mock import patch

from vmnet.compile.dhcp import compile_replies
from vmnet.compile.scapy_layers import layers
from vmnet.model.lease import ClasslessRoute, Lease
from vmnet.server.compiled import Compiled, dumps
from vmnet.server.dhcp.answer import answer
from vmnet.server.dhcp.replies import Replies
from vmnet.server.dhcp.replies import dumps as dumps_replies
from vmnet.server.dhcp.request import parse
from vmnet.server.witness import packed as packed_prefix

with patch.dict(os.environ):  # the import sets variables that are no other test's affair
    SCAPY = layers()
checksum_of = importlib.import_module("scapy.utils").checksum

VM_MAC = bytes.fromhex("020000000001")
YIADDR, SERVER_ID, OTHER = "10.0.0.5", "169.254.75.10", "10.0.0.77"
LEASE = Lease(
    chaddr="02:00:00:00:00:01",
    yiaddr=YIADDR,
    prefixlen=24,
    server_id=SERVER_ID,
    router="10.0.0.1",
    classless_routes=(ClasslessRoute("10.244.0.0/16", "10.0.0.2"), ClasslessRoute("0.0.0.0/0", "10.0.0.1")),
    nameservers=("10.96.0.10",),
    domain_search=("default.svc.cluster.local", "svc.cluster.local"),
    hostname="web-0",
    broadcast="10.0.0.255",
    interface_mtu=1450,
)
REPLIES = compile_replies(LEASE)
PRL = bytes((1, 3, 6, 12, 15, 26, 28, 51, 54, 58, 59, 119, 121))
NO_ADDRESS = "0.0.0.0"  # noqa: S104 - nothing is bound
COOKIE = b"\x63\x82\x53\x63"
END = b"\xff"


def compiled(replies: Replies) -> bytes:
    """What the server reads, of a guest that is told nothing of IPv6."""
    return dumps(Compiled(replies.vm_mac, dumps_replies(replies), b"", b"", packed_prefix(packed(YIADDR), 32)))


def packed(address: str) -> bytes:
    """The four octets of an IPv4 address."""
    return bytes(map(int, address.split(".")))


def option(code: int, value: bytes | str = b"") -> bytes:
    """One option; text is an IPv4 address."""
    value = packed(value) if isinstance(value, str) else value
    return bytes((code, len(value))) + value


def message(kind: int, *more: bytes, prl: bytes = PRL) -> bytes:
    """The options of a DHCP message."""
    return option(53, bytes((kind,))) + b"".join(more) + (option(55, prl) if prl else b"") + END


def bootp(options: bytes, **fields: Any) -> bytes:  # noqa: ANN401 - each has its type
    """A BOOTP message; `fields` are RFC 2131's, addresses as text, and `cookie`, `length` (of the padding)."""
    given: dict[str, Any] = {
        "op": 1, "htype": 1, "hlen": 6, "hops": 0, "xid": 0xDEADBEEF, "secs": 0, "flags": 0, "ciaddr": NO_ADDRESS,
        "giaddr": NO_ADDRESS, "chaddr": VM_MAC, "sname": b"", "file": b"", "cookie": COOKIE, "length": 300,
    }  # fmt: skip
    assert given.keys() >= fields.keys()
    given |= fields
    fixed = struct.pack(
        "!4BIHH", *(given[name] for name in ("op", "htype", "hlen", "hops", "xid", "secs", "flags"))
    )
    addresses = packed(given["ciaddr"]) + bytes(8) + packed(given["giaddr"])
    names = struct.pack("!16s64s128s", given["chaddr"], given["sname"], given["file"])
    return bytes(fixed + addresses + names + given["cookie"] + options).ljust(given["length"], b"\0")


def frame(payload: bytes, **fields: Any) -> bytes:  # noqa: ANN401 - each has its type
    """Ethernet, IPv4 and UDP around a payload; `fields` override what a client sends. Checksums are right."""
    given: dict[str, Any] = {
        "source_mac": VM_MAC, "tag": b"", "ethertype": 0x0800, "ip_options": b"", "fragment": 0, "protocol": 17,
        "source": NO_ADDRESS, "destination": "255.255.255.255", "sport": 68, "dport": 67, "udp_length": None,
        "checksum": None, "total_length": None, "version": 4, "trailer": b"",
    }  # fmt: skip
    assert given.keys() >= fields.keys()
    given |= fields
    length = 8 + len(payload)
    addresses = packed(given["source"]) + packed(given["destination"])
    udp = struct.pack("!HHHH", given["sport"], given["dport"], given["udp_length"] or length, 0) + payload
    checksum = given["checksum"]
    if checksum is None:
        checksum = checksum_of(addresses + struct.pack("!HH", 17, given["udp_length"] or length) + udp) or 0xFFFF
    udp = udp[:6] + struct.pack("!H", checksum) + udp[8:]
    ihl = 5 + len(given["ip_options"]) // 4
    total = given["total_length"] or ihl * 4 + length
    ip = struct.pack(
        "!BBHHHBBH", given["version"] << 4 | ihl, 0, total, 1, given["fragment"], 64, given["protocol"], 0
    )
    ethernet = b"\xff" * 6 + given["source_mac"] + given["tag"] + struct.pack("!H", given["ethertype"])
    return bytes(ethernet + ip + addresses + given["ip_options"] + udp + given["trailer"])


def discover(*options: bytes, **fields: Any) -> bytes:  # noqa: ANN401 - each has its type
    """A DISCOVER in a frame with these fields."""
    return frame(bootp(message(1, *options)), **fields)


def outcome(data: bytes, tp_status: int = 0, vlan_tci: int = 0) -> tuple[str, bytes | None]:
    """The event and the reply to a frame, or the reason it was ignored for and None."""
    request = parse(data, VM_MAC, tp_status, vlan_tci)
    if isinstance(request, str):
        return request, None
    answered = answer(request, REPLIES)
    return answered.event, answered.frame


def dissect(reply: bytes) -> tuple[Any, dict[int, bytes]]:
    """A reply by scapy's layers, both checksums proven, and its options, those in pieces joined."""
    packet = SCAPY.Ether(reply)
    assert checksum_of(reply[14:34]) == 0
    udp = reply[34:]
    assert udp[6:8] != b"\0\0"
    assert checksum_of(reply[26:34] + struct.pack("!HH", 17, len(udp)) + udp) == 0
    assert packet[SCAPY.IP].len == len(reply) - 14
    assert packet[SCAPY.UDP].len == len(udp)
    options = options_of(reply)
    if all(len(value) <= 255 for value in options.values()):  # scapy does not join what RFC 3396 splits
        assert packet[SCAPY.DHCP].options[-1] in ("end", "pad")
    return packet, options


def options_of(reply: bytes) -> dict[int, bytes]:
    """The options of a reply in the order a client reads them, walked strictly: options, file, sname."""
    found: dict[int, bytes] = {}
    _walk(reply[282:], found)
    overload = found.get(52, b"\0")[0]
    for bit, name in ((1, reply[150:278]), (2, reply[86:150])):
        if overload & bit:
            _walk(name, found)
    return found


def _walk(field: bytes, found: dict[int, bytes]) -> None:
    at = 0
    while field[at] != 255:
        code, length = field[at], field[at + 1]
        assert length or code == 80, f"option {code} is empty"
        assert code not in found or list(found)[-1] == code, f"the pieces of option {code} are not adjacent"
        found[code] = found.get(code, b"") + field[at + 2 : at + 2 + length]
        at += 2 + length
    assert not field[at + 1 :].strip(b"\0")
