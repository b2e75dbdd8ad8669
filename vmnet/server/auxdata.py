"""What a packet socket says beside a frame (linux/if_packet.h, `struct tpacket_auxdata`).

The server process reads this file: it imports nothing.
"""

from __future__ import annotations

TP_STATUS_CSUMNOTREADY = 1 << 3
TP_STATUS_VLAN_VALID = 1 << 4
TP_STATUS_CSUM_VALID = 1 << 7
TP_STATUS_CSUM_SETTLED = TP_STATUS_CSUMNOTREADY | TP_STATUS_CSUM_VALID
"""Bits of `tp_status`. With one of the last two the checksum in the frame is not to be looked at: a virtio offload
leaves it to the link, or somebody has found it right."""
VLAN_VID_MASK = 0x0FFF
"""The bits of `tp_vlan_tci` that are the VLAN's number (linux/if_vlan.h): 0 says only a priority."""
