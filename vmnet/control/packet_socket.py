"""The server's ears: packet sockets on the tap. One hears what the VM says to us, one all others' DHCP.

They are opened by the plumber as soon as the tap exists: from then on the kernel keeps what the guest sends.
There are two, so that DHCP from a MAC that is not the VM's can neither fill the queue in which the VM's waits nor
wake the server more often than it likes (docs/decisions/0017-foreign-frames.md).

Where our server plays a router there are two more, to follow the gateway's MAC
(docs/decisions/0020-ipv6-next-hop.md): one hears the gateway on the NIC, and may not send; one is for sending into
the bridge, whose chain `server` lets nothing by but what asks for a gateway. The server binds it itself: a bridge
may come, and come anew.
"""

from __future__ import annotations

import socket
import struct
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmnet.control.packet_filter import NOTHING, encoded, of_gateways, of_others, of_vm, of_witness
from vmnet.server.presence import PROTOCOL

if TYPE_CHECKING:
    from types import TracebackType

    from vmnet.control.packet_filter import Hearing, Program

_ETH_P_ALL = 0x0003
"""Not ETH_P_IP: the tap is a bridge's port, and the bridge takes the frames before those sockets are asked."""
_SOL_PACKET = 263
_PACKET_AUXDATA = 8
_PACKET_IGNORE_OUTGOING = 23
_SO_ATTACH_FILTER = 26
_SO_LOCK_FILTER = 44
_SMALL_QUEUE = 16384
"""SO_RCVBUF, which the kernel doubles: room for 32 DISCOVERs, as many foreign MACs as are told of. Of what the
gateways say it is enough, too; the rest of a flood is not worth any memory."""
NONE = -1
"""In place of a descriptor: there is no such socket."""


@dataclass(frozen=True, slots=True)
class Gateways:
    """The gateways whose MACs are followed, the link that they are heard on and the one that is asked through."""

    addresses: tuple[str, ...]
    nic: str
    bridge: str


@dataclass(frozen=True, slots=True)
class PacketSockets:
    """The server's sockets. As a context manager it closes them."""

    guest: socket.socket
    """Whole frames that come from the VM's MAC and are for the server, with their auxdata."""
    foreign: socket.socket
    """Ethernet headers of the frames for a DHCP server that come from any other MAC, few of them."""
    witness: socket.socket
    """The VM's other ARP and neighbour discovery, little of it: what addresses it uses."""
    gateways: tuple[socket.socket, socket.socket] | None = None
    """One that hears whole frames of the gateways, with their auxdata; and one to ask with, not bound yet."""
    bridge: str = ""
    """What the latter is to be bound to."""
    presence: socket.socket | None = None
    """One on the pod's NIC that hears nothing, and is told when that goes; None where it is gone already."""
    nic: str = ""
    """What the NIC is called while the binding stands."""

    def __enter__(self) -> PacketSockets:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def descriptors(self) -> tuple[int, ...]:
        """Return those that there are."""
        return tuple(sock.fileno() for sock in self._every())

    def arguments(self) -> tuple[str, ...]:
        """Return what the server is told of them; `NONE` for a descriptor that there is not."""
        hearing, asking = (sock.fileno() for sock in self.gateways) if self.gateways else (NONE, NONE)
        on_tap = (self.guest.fileno(), self.foreign.fileno(), self.witness.fileno())
        presence = self.presence.fileno() if self.presence else NONE
        return (*map(str, (*on_tap, hearing, asking)), self.bridge, str(presence), self.nic)

    def _every(self) -> tuple[socket.socket, ...]:
        presence = (self.presence,) if self.presence else ()
        return (self.guest, self.foreign, self.witness, *(self.gateways or ()), *presence)

    def close(self) -> None:
        """Stop listening."""
        for sock in self._every():
            sock.close()


def open_packet_sockets(tap: str, hearing: Hearing, gateways: Gateways | None = None) -> PacketSockets:
    """Open all, non-blocking and filtered before the first frame can come in.

    Raises OSError: PermissionError without CAP_NET_RAW, ENODEV where there is no such link.
    """
    auxdata = (_SOL_PACKET, _PACKET_AUXDATA, 1)
    small = (socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_QUEUE)
    opened = [_open(tap, of_vm(hearing), (auxdata,))]
    try:
        opened.append(_open(tap, of_others(hearing.vm_mac, ipv6=hearing.ipv6), (small,)))
        opened.append(_open(tap, of_witness(hearing), (small,)))
        if gateways:
            opened.append(_open(gateways.nic, of_gateways(gateways.addresses), (auxdata, small)))
            opened.append(_deaf())
            _attach(opened[-1], NOTHING)  # the server may bind it to any link, and to any protocol
    except OSError:
        for sock in opened:
            sock.close()
        raise
    guest, foreign, witness, *more = opened
    if not gateways:
        return PacketSockets(guest, foreign, witness)
    hearing_gateways, asking = more
    return PacketSockets(guest, foreign, witness, (hearing_gateways, asking), gateways.bridge)


def open_presence(ifname: str) -> socket.socket:
    """Open a socket that is told when that link goes, and hears nothing for good.

    Raises OSError: PermissionError without CAP_NET_RAW, ENODEV where there is no such link.
    """
    sock = _deaf()
    try:
        _attach(sock, NOTHING)
        sock.bind((ifname, PROTOCOL))
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    except OSError:
        sock.close()
        raise
    return sock


def _deaf() -> socket.socket:
    """Make a socket that hears nothing: of protocol 0."""
    return socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)


def _open(ifname: str, program: Program, options: tuple[tuple[int, int, int], ...]) -> socket.socket:
    sock = _deaf()  # the filter stands before bind() lets frames in
    try:
        _attach(sock, program)
        for option in options:
            sock.setsockopt(*option)
        sock.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        sock.bind((ifname, _ETH_P_ALL))
        # Bound while the link is down, it holds an ENETDOWN; it hears once that is up (net/packet/af_packet.c).
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    except OSError:
        sock.close()
        raise
    return sock


def _attach(sock: socket.socket, program: Program) -> None:
    """Attach a filter for good: the process that faces the guest cannot take it off again."""
    code = array("B", encoded(program))
    address, _ = code.buffer_info()
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(program), address))
    sock.setsockopt(socket.SOL_SOCKET, _SO_LOCK_FILTER, 1)
