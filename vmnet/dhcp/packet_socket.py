"""The server's ear: a packet socket on the tap that hears DHCP, some ARP requests and nothing else.

It is opened by the plumber as soon as the tap exists: from then on the kernel keeps what the guest sends.
"""

from __future__ import annotations

import socket
import struct
from array import array

_ETH_P_ALL = 0x0003
"""Not ETH_P_IP: the tap is a bridge's port, and the bridge takes the frames before those sockets are asked."""
_SOL_PACKET = 263
_PACKET_AUXDATA = 8
_PACKET_IGNORE_OUTGOING = 23
_SO_ATTACH_FILTER = 26
_SO_LOCK_FILTER = 44

# linux/bpf_common.h
_LD_W, _LD_H, _LD_B, _LDX_MSH, _LD_H_IND = 0x20, 0x28, 0x30, 0xB1, 0x48
_JEQ, _JSET, _RET = 0x15, 0x45, 0x06
_VLAN_TAG, _VLAN_TAG_PRESENT = 0xFFFFF000 + 44, 0xFFFFF000 + 48
_WHOLE_FRAME = 0x40000

FILTER = (
    # (code, jump if true, jump if false, constant): linux/filter.h
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
    (_RET, 0, 0, _WHOLE_FRAME),
)
"""IPv4 UDP to port 67, whole and in no VLAN. Everything else stays in the kernel."""


_ETH_P_ARP, _ARP_REQUEST = 0x0806, 1
_MOST_TARGETS = 250
"""A jump goes over at most 255 instructions."""


def arp_filter(targets: tuple[str, ...]) -> tuple[tuple[int, int, int, int], ...]:
    """What comes before FILTER: takes ARP requests for these addresses, decides no other frame but ARP."""
    numbers = [int.from_bytes(socket.inet_aton(target)) for target in targets[:_MOST_TARGETS]]
    return (
        (_LD_H, 0, 0, 12),
        (_JEQ, 0, len(numbers) + 5, _ETH_P_ARP),
        (_LD_H, 0, 0, 20),
        (_JEQ, 0, len(numbers) + 1, _ARP_REQUEST),
        (_LD_W, 0, 0, 38),
        *((_JEQ, len(numbers) - at, 0, number) for at, number in enumerate(numbers)),
        (_RET, 0, 0, 0),
        (_RET, 0, 0, _WHOLE_FRAME),
    )


def open_packet_socket(ifname: str, arp_targets: tuple[str, ...]) -> socket.socket:
    """A non-blocking AF_PACKET socket on `ifname`, filtered before the first frame can come in.

    It hears DHCP, and ARP requests for `arp_targets`.

    Raises OSError: PermissionError without CAP_NET_RAW, ENODEV where there is no such link.
    """
    # Protocol 0 hears nothing: the filter stands before bind() lets frames in.
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    try:
        _attach_filter(sock, (*arp_filter(arp_targets), *FILTER))
        sock.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        sock.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        sock.bind((ifname, _ETH_P_ALL))
        # Bound while the tap is down, it holds an ENETDOWN; it hears once the tap is up (net/packet/af_packet.c).
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    except OSError:
        sock.close()
        raise
    return sock


def _attach_filter(sock: socket.socket, instructions: tuple[tuple[int, int, int, int], ...]) -> None:
    """Attach a filter for good: the process that faces the guest cannot take it off again."""
    program = array("B", b"".join(struct.pack("HBBI", *instruction) for instruction in instructions))
    address, _ = program.buffer_info()
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(instructions), address))
    sock.setsockopt(socket.SOL_SOCKET, _SO_LOCK_FILTER, 1)
