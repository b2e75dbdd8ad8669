"""Whether the pod's NIC is still there: a packet socket on it hears nothing, and is told when the NIC goes.

A pod that is deleted takes its NIC along, and nobody tells the server, which keeps the namespace alive, and so tap
and bridge. A NIC that is down or gets another name is still there; one that comes back soon was only moved.
"""

from __future__ import annotations

import _socket

PROTOCOL = 0x88B5
"""An EtherType for experiments (IEEE 802): nobody speaks it, so the socket costs the pod's frames nothing."""
PATIENCE = 60.0
"""Seconds until a NIC that is gone is gone for good."""


class Presence:
    """The socket, and since when the NIC is gone."""

    __slots__ = ("_ifname", "_socket", "gone_since")

    def __init__(self, socket: _socket.socket, ifname: str) -> None:
        """Take a socket that is bound to the NIC, and what the NIC is called while the binding stands."""
        self._socket = socket
        self._ifname = ifname
        self.gone_since: float | None = None

    def fileno(self) -> int:
        """What becomes readable when the NIC goes down or away."""
        return self._socket.fileno()

    def take_error(self) -> None:
        """Take the socket's error, which makes it readable."""
        self._socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)

    def is_gone(self) -> bool:
        """Whether it went away: of a link that is merely down the kernel still knows the name (af_packet.c)."""
        return not self._socket.getsockname()[0]

    def is_back(self) -> bool:
        """Look for it, and listen for its going again where it is there."""
        try:
            self._socket.bind((self._ifname, PROTOCOL))
        except OSError:
            return False
        return True
