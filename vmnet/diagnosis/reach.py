"""Asking the guest for its addresses as its gateway does: by ARP and neighbour discovery, on the tap.

The question goes to nobody but the guest. It bears the gateway's address and MAC where they are known, so that the
guest takes it for what it is used to and its answer goes where such answers go; else those of our own server. An
answer is one that is heard on the tap: what becomes of it further on is not asked.

The frames are put together by hand: this is also a readiness probe, and scapy costs more to import than all else.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmnet.compile.scapy_layers import server_mac
from vmnet.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.diagnosis.sight import Sight
    from vmnet.model.lease import Lease, Lease6
    from vmnet.model.links import Neighbour

_ETH_P_ALL = 0x0003
_FRAME_BYTES = 2048
_ARP, _ARP_SIZE, _ARP_REPLY = b"\x08\x06", 42, b"\x00\x02"
_EVERYBODY, _ARP_REQUEST = b"\xff" * 6, bytes.fromhex("0001080006040001")
"""RFC 826."""
_IPV6, _ADVERTISEMENT_SIZE, _ICMPV6, _SOLICITATION, _ADVERTISEMENT = b"\x86\xdd", 78, 58, 135, 136
_GROUPS, _SOLICITED_NODE = b"\x33\x33", bytes.fromhex("ff0200000000000000000001ff")
_VERSION_6, _HOP_LIMIT, _SOURCE_LINK_LAYER = 6 << 28, 255, b"\x01\x01"
"""RFC 4861 §4.3 and §4.4 behind Ethernet and an IPv6 header without extensions."""


@dataclass(frozen=True, slots=True)
class Question:
    """Who asks for which address of the guest, and the frame that asks."""

    address: str
    sender: str
    sender_mac: str
    frame: bytes


def questions(sight: Sight) -> tuple[Question, ...]:
    """The question for each family that the guest is told of."""
    journal = sight.report.journal
    return tuple(_questions(sight, journal.vm_mac, journal.lease, journal.lease6)) if journal else ()


def _questions(sight: Sight, vm_mac: str, lease: Lease | None, lease6: Lease6 | None) -> Iterator[Question]:
    if lease:
        sender, mac = _ipv4_asker(sight, lease)
        yield Question(lease.yiaddr, sender, mac, _arp_request(lease.yiaddr, sender, mac))
    if lease6:
        address = lease6.addresses[0].address
        sender, mac = _ipv6_asker(sight, lease6)
        yield Question(address, sender, mac, _solicitation(address, sender, mac))


def _ipv4_asker(sight: Sight, lease: Lease) -> tuple[str, str]:
    """The gateway as this namespace, else the pod before `up`, knew it; else our server."""
    journal = sight.report.journal
    known: tuple[Neighbour, ...] = (*sight.report.now.neighbours, *(journal.pod.neighbours if journal else ()))
    for entry in known:
        if lease.router and entry.dst == lease.router:
            return lease.router, entry.mac
    return lease.server_id, server_mac(lease.chaddr)


def _ipv6_asker(sight: Sight, lease6: Lease6) -> tuple[str, str]:
    """The router that the guest is told of, with the MAC that the server found; else the server."""
    ipv6 = sight.server.ipv6 if sight.server else None
    for router in ipv6.routers if ipv6 else ():
        if router.gateway and router.mac:
            return router.address, router.mac
    return lease6.server_address, server_mac(lease6.chaddr)


def _arp_request(target: str, sender: str, mac: str) -> bytes:
    source, nobody = _octets(mac), bytes(6)
    addresses = source + socket.inet_aton(sender) + nobody + socket.inet_aton(target)
    return _EVERYBODY + source + _ARP + _ARP_REQUEST + addresses


def _solicitation(target: str, sender: str, mac: str) -> bytes:
    """RFC 4861 §7.2.2: to the solicited-node address, which the guest must listen to."""
    asked, asking = (socket.inet_pton(socket.AF_INET6, address) for address in (target, sender))
    source, group = _octets(mac), _SOLICITED_NODE + asked[-3:]
    message = bytes(4) + asked + _SOURCE_LINK_LAYER + source
    head, size = bytes((_SOLICITATION, 0)), 4 + len(message)
    summed = asking + group + struct.pack("!II", size, _ICMPV6) + head + message  # RFC 8200 §8.1
    checksum: int = 0xFFFF - sum(word for (word,) in struct.iter_unpack("!H", summed)) % 0xFFFF
    ether = _GROUPS + group[-4:] + source + _IPV6
    header = struct.pack("!IHBB", _VERSION_6, size, _ICMPV6, _HOP_LIMIT) + asking + group
    return ether + header + head + checksum.to_bytes(2) + message


def _octets(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def ask(tap: str, asked: tuple[Question, ...], seconds: float) -> dict[str, str]:
    """Ask on the tap, and return the MAC that answered for each address, within so many seconds.

    Raises:
        KernelError: CAP_NET_RAW is missing. A tap that is gone or down answers nothing.
    """
    answers: dict[str, str] = {}
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as ear:
            ear.bind((tap, _ETH_P_ALL))
            for question in asked:
                ear.send(question.frame)
            deadline = time.monotonic() + seconds
            while len(answers) < len(asked) and (left := deadline - time.monotonic()) > 0:
                if select.select([ear], [], [], left)[0]:
                    frame, sender = ear.recvfrom(_FRAME_BYTES)
                    if sender[2] != socket.PACKET_OUTGOING:
                        answers.update(_answered(frame, asked))
    except PermissionError as error:
        raise KernelError(error.errno or 0, f"ask the guest by a packet socket on {tap}", "CAP_NET_RAW") from error
    except OSError:
        return answers
    return answers


def _answered(frame: bytes, asked: tuple[Question, ...]) -> dict[str, str]:
    """The address that this frame says is at its sender's MAC, if it is one that was asked for."""
    address = _own_address(frame)
    return {question.address: frame[6:12].hex(":") for question in asked if question.address == address}


def _own_address(frame: bytes) -> str:
    """The address that an ARP reply or a neighbour advertisement is about; empty for any other frame."""
    if frame[12:14] == _ARP and len(frame) >= _ARP_SIZE and frame[20:22] == _ARP_REPLY:
        return socket.inet_ntop(socket.AF_INET, frame[28:32])
    is_advertisement = frame[12:14] == _IPV6 and len(frame) >= _ADVERTISEMENT_SIZE
    if is_advertisement and (frame[20], frame[54]) == (_ICMPV6, _ADVERTISEMENT):
        return socket.inet_ntop(socket.AF_INET6, frame[62:78])
    return ""
