"""The guest's ARP requests that nobody else may answer: for the server identifier, for silent gateways. RFC 826.

A renewing client asks for the server identifier first, which no machine bears. A gateway that the pod knew by a
permanent neighbour entry need not answer ARP at all, and DHCP carries no such entry to the guest. Standard library
only, and little of it: the server process reads this room.
"""

from __future__ import annotations

import struct

from vmnet.server.auxdata import TP_STATUS_VLAN_VALID, VLAN_VID_MASK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vmnet.server.dhcp.replies import Replies

# source MAC | type, hardware and protocol, their address lengths, operation | sender's MAC, address | target's
_ARP = struct.Struct("!6x6s 10s 6s4s 6x4s")
_REQUEST = bytes.fromhex("08060001080006040001")


def answer(frame: bytes, replies: Replies, tp_status: int, vlan_tci: int) -> bytes | None:
    """The reply to a frame that is the VM's request for one of our addresses; else None."""
    if len(frame) < _ARP.size or (tp_status & TP_STATUS_VLAN_VALID and vlan_tci & VLAN_VID_MASK):
        return None
    source, kind, sender_mac, sender, target = _ARP.unpack_from(frame)
    if kind != _REQUEST or not source == sender_mac == replies.vm_mac:
        return None
    if sender == target:  # it tells the world that the address is its own (RFC 5227 §3): no question
        return None
    reply = replies.arp.get(target)
    return reply and reply[:-4] + sender
