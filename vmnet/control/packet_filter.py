"""What each of the server's ears hears, as classic BPF (linux/filter.h). Pure.

Everything else stays in the kernel: the guest's ordinary traffic costs the server nothing, nor does a flood of it.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from vmnet.model.lease import SERVER_PREFIX

Program = tuple[tuple[int, int, int, int], ...]
"""(code, jump if true, jump if false, constant) each."""

WHOLE_FRAME, BEGINNING, ETHERNET_HEADER = 0x40000, 96, 14
"""How many octets of a frame are kept."""
_ETH_P_ARP, _ARP_REQUEST, _ETH_P_IPV6 = 0x0806, 1, 0x86DD
# linux/bpf_common.h
_LD_W, _LD_H, _LD_B, _LDX_MSH, _LD_H_IND = 0x20, 0x28, 0x30, 0xB1, 0x48
_JEQ, _JSET, _RET, _AND = 0x15, 0x45, 0x06, 0x54
_VLAN_TAG, _VLAN_TAG_PRESENT = 0xFFFFF000 + 44, 0xFFFFF000 + 48
_MOST_TARGETS = 240
"""A jump goes over at most 255 instructions."""
_IPV6_SOURCE, _ND_TARGET, _UDP_DPORT, _ICMPV6_TYPE, _NEXT_HEADER = 22, 62, 56, 54, 20
"""Offsets in a frame of IPv6 without extension headers (RFC 8200 §3, RFC 4861 §4.3)."""
_RS, _RA, _NS, _NA = 133, 134, 135, 136
_DHCPV6_SERVER = 547
_LAST_OCTET_OUT = 0xFFFFFF00

NOTHING: Program = ((_RET, 0, 0, 0),)
"""For a socket that shall never hear anything, whatever it is bound to."""
_DHCP: Program = (
    (_LD_W, 0, 0, _VLAN_TAG_PRESENT),
    (_JEQ, 2, 0, 0),
    (_LD_W, 0, 0, _VLAN_TAG),
    (_JSET, 9, 0, 0x0FFF),  # VLAN 0 says only a priority
    (_LD_H, 0, 0, 12),
    (_JEQ, 0, 7, 0x0800),
    (_LD_B, 0, 0, 23),
    (_JEQ, 0, 5, socket.IPPROTO_UDP),
    (_LD_H, 0, 0, 20),
    (_JSET, 3, 0, 0x3FFF),  # more fragments, or an offset
    (_LDX_MSH, 0, 0, 14),  # X = the IP header's length: options may make it longer than 20
    (_LD_H_IND, 0, 0, 16),
    (_JEQ, 1, 0, 67),
    (_RET, 0, 0, 0),
)
"""Goes on behind its end with IPv4 UDP to port 67, whole and in no VLAN. Everything else stays in the kernel."""


@dataclass(frozen=True, slots=True)
class Hearing:
    """What is for our server of all that the guest says."""

    vm_mac: bytes
    arp_targets: tuple[str, ...] = ()
    """The IPv4 addresses that it answers ARP for; more than 240 are cut off."""
    ipv6: bool = False
    """Whether it serves IPv6: router solicitations, DHCPv6, solicitations for its own addresses."""
    solicited: tuple[str, ...] = ()
    """The IPv6 gateways that it answers for besides, since they are silent."""


def of_vm(hearing: Hearing) -> Program:
    """Keep whole what the VM says to our server."""
    return (
        *(_ipv6_of_vm(hearing) if hearing.ipv6 else ()),
        *_arp(hearing.arp_targets, hearing.vm_mac),
        *_dhcp(hearing.vm_mac, of_vm=WHOLE_FRAME, of_others=0),
    )


def of_others(vm_mac: bytes, *, ipv6: bool = False) -> Program:
    """Keep the Ethernet header of what any other MAC says to a DHCP server."""
    return (
        *(_ipv6_of_others(vm_mac) if ipv6 else ()),
        *_dhcp(vm_mac, of_vm=0, of_others=ETHERNET_HEADER),
    )


def of_witness(hearing: Hearing) -> Program:
    """Keep the beginning of the VM's ARP and neighbour discovery that is not for our server."""
    vm = _source(hearing.vm_mac)
    return (
        *_ours(hearing),
        *_when([(_LD_H, 12, _ETH_P_ARP), *vm], BEGINNING),
        *(instruction for kind in (_NS, _NA) for instruction in _when([*_icmpv6(kind), *vm], BEGINNING)),
        (_RET, 0, 0, 0),
    )


def of_gateways(gateways: tuple[str, ...]) -> Program:
    """Keep whole what tells a gateway's MAC: its advertisements, and what it asks for itself."""
    program: Program = ()
    for gateway in map(_packed, gateways):
        program += _when([*_icmpv6(_NA), *_words(_ND_TARGET, gateway)], WHOLE_FRAME)
        for kind in (_NS, _RA):
            program += _when([*_icmpv6(kind), *_words(_IPV6_SOURCE, gateway)], WHOLE_FRAME)
    return (*program, (_RET, 0, 0, 0))


def _ours(hearing: Hearing) -> Program:
    """Leave out what the VM asks our server: that is heard already."""
    request = [(_LD_H, 12, _ETH_P_ARP), (_LD_H, 20, _ARP_REQUEST)]
    program: Program = ()
    for target in hearing.arp_targets[:_MOST_TARGETS]:
        program += _when([*request, (_LD_W, 38, int.from_bytes(socket.inet_aton(target)))], 0)
    return program + (_solicitations(hearing, 0) if hearing.ipv6 else ())


def _ipv6_of_vm(hearing: Hearing) -> Program:
    vm = _source(hearing.vm_mac)
    return (
        *_beyond_ipv6(),
        *_when([*_dhcpv6(), *vm], WHOLE_FRAME),
        *_when([*_icmpv6(_RS), *vm], WHOLE_FRAME),
        *_solicitations(hearing, WHOLE_FRAME),
        *_no_ipv6(),
    )


def _solicitations(hearing: Hearing, kept: int) -> Program:
    """Keep so much of the VM's solicitations for what our server answers for."""
    of_vm = [*_icmpv6(_NS), *_source(hearing.vm_mac)]
    ours, _, _ = SERVER_PREFIX.partition("/")
    *words, last = _words(_ND_TARGET, _packed(ours))
    program = _when([*of_vm, *words], kept, masked=last)
    for target in map(_packed, hearing.solicited):
        program += _when([*of_vm, *_words(_ND_TARGET, target)], kept)
    return program


def _ipv6_of_others(vm_mac: bytes) -> Program:
    return (
        *_beyond_ipv6(),
        *_when([(_LD_H, 12, _ETH_P_IPV6), *_source(vm_mac)], 0),
        *_when(_dhcpv6(), ETHERNET_HEADER),
        *_when(_icmpv6(_RS), ETHERNET_HEADER),
        *_no_ipv6(),
    )


def _beyond_ipv6() -> Program:
    """Be done at once with IPv6 that is neither UDP nor ICMPv6: that is nearly all the guest's traffic."""
    return (
        (_LD_H, 0, 0, 12),
        (_JEQ, 0, 4, _ETH_P_IPV6),
        (_LD_B, 0, 0, _NEXT_HEADER),
        (_JEQ, 2, 0, socket.IPPROTO_UDP),
        (_JEQ, 1, 0, socket.IPPROTO_ICMPV6),
        (_RET, 0, 0, 0),
    )


def _no_ipv6() -> Program:
    return _when([(_LD_H, 12, _ETH_P_IPV6)], 0)


def _dhcpv6() -> list[tuple[int, int, int]]:
    return [
        (_LD_H, 12, _ETH_P_IPV6),
        (_LD_B, _NEXT_HEADER, socket.IPPROTO_UDP),
        (_LD_H, _UDP_DPORT, _DHCPV6_SERVER),
    ]


def _icmpv6(kind: int) -> list[tuple[int, int, int]]:
    return [
        (_LD_H, 12, _ETH_P_IPV6),
        (_LD_B, _NEXT_HEADER, socket.IPPROTO_ICMPV6),
        (_LD_B, _ICMPV6_TYPE, kind),
    ]


def _source(mac: bytes) -> list[tuple[int, int, int]]:
    return [(_LD_W, 6, int.from_bytes(mac[:4])), (_LD_H, 10, int.from_bytes(mac[4:]))]


def _words(offset: int, address: bytes) -> list[tuple[int, int, int]]:
    return [(_LD_W, offset + at, int.from_bytes(address[at : at + 4])) for at in range(0, 16, 4)]


def _when(
    conditions: list[tuple[int, int, int]], kept: int, masked: tuple[int, int, int] | None = None
) -> Program:
    """Keep so many octets where each load gives its value, `masked` all but the last octet; else go on behind."""
    count = len(conditions)
    rest = 4 if masked else 1
    program: Program = ()
    for at, (code, offset, value) in enumerate(conditions):
        program += ((code, 0, 0, offset), (_JEQ, 0, 2 * (count - 1 - at) + rest, value))
    if masked:
        code, offset, value = masked
        program += ((code, 0, 0, offset), (_AND, 0, 0, _LAST_OCTET_OUT), (_JEQ, 0, 1, value & _LAST_OCTET_OUT))
    return (*program, (_RET, 0, 0, kept))


def _packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, address)


def _arp(targets: tuple[str, ...], vm_mac: bytes) -> Program:
    """Take the VM's ARP requests for these addresses, and decide of ARP alone."""
    numbers = [int.from_bytes(socket.inet_aton(target)) for target in targets[:_MOST_TARGETS]]
    count = len(numbers)
    return (
        (_LD_H, 0, 0, 12),
        (_JEQ, 0, count + 9, _ETH_P_ARP),
        (_LD_W, 0, 0, 6),
        (_JEQ, 0, count + 5, int.from_bytes(vm_mac[:4])),
        (_LD_H, 0, 0, 10),
        (_JEQ, 0, count + 3, int.from_bytes(vm_mac[4:])),
        (_LD_H, 0, 0, 20),
        (_JEQ, 0, count + 1, _ARP_REQUEST),
        (_LD_W, 0, 0, 38),
        *((_JEQ, count - at, 0, number) for at, number in enumerate(numbers)),
        (_RET, 0, 0, 0),
        (_RET, 0, 0, WHOLE_FRAME),
    )


def _dhcp(vm_mac: bytes, *, of_vm: int, of_others: int) -> Program:
    """Keep so many octets of each DHCP frame, by the source MAC.

    The MAC is looked at last: of ordinary traffic, which is all from the VM, nearly all is gone by then.
    """
    return (
        *_DHCP,
        (_LD_W, 0, 0, 6),
        (_JEQ, 0, 3, int.from_bytes(vm_mac[:4])),
        (_LD_H, 0, 0, 10),
        (_JEQ, 0, 1, int.from_bytes(vm_mac[4:])),
        (_RET, 0, 0, of_vm),
        (_RET, 0, 0, of_others),
    )


def encoded(program: Program) -> bytes:
    """The program as SO_ATTACH_FILTER takes it."""
    return b"".join(struct.pack("HBBI", *instruction) for instruction in program)
