"""The server's side towards the pod network: it hears the IPv6 gateways and may ask for their MACs, nothing else.

What it hears comes from a hostile network, so few frames are read at a look; what it sends goes through the
bridge, where the isolation rules see it, and not out of the NIC, where they would not.
"""

from __future__ import annotations

import _socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    Heard = tuple[bytes, int, int]
    """A frame, and of its auxdata tp_status and tp_vlan_tci."""

_SOL_PACKET, _PACKET_AUXDATA = 263, 8
_AUXDATA = struct.Struct("I12xH2x")
"""linux/if_packet.h, `struct tpacket_auxdata`: tp_status and tp_vlan_tci."""
_AUXDATA_SPACE = _socket.CMSG_SPACE(_AUXDATA.size)
_MSG_DONTWAIT, _MSG_TRUNC = _socket.MSG_DONTWAIT, _socket.MSG_TRUNC
_LARGEST_FRAME = 2048
_FRAMES = 16
"""At most so many at a look: while it lasts, a flood brings more."""


def receive(sock: _socket.socket, views: list[memoryview]) -> Heard | None:
    """Read one frame into the only one of `views`; None for one that is longer.

    Raises:
        OSError: there is none, or the link is down or gone.
    """
    size, ancillary, flags, _ = sock.recvmsg_into(views, _AUXDATA_SPACE, _MSG_DONTWAIT)
    if flags & _MSG_TRUNC:
        return None
    tp_status = vlan_tci = 0
    for level, kind, data in ancillary:
        if level == _SOL_PACKET and kind == _PACKET_AUXDATA:
            tp_status, vlan_tci = _AUXDATA.unpack(data)
    return bytes(views[0][:size]), tp_status, vlan_tci


class Network:
    """The two sockets; `asking` is bound to the bridge when there is one, and again when there is another."""

    def __init__(self, hearing: _socket.socket, asking: _socket.socket, bridge: str) -> None:
        self._hearing = hearing
        self._asking = asking
        self._bridge = bridge
        self._views = [memoryview(bytearray(_LARGEST_FRAME))]

    def fileno(self) -> int:
        """What becomes readable when a gateway was heard."""
        return self._hearing.fileno()

    def close(self) -> None:
        """Neither hear nor ask any more."""
        self._hearing.close()
        self._asking.close()

    def heard(self) -> list[Heard]:
        """Read what there is, and no more than a few frames."""
        frames: list[Heard] = []
        try:
            for _ in range(_FRAMES):
                frame = receive(self._hearing, self._views)
                if frame:
                    frames.append(frame)
        except OSError:
            pass  # that was all; and of a NIC that is down or gone `status` tells
        return frames

    def ask(self, frame: bytes) -> None:
        """Send into the bridge. What cannot be sent now is asked again later."""
        for _ in range(2):
            try:
                self._asking.send(frame, _MSG_DONTWAIT)
            except OSError:
                if not self._bound():
                    return
            else:
                return

    def _bound(self) -> bool:
        """Bind to the bridge of today. It hears nothing: protocol 0."""
        try:
            self._asking.bind((self._bridge, 0))
        except OSError:
            return False
        return True
