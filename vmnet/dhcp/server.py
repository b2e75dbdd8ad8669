"""The resident process that faces the guest: inherited descriptors, one loop, no capability.

It is started as `python -I -S -c … ROOT PACKETS CONTROL REPLIES READY`, descriptor numbers after the import root:
the packet socket on the tap, the listening status socket, the pipe from `compile`, the pipe that hears of READY.
It stays beside every VM, so it and all that it imports do without whatever costs memory: dataclasses, typing,
enum, json, logging, and `socket`, which imports three of these.
"""

from __future__ import annotations

import _ctypes  # `ctypes` around it would cost half a MiB more
import _signal  # type: ignore[import-not-found] # `signal` wraps it; typeshed does not
import _socket
import os
import select
import struct
import sys

from vmnet.dhcp.json_text import dumps
from vmnet.dhcp.server_log import Log, write_to_stderr
from vmnet.dhcp.service import SERVING, TOO_LONG, Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SOL_PACKET, _PACKET_AUXDATA = 263, 8
_AUXDATA = struct.Struct("I12xH2x")
"""linux/if_packet.h, `struct tpacket_auxdata`: tp_status and tp_vlan_tci."""
_AUXDATA_SPACE = _socket.CMSG_SPACE(_AUXDATA.size)
_PEER = struct.Struct("iII")
"""`struct ucred`: pid, uid, gid."""
_LARGEST_FRAME = 2048
"""No client sends a DHCP message longer than a standard Ethernet frame; what is longer is not read."""
_LARGEST_REPLIES = 1 << 20
_ENDING = b"\0vmnet/end/"
"""What the name of a socket begins with whose call means: end (vmnet.processes)."""
_NOBODY = 65534
_WAITERS = 8
_PR_SET_NO_NEW_PRIVS = 38
"""linux/prctl.h."""
_CAPABILITY_HEADER, _NO_CAPABILITIES = struct.pack("Ii", 0x20080522, 0), bytes(24)
"""linux/capability.h: version 3, this process; three sets of 64 bits."""
_REBIND_MILLISECONDS = 200
"""How often a tap is looked for that was deleted and may be made again."""


class Server:
    """The loop over the four descriptors."""

    def __init__(self, packets: _socket.socket, control: _socket.socket, replies: int, service: Service) -> None:
        self._packets = packets
        self._control = control
        self._replies = replies
        self._service = service
        self._compiled = b""
        self._buffer = bytearray(_LARGEST_FRAME)
        self._view = memoryview(self._buffer)
        self._asker = os.getuid()
        self._tap, self._protocol, *_ = packets.getsockname()
        self._deaf = False
        self._poller = select.poll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._watch(control.fileno(), self.tell)
        self._watch(replies, self.take_replies)

    def run(self) -> None:
        """Serve until the process is ended."""
        while True:
            self.turn()

    def turn(self) -> None:
        """Wait for the next event and see to it; look for the tap where it is gone."""
        for descriptor, _ in self._poller.poll(_REBIND_MILLISECONDS if self._deaf else None):
            self._handlers[descriptor]()
        if self._deaf:
            self._rebind()

    def take_replies(self) -> None:
        """Read on in the compiler's pipe; at its end listen to the guest, whose frames the kernel has kept."""
        part = os.read(self._replies, 65536)
        self._compiled += part
        if part and len(self._compiled) <= _LARGEST_REPLIES:
            return
        self._poller.unregister(self._replies)
        os.close(self._replies)
        self._service.load(self._compiled)
        self._compiled = b""
        if self._service.state == SERVING:
            self._watch(self._packets.fileno(), self.take_frame)
        else:
            self._packets.close()  # nobody will ever read what the kernel would keep

    def take_frame(self) -> None:
        """Read one frame, and send what it asks for. The kernel refusing either is counted and survived."""
        try:
            size, ancillary, flags, _ = self._packets.recvmsg_into(
                [self._buffer], _AUXDATA_SPACE, _socket.MSG_DONTWAIT
            )
        except OSError as error:
            self._service.error("receive", error)
            # A link that is merely down keeps its name; of a deleted one the kernel forgets it (af_packet.c).
            self._deaf = not self._packets.getsockname()[0]
            return
        if flags & _socket.MSG_TRUNC:
            self._service.ignore(TOO_LONG)
            return
        tp_status = vlan_tci = 0
        for level, kind, data in ancillary:
            if level == _SOL_PACKET and kind == _PACKET_AUXDATA:
                tp_status, vlan_tci = _AUXDATA.unpack(data)
        reply = self._service.frame(bytes(self._view[:size]), tp_status, vlan_tci)
        if reply is None:
            return
        try:
            self._packets.send(reply, _socket.MSG_DONTWAIT)
        except OSError as error:
            self._service.error("send", error)

    def _rebind(self) -> None:
        """Listen to the tap again, if it has been made again: filter and right to listen are the socket's."""
        try:
            self._packets.bind((self._tap, self._protocol))
        except OSError:
            return  # not there yet
        self._deaf = False
        self._service.rebound()

    def tell(self) -> None:
        """Give root or the server's own starter one line of JSON, or end if the caller's name says so.

        Nobody is waited for, and nothing that a caller says is read.
        """
        try:
            descriptor, caller = self._control._accept()  # type: ignore[attr-defined] # `socket.accept` wraps it; typeshed does not
            peer = _socket.socket(fileno=descriptor)
        except OSError:
            return  # gone before we came to it
        try:
            peer.setblocking(False)
            _, uid, _ = _PEER.unpack(peer.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _PEER.size))
            if uid in (0, self._asker):
                if caller[: len(_ENDING)] == _ENDING:
                    os._exit(0)
                report = {**self._service.report(), "pid": os.getpid(), "uid": os.getuid()}
                peer.send(dumps(report).encode() + b"\n")
        except OSError:
            pass  # it left, which is its affair
        finally:
            peer.close()

    def _watch(self, descriptor: int, handler: Callable[[], None]) -> None:
        self._poller.register(descriptor, select.POLLIN)
        self._handlers[descriptor] = handler


def main() -> None:
    """Serve on the descriptors that the arguments number. Ended by SIGTERM."""
    end_by_signals()
    packets, control, replies, ready = map(int, sys.argv[1:5])
    _name_process(b"vmnet-server")
    control_socket = _socket.socket(fileno=control)
    control_socket.setblocking(False)
    control_socket.listen(_WAITERS)  # here, so that who connects is told our pid, and the uid we started with
    service = Service(Log(write_to_stderr))
    server = Server(_socket.socket(fileno=packets), control_socket, replies, service)
    drop_privileges()
    _say_ready(ready)
    server.run()


def end_by_signals() -> None:
    """Die of SIGTERM and SIGINT, whatever our starter ignores or blocks; process 1 of a container, by handlers."""
    action = _exit if os.getpid() == 1 else _signal.SIG_DFL
    for number in (_signal.SIGTERM, _signal.SIGINT):
        _signal.signal(number, action)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def _exit(_number: int, _frame: object) -> None:
    os._exit(0)


def drop_privileges() -> None:
    """Become nobody where we are root and may, and give up every capability in any case.

    A container that drops ALL capabilities takes away those that becoming nobody needs; then status shows the uid.
    """
    if not os.getuid():
        try:
            os.setgroups([])
            os.setresgid(_NOBODY, _NOBODY, _NOBODY)
            os.setresuid(_NOBODY, _NOBODY, _NOBODY)
        except OSError:
            pass  # a user namespace without these ids, or a container without the capabilities
    _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _call("capset", _CAPABILITY_HEADER, _NO_CAPABILITIES)


def _call(name: str, *arguments: int | bytes) -> None:
    """Call a function of the C library.

    Raises:
        OSError: it failed; serving a hostile guest with capabilities is not what anybody asked for.
    """
    program = _ctypes.dlopen(None, 0)  # type: ignore[arg-type] # dlopen(3): NULL is the program itself
    address = _ctypes.dlsym(program, name)
    if _ctypes.call_function(address, arguments) != 0:
        raise OSError(f"{name} failed")


def _name_process(name: bytes) -> None:
    """Show up as ourselves in `ps`: up to 15 octets."""
    try:
        with open("/proc/self/comm", "wb") as comm:
            comm.write(name)
    except OSError:
        return  # a read-only /proc


def _say_ready(ready: int) -> None:
    try:
        os.write(ready, b"1")
    except OSError:
        return  # whoever waited has given up; the guest still wants serving
    finally:
        os.close(ready)
