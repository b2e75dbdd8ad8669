"""The server's ears: packet sockets on the tap. One hears the VM's DHCP and some of its ARP, one all others' DHCP.

They are opened by the plumber as soon as the tap exists: from then on the kernel keeps what the guest sends.
There are two, so that DHCP from a MAC that is not the VM's can neither fill the queue in which the VM's waits nor
wake the server more often than it likes (docs/decisions/0017-foreign-frames.md).
"""

from __future__ import annotations

import socket
import struct
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

_ETH_P_ALL = 0x0003
"""Not ETH_P_IP: the tap is a bridge's port, and the bridge takes the frames before those sockets are asked."""
_ETH_P_ARP, _ARP_REQUEST = 0x0806, 1
_SOL_PACKET = 263
_PACKET_AUXDATA = 8
_PACKET_IGNORE_OUTGOING = 23
_SO_ATTACH_FILTER = 26
_SO_LOCK_FILTER = 44

# linux/bpf_common.h
_LD_W, _LD_H, _LD_B, _LDX_MSH, _LD_H_IND = 0x20, 0x28, 0x30, 0xB1, 0x48
_JEQ, _JSET, _RET = 0x15, 0x45, 0x06
_VLAN_TAG, _VLAN_TAG_PRESENT = 0xFFFFF000 + 44, 0xFFFFF000 + 48
_WHOLE_FRAME, _HEADER = 0x40000, 14
_MOST_TARGETS = 240
"""A jump goes over at most 255 instructions."""
_FOREIGN_QUEUE = 16384
"""SO_RCVBUF, which the kernel doubles: room for 32 DISCOVERs, as many foreign MACs as are told of."""

Program = tuple[tuple[int, int, int, int], ...]
"""(code, jump if true, jump if false, constant) each: linux/filter.h."""

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
class PacketSockets:
    """The two ears. As a context manager it closes them."""

    guest: socket.socket
    """Whole frames that come from the VM's MAC, with their auxdata."""
    foreign: socket.socket
    """Ethernet headers of the frames that come from any other MAC, few of them."""

    def __enter__(self) -> PacketSockets:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def descriptors(self) -> tuple[int, int]:
        """Return the two in the order in which the server is told of them."""
        return self.guest.fileno(), self.foreign.fileno()

    def close(self) -> None:
        """Stop listening."""
        self.guest.close()
        self.foreign.close()


def arp_filter(targets: tuple[str, ...], vm_mac: bytes) -> Program:
    """What comes before the DHCP filter: takes the VM's ARP requests for these addresses, decides of ARP alone."""
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
        (_RET, 0, 0, _WHOLE_FRAME),
    )


def open_packet_sockets(ifname: str, vm_mac: bytes, arp_targets: tuple[str, ...]) -> PacketSockets:
    """Open both on `ifname`, non-blocking and filtered before the first frame can come in.

    The guest's hears its ARP requests for `arp_targets`, too.

    Raises OSError: PermissionError without CAP_NET_RAW, ENODEV where there is no such link.
    """
    of_vm = (*arp_filter(arp_targets, vm_mac), *program(vm_mac, of_vm=_WHOLE_FRAME))
    guest = _open(ifname, of_vm, (_SOL_PACKET, _PACKET_AUXDATA, 1))
    try:
        of_others = program(vm_mac, of_others=_HEADER)
        foreign = _open(ifname, of_others, (socket.SOL_SOCKET, socket.SO_RCVBUF, _FOREIGN_QUEUE))
    except OSError:
        guest.close()
        raise
    return PacketSockets(guest, foreign)


def program(vm_mac: bytes, *, of_vm: int = 0, of_others: int = 0) -> Program:
    """The filter that keeps so many octets of each DHCP frame, by the source MAC. Everything else stays out.

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


def _open(ifname: str, instructions: Program, option: tuple[int, int, int]) -> socket.socket:
    # Protocol 0 hears nothing: the filter stands before bind() lets frames in.
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    try:
        _attach(sock, instructions)
        sock.setsockopt(*option)
        sock.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        sock.bind((ifname, _ETH_P_ALL))
        # Bound while the tap is down, it holds an ENETDOWN; it hears once the tap is up (net/packet/af_packet.c).
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    except OSError:
        sock.close()
        raise
    return sock


def _attach(sock: socket.socket, instructions: Program) -> None:
    """Attach a filter for good: the process that faces the guest cannot take it off again."""
    code = array("B", b"".join(struct.pack("HBBI", *instruction) for instruction in instructions))
    address, _ = code.buffer_info()
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(instructions), address))
    sock.setsockopt(socket.SOL_SOCKET, _SO_LOCK_FILTER, 1)
