"""The program that stops what would become another frame behind the rules, as eBPF for a link's ingress. Pure.

A driver may leave a frame unfinished: a checksum to be summed up and written (`CHECKSUM_PARTIAL`, of which the
sender chooses both places), a large frame to be cut up (GSO). The kernel or a NIC finishes it when it leaves:
after the rules. Of such frames only those pass that stay what the rules have seen, however they are finished:

* whole IPv4 and IPv6 packets, since cutting one up sets the fragment offset anew (net/ipv4/af_inet.c,
  inet_gso_segment);
* whose checksum lands behind all that the rules look at: for UDP and TCP in the checksum's own field or behind
  it, never in ARP, ICMP, IGMP, ICMPv6 or an authentication header.

No field shows a program where the checksum lands. But a frame cannot be cut off before that place:
bpf_skb_change_tail refuses it (net/core/filter.c, __bpf_skb_min_len), so we try, and drop what could be cut off.
"""

from __future__ import annotations

import struct
import sys
import zlib
from dataclasses import dataclass
from functools import cache

from vmnet.bindings.ebpf import R0, R1, R2, R3, R4, R6, R7, R8, R9, R10, SIZE_8, SIZE_16, SIZE_32, Assembler

_LOAD_BYTES, _CHANGE_TAIL, _CSUM_UPDATE, _CSUM_LEVEL = 26, 38, 40, 135
"""linux/bpf.h, BPF_FUNC_*; the last came with Linux 5.8."""
_QUERY, _INCREMENT, _RESET = 0, 1, 3
"""BPF_CSUM_LEVEL_*."""
_GO_ON, _DROP = -1, 2
"""TC_ACT_UNSPEC, TC_ACT_SHOT (linux/pkt_cls.h)."""
_PROTOCOL, _GSO_SIZE = 16, 176
"""Offsets in struct __sk_buff (linux/bpf.h)."""
_EINVAL = 22
_ETHERNET_HEADER, _VLAN_TAG, _IPV6_HEADER = 14, 4, 40
_ETH_P_IP, _ETH_P_IPV6, _VLANS = 0x0800, 0x86DD, (0x8100, 0x88A8)
_MOST_TAGS = 2
"""How many may be in the frame besides the outermost, which the kernel has taken out of it."""
_WHOLE = 0x3FFF
"""Of the IPv4 header's flags and fragment offset: MF and the offset (RFC 791 §3.1)."""
_EXTENSIONS = (0, 43, 60)
"""IPv6 headers that say how long they are: hop-by-hop options, routing, destination options (RFC 8200 §4)."""
_MOST_EXTENSIONS = 4
_FRAGMENT = 44
_NEVER_LEFT = (1, 2, 51, 58)
"""ICMP, IGMP, authentication header, ICMPv6: the rules look into these, and no driver leaves their sums to the
link."""
_BEHIND = {6: 18, 17: 8, 136: 8}
"""TCP, UDP, UDP-Lite: where in their headers the checksum field ends (RFC 9293 §3.1, RFC 768)."""
_BEHIND_OTHERS = 2
"""Of all other protocols the rules see nothing but the number."""
_BUFFER = -16
"""Where on the stack the octets of a header are put."""


@dataclass(frozen=True, slots=True)
class Program:
    """The instructions, and the name that they are known by where they stand: it holds their checksum."""

    instructions: bytes
    name: str


@cache
def program() -> Program:
    """Write the program."""
    to = Assembler()
    to.move(R6, R1)
    _find_out_about_the_checksum(to)
    to.label("judge")
    _find_network_header(to)
    _find_transport_header(to)
    _try_to_cut_off(to)
    to.label("go on")
    to.set(R0, _GO_ON)
    to.exit()
    to.label("drop")
    to.set(R0, _DROP)
    to.exit()
    instructions = to.assembled()
    return Program(instructions, f"vmnet-{zlib.crc32(instructions):08x}")


def _find_out_about_the_checksum(to: Assembler) -> None:
    """Set R9 to 1 where it is left to the link. Be done with what is finished.

    No field tells, but the helpers do: one only works where the NIC has summed up the whole frame, the other only
    tells a level where it has checked it, and makes `checked` of `unknown` but not of `left to the link`.
    """
    to.set(R9, 0)
    to.call(_CSUM_UPDATE, R6, 0)
    to.jump_if_not_negative(R0, "finished")
    to.call(_CSUM_LEVEL, R6, _QUERY)
    to.jump_if_not_negative(R0, "finished")
    to.call(_CSUM_LEVEL, R6, _INCREMENT)
    to.call(_CSUM_LEVEL, R6, _QUERY)
    to.jump_if_negative(R0, "left to the link")
    to.call(_CSUM_LEVEL, R6, _RESET)
    to.label("finished")
    to.load(SIZE_32, R1, R6, _GSO_SIZE)
    to.jump_if_equal(R1, 0, "go on")
    to.jump("judge")
    to.label("left to the link")
    to.set(R9, 1)


def _find_network_header(to: Assembler) -> None:
    """Set R7 to its offset, and R8 to the EtherType behind all tags."""
    to.set(R7, _ETHERNET_HEADER)
    to.load(SIZE_32, R8, R6, _PROTOCOL)
    for count in range(_MOST_TAGS):
        for kind in _VLANS:
            to.jump_if_equal(R8, _big_endian(kind), f"tag {count}")
        to.jump("untagged")
        to.label(f"tag {count}")
        _octets(to, _VLAN_TAG)
        to.load(SIZE_16, R8, R10, _BUFFER + 2)
        to.add(R7, _VLAN_TAG)
    to.label("untagged")


def _find_transport_header(to: Assembler) -> None:
    """Set R7 to its offset, and R8 to the IP protocol's number."""
    to.jump_if_equal(R8, _big_endian(_ETH_P_IP), "IPv4")
    to.jump_if_equal(R8, _big_endian(_ETH_P_IPV6), "IPv6")
    to.jump("drop")
    to.label("IPv4")
    _octets(to, 10)
    to.load(SIZE_16, R1, R10, _BUFFER + 6)
    to.jump_if_any(R1, _big_endian(_WHOLE), "drop")
    to.load(SIZE_8, R1, R10, _BUFFER)
    to.jump_if_less(R1, 0x45, "drop")  # version 4, and 5 words at least
    to.jump_if_greater(R1, 0x4F, "drop")
    to.mask(R1, 0x0F)
    to.shift_left(R1, 2)
    to.add_register(R7, R1)
    to.load(SIZE_8, R8, R10, _BUFFER + 9)
    to.jump("transport")
    to.label("IPv6")
    _octets(to, 7)
    to.load(SIZE_8, R1, R10, _BUFFER)
    to.mask(R1, 0xF0)
    to.jump_if_not_equal(R1, 0x60, "drop")
    to.load(SIZE_8, R8, R10, _BUFFER + 6)
    to.add(R7, _IPV6_HEADER)
    for count in range(_MOST_EXTENSIONS):
        for kind in _EXTENSIONS:
            to.jump_if_equal(R8, kind, f"extension {count}")
        to.jump("no extension")
        to.label(f"extension {count}")
        _octets(to, 2)
        to.load(SIZE_8, R8, R10, _BUFFER)
        to.load(SIZE_8, R1, R10, _BUFFER + 1)
        to.add(R1, 1)
        to.shift_left(R1, 3)
        to.add_register(R7, R1)
    to.label("no extension")
    for kind in (*_EXTENSIONS, _FRAGMENT):
        to.jump_if_equal(R8, kind, "drop")
    to.label("transport")


def _try_to_cut_off(to: Assembler) -> None:
    """Go on where the frame cannot be cut off in front of the last octet of its checksum field."""
    for protocol in _NEVER_LEFT:
        to.jump_if_equal(R8, protocol, "drop")
    to.jump_if_equal(R9, 0, "go on")
    for protocol, end in _BEHIND.items():
        to.set(R2, end)
        to.jump_if_equal(R8, protocol, "cut")
    to.set(R2, _BEHIND_OTHERS)
    to.label("cut")
    to.add_register(R2, R7)
    to.add(R2, -1)
    to.move(R1, R6)
    to.set(R3, 0)
    to.call_prepared(_CHANGE_TAIL)
    to.jump_if_equal(R0, -_EINVAL, "go on")
    to.jump("drop")


def _octets(to: Assembler, count: int) -> None:
    """Put so many octets from R7 on on the stack; drop the frame that has fewer."""
    to.move(R1, R6)
    to.move(R2, R7)
    to.move(R3, R10)
    to.add(R3, _BUFFER)
    to.set(R4, count)
    to.call_prepared(_LOAD_BYTES)
    to.jump_if_not_equal(R0, 0, "drop")


def _big_endian(number: int) -> int:
    """What a load of these two octets gives on this machine."""
    return int.from_bytes(struct.pack("!H", number), sys.byteorder)
