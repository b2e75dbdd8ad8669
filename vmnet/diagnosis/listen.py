"""Hearing whether somebody else in the pod network plays DHCP server or router: nothing is sent.

Silence proves little. A server speaks when it is asked, and much of what it says is for one ear; a router
advertises itself every few minutes. What is heard is certain, though: only servers and routers send it.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from array import array

from vmnet.control.packet_filter import encoded
from vmnet.diagnosis.evidence import Heard

_ETH_P_ALL = 0x0003
_SO_ATTACH_FILTER = 26
"""asm-generic/socket.h."""
_MOST_HEARD = 16
_FRAME_BYTES = 2048
_DHCP_SERVER, _DHCPV6_SERVER, _ICMPV6, _UDP, _RA = 67, 547, 58, 17, 134
_IPV4, _IPV6 = 0x0800, 0x86DD
_LD_H, _LD_B, _LDX_MSH, _LD_H_IND, _JEQ, _JSET, _RET = 0x28, 0x30, 0xB1, 0x48, 0x15, 0x45, 0x06
"""linux/bpf_common.h."""
PROGRAM = (
    (_LD_H, 0, 0, 12),
    (_JEQ, 8, 0, _IPV6),
    (_JEQ, 0, 15, _IPV4),
    (_LD_B, 0, 0, 23),
    (_JEQ, 0, 13, _UDP),
    (_LD_H, 0, 0, 20),
    (_JSET, 11, 0, 0x1FFF),  # a later fragment has no ports
    (_LDX_MSH, 0, 0, 14),
    (_LD_H_IND, 0, 0, 14),
    (_JEQ, 7, 8, _DHCP_SERVER),
    (_LD_B, 0, 0, 20),
    (_JEQ, 3, 0, _ICMPV6),
    (_JEQ, 0, 5, _UDP),
    (_LD_H, 0, 0, 54),
    (_JEQ, 2, 3, _DHCPV6_SERVER),
    (_LD_B, 0, 0, 54),
    (_JEQ, 0, 1, _RA),
    (_RET, 0, 0, _FRAME_BYTES),
    (_RET, 0, 0, 0),
)
"""Keeps UDP from the ports of DHCP's servers, and router advertisements; the pod's traffic stays in the kernel."""


def listen(ifname: str, seconds: float) -> tuple[Heard, ...]:
    """Say who was heard on that link within so many seconds, each one once.

    Raises:
        OSError: the link is gone, or CAP_NET_RAW is missing.
    """
    heard: dict[Heard, None] = {}
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as ear:
        code = array("B", encoded(PROGRAM))
        ear.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(PROGRAM), code.buffer_info()[0])
        )
        ear.bind((ifname, _ETH_P_ALL))
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and len(heard) < _MOST_HEARD:
            if select.select([ear], [], [], left)[0]:
                frame, sender = ear.recvfrom(_FRAME_BYTES)
                if sender[2] != socket.PACKET_OUTGOING:
                    heard[understand(frame)] = None
    return tuple(heard)


def understand(frame: bytes) -> Heard:
    """Say who has sent a frame that the filter has kept: it is long enough for that."""
    mac = frame[6:12].hex(":")
    if int.from_bytes(frame[12:14]) == _IPV4:
        return Heard("DHCP", mac, socket.inet_ntop(socket.AF_INET, frame[26:30]))
    address = socket.inet_ntop(socket.AF_INET6, frame[22:38])
    return Heard("router advertisement" if frame[20] == _ICMPV6 else "DHCPv6", mac, address)
