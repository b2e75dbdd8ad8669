"""The resident process that faces the guest: inherited descriptors, one loop, a sandbox around it.

It is started as `python -I -S -c … ROOT PACKETS FOREIGN WITNESS NETWORK ASKING BRIDGE PRESENCE NIC CONTROL REPLIES
READY BEFORE SANDBOX`. After the import root come descriptor numbers: the packet sockets
(vmnet.control.packet_socket), -1 for those towards the pod network that there are not; the status sockets, with a
comma between two; the pipe from the compiler, the pipe that hears of READY. BRIDGE is what ASKING is bound to, NIC
the name of what PRESENCE is bound to, BEFORE is how the guest stood when the last server ended, SANDBOX is what
`sandbox.enter` is told.
It stays beside every VM, so it and all that it imports do without whatever costs memory: dataclasses, typing,
enum, json, logging, `socket`, which imports three of these, and `os`, which is `posix` and collections' ABCs.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # `signal` wraps it; typeshed does not
import _socket
import posix
import select
import struct
import sys
import time

from vmnet.server import sandbox
from vmnet.server.compiled import is_failure
from vmnet.server.dhcp.request import FOREIGN_SOURCE_MAC
from vmnet.server.json_text import dumps
from vmnet.server.links import TapHolder, open_links
from vmnet.server.log import Log, write_to_stderr
from vmnet.server.memory import NONE, open_statm, resident_bytes
from vmnet.server.network import Network, receive
from vmnet.server.presence import PATIENCE, Presence
from vmnet.server.service import QUEUE_FULL, TOO_LONG, Service
from vmnet.server.state import SERVING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from vmnet.server.json_text import Json

_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_STATISTICS = struct.Struct("II")
"""linux/if_packet.h, `struct tpacket_stats`: frames that passed the filter, those of them that were dropped."""
_PEER = struct.Struct("iII")
"""`struct ucred`: pid, uid, gid."""
_LARGEST_FRAME = 2048
"""No client sends a DHCP message longer than a standard Ethernet frame; what is longer is not read."""
_LARGEST_REPLIES = 1 << 20
_LARGEST_REPORT = 16384
_ENDING, _CAPTURE = b"\0vmnet/end/", b"\0vmnet/capture/"
"""What the name of a socket begins with whose call means: end, or show the ring (vmnet.control.call)."""
_WAITERS = 8
_TICK = 0.2
"""Seconds between two looks for a tap that was deleted and may be made again, and between two at foreign MACs."""
_NIC_TICK = 1.0
"""Seconds between two looks for a NIC that is gone and may come back."""
_FRAMES = 32
"""At most so many at a look: while it lasts, a flood brings more."""
_MSG_DONTWAIT = _socket.MSG_DONTWAIT
_ENETDOWN = 100
"""asm-generic/errno.h; `errno` holds a hundred more."""
_BEGINNING, _ETH_P_IPV6 = 96, b"\x86\xdd"


class Server:
    """The loop over the descriptors."""

    def __init__(
        self,
        ears: tuple[_socket.socket, _socket.socket, _socket.socket],
        network: Network | None,
        controls: tuple[_socket.socket, ...],
        replies: int,
        service: Service,
    ) -> None:
        """Take the sockets on the tap as `PacketSockets` has them, and the rest as the arguments have it."""
        self._packets, self._foreign, self._witness = ears
        self._network = network
        self._replies = replies
        self._service = service
        self._compiled = b""
        self._views = [memoryview(bytearray(_LARGEST_FRAME))]
        self._asker = posix.getuid()
        self.sandbox: dict[str, Json] = {}
        self.statm = NONE
        self._presence: Presence | None = None
        self._tap, self._protocol, *_ = self._packets.getsockname()
        self._deaf = self._in_doubt = False
        self._hears_links = False
        self._due: dict[int, float] = {}
        """When the sockets that are left alone for a while are looked at again, by descriptor."""
        self._poller = select.poll()
        self._handlers: dict[int, Callable[[], None]] = {}
        for control in controls:
            self._watch(control.fileno(), self._teller(control))
        self._watch(replies, self.take_replies)

    def hear_links(self, links: _socket.socket) -> None:
        """Watch whether the tap is closed; what the guest was told then says nothing of the next one."""
        holder = TapHolder(self._tap)

        def take_links() -> None:
            if holder.was_closed(links.fileno()):
                self._service.guest_gone()
            self._see_what_is_gone()

        self._hears_links = True
        self._watch(links.fileno(), take_links)

    def run(self) -> None:
        """Serve until the process is ended."""
        while True:
            self.turn()

    def turn(self) -> None:
        """Wait for the next event and see to it; look for the tap where it is gone, and to what is due."""
        gone = self._presence is not None and self._presence.gone_since is not None
        sometime = self._deaf or self._in_doubt or self._due or self._service.ipv6 or gone
        for descriptor, _ in self._poller.poll(self._patience() if sometime else None):
            self._handlers[descriptor]()
        if self._in_doubt:
            self._see_what_is_gone()
        if self._deaf:
            self._rebind()
        if gone:
            self._look_for_nic(time.monotonic())
        if self._due or self._service.ipv6:
            self._see_to_what_is_due(time.monotonic())

    def watch_nic(self, presence: Presence) -> None:
        """Be told when the pod's NIC goes."""
        self._presence = presence
        self._watch(presence.fileno(), self.take_presence)

    def take_presence(self) -> None:
        """See whether the NIC went down, which is nothing to us, or away."""
        if self._presence:
            self._presence.take_error()
            self._went_down()

    def _went_down(self) -> None:
        """See to a link that went down. That it was deleted afterwards only a netlink socket would tell."""
        self._see_what_is_gone()
        self._in_doubt = not self._hears_links

    def _see_what_is_gone(self) -> None:
        """See whether tap or NIC were deleted: of a link that was down before, its socket tells nothing more."""
        self._deaf = self._deaf or self._is_tap_gone()
        presence = self._presence
        if presence and presence.gone_since is None and presence.is_gone():
            self._poller.unregister(presence.fileno())
            presence.gone_since = time.monotonic()
            self._service.tell_nic("nic_gone", "the pod's NIC is gone: ending in a minute, unless it comes back")

    def _look_for_nic(self, now: float) -> None:
        presence = self._presence
        if presence is None or presence.gone_since is None:
            return
        if presence.is_back():
            presence.gone_since = None
            self._poller.register(presence.fileno(), select.POLLIN)
            self._service.tell_nic("nic_back", "the pod's NIC is back")
        elif now - presence.gone_since >= PATIENCE:
            self._service.tell_nic("nic_gone_for_good", "the pod's NIC is gone for good: ending")
            posix._exit(0)

    def _see_to_what_is_due(self, now: float) -> None:
        for descriptor in [descriptor for descriptor, due in self._due.items() if due <= now]:
            del self._due[descriptor]
            self._poller.register(descriptor, select.POLLIN)
        due = self._service.due()
        if due is not None and due <= now:
            to_guest, to_network = self._service.tick()
            self._send(to_guest, to_network, unasked=True)

    def _patience(self) -> float | None:
        """How many milliseconds may be waited; None for ever."""
        due = self._service.due()
        waits = [_TICK] if self._deaf or self._in_doubt or self._due else []
        waits += [_NIC_TICK] if self._presence and self._presence.gone_since is not None else []
        waits += [] if due is None else [max(0.0, due - time.monotonic())]
        return min(waits) * 1000 if waits else None

    def take_replies(self) -> None:
        """Read on in the compiler's pipe; at its end listen to the guest, whose frames the kernel has kept."""
        part = posix.read(self._replies, 65536)
        self._compiled += part
        if part and len(self._compiled) <= _LARGEST_REPLIES:
            return
        self._poller.unregister(self._replies)
        posix.close(self._replies)
        self._service.load(self._compiled)
        if self._service.state != SERVING and not part and not is_failure(self._compiled):
            posix._exit(1)  # the compiler was killed: whoever looks after us starts both again
        self._compiled = b""
        if self._service.state == SERVING:
            self._watch(self._packets.fileno(), self.take_frame)
            self._watch(self._foreign.fileno(), self.take_foreign)
            self._watch(self._witness.fileno(), self.take_witness)
            if self._network:
                self._watch(self._network.fileno(), self.take_network)
        else:
            self._packets.close()  # nobody will ever read what the kernel would keep
            self._foreign.close()
            self._witness.close()
            if self._network:
                self._network.close()

    def take_frame(self) -> None:
        """Read one frame, and send what it asks for. The kernel refusing either is counted and survived."""
        try:
            heard = receive(self._packets, self._views)
        except OSError as error:
            self._service.error("receive", error)
            self._went_down()
            return
        if heard is None:
            self._service.ignore(TOO_LONG)
            return
        frame, tp_status, vlan_tci = heard
        if frame[12:14] == _ETH_P_IPV6:
            self._send(*self._service.ipv6_frame(frame, tp_status, vlan_tci))
            return
        reply = self._service.frame(frame, tp_status, vlan_tci)
        if reply is not None:
            self._say(reply)

    def take_network(self) -> None:
        """Hear the gateways, then leave their socket alone for a while."""
        if self._network:
            for frame in self._network.heard():
                self._send(*self._service.network_frame(*frame))
            self._leave_alone(self._network.fileno())

    def _send(
        self, to_guest: tuple[bytes, ...], to_network: tuple[bytes, ...] = (), *, unasked: bool = False
    ) -> None:
        for frame in to_guest:
            self._say(frame, unasked=unasked)
        if self._network:
            for frame in to_network:
                self._network.ask(frame)

    def _say(self, frame: bytes, *, unasked: bool = False) -> None:
        """Send to the guest; the kernel refusing it is counted and survived."""
        try:
            self._packets.send(frame, _MSG_DONTWAIT)
        except OSError as error:
            if not (unasked and error.errno == _ENETDOWN):  # behind a tap that is down nobody misses it
                self._service.error("send", error)

    def take_foreign(self) -> None:
        """See which other MACs speak DHCP, then leave their socket alone for a while; the kernel counts on."""
        self._look(self._foreign, self._service.foreign)
        self._count()

    def take_witness(self) -> None:
        """See what addresses the guest uses."""
        self._look(self._witness, self._service.witnessed)

    def _look(self, ear: _socket.socket, take: Callable[[bytes], None]) -> None:
        """Read a few frames' beginnings, then leave that socket alone for a while."""
        descriptor = ear.fileno()
        try:
            for _ in range(_FRAMES):
                take(posix.read(descriptor, _BEGINNING))
        except OSError:
            pass  # that was all; and of a tap that is down or gone the VM's own socket tells
        self._leave_alone(descriptor)

    def _leave_alone(self, descriptor: int) -> None:
        self._poller.unregister(descriptor)
        self._due[descriptor] = time.monotonic() + _TICK

    def _count(self) -> None:
        """Count what the kernel did not hand over: frames of other MACs, and the VM's that came too fast."""
        for sock, reason, which in ((self._foreign, FOREIGN_SOURCE_MAC, 0), (self._packets, QUEUE_FULL, 1)):
            statistics = sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
            self._service.ignore(reason, _STATISTICS.unpack(statistics)[which])

    def _rebind(self) -> None:
        """Listen to the tap again, if it has been made again: filter and right to listen are the sockets'."""
        try:
            self._packets.bind((self._tap, self._protocol))
            self._foreign.bind((self._tap, self._protocol))
            self._witness.bind((self._tap, self._protocol))
        except OSError:
            return  # not there yet
        self._deaf = False
        self._service.rebound()

    def _teller(self, control: _socket.socket) -> Callable[[], None]:
        return lambda: self.tell(control)

    def tell(self, control: _socket.socket) -> None:
        """Give root or the server's own starter one line of JSON, or end if the caller's name says so.

        Nobody is waited for, and nothing that a caller says is read. Whoever comes by the file could write to the
        state directory, and may end us. By the name comes who likes: him we obey when there is nothing to serve.
        """
        try:
            descriptor, caller = control._accept()  # type: ignore[attr-defined] # `socket.accept` wraps it; typeshed does not
            peer = _socket.socket(fileno=descriptor)
        except OSError:
            return  # gone before we came to it
        try:
            peer.setblocking(False)
            _, uid, _ = _PEER.unpack(peer.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _PEER.size))
            if uid in (0, self._asker):
                if caller[: len(_ENDING)] == _ENDING and (not self._is_named(control) or self._is_idle()):
                    posix._exit(0)
                for line in self._frames() if caller[: len(_CAPTURE)] == _CAPTURE else self._report():
                    peer.send(line)
        except OSError:
            pass  # it left, which is its affair
        finally:
            peer.close()

    def _is_named(self, control: _socket.socket) -> bool:
        """Whether it is the one that anybody in the pod can call."""
        address = control.getsockname()
        return isinstance(address, bytes) and address[:1] == b"\0"

    def _is_idle(self) -> bool:
        """Whether the tap is gone, or there are no replies for it."""
        return self._packets.fileno() < 0 or self._is_tap_gone()

    def _is_tap_gone(self) -> bool:
        """A link that is merely down keeps its name; of a deleted one the kernel forgets it (af_packet.c)."""
        return self._packets.fileno() >= 0 and not self._packets.getsockname()[0]

    def _report(self) -> tuple[bytes, ...]:
        if self._service.state == SERVING:
            self._count()
        itself: dict[str, Json] = {"pid": posix.getpid(), "uid": posix.getuid(), "sandbox": self.sandbox}
        itself["resident_bytes"] = resident_bytes(self.statm)
        return (_line({**self._service.report(), **itself}),)

    def _frames(self) -> tuple[bytes, ...]:
        return tuple(dumps(frame).encode() + b"\n" for frame in self._service.ring.report())

    def _watch(self, descriptor: int, handler: Callable[[], None]) -> None:
        self._poller.register(descriptor, select.POLLIN)
        self._handlers[descriptor] = handler


def main() -> None:
    """Serve on the descriptors that the arguments number. Ended by SIGTERM."""
    end_by_signals()
    *given, bridge = sys.argv[1:7]
    packets, foreign, witness, network, asking = map(int, given)
    presence, nic = int(sys.argv[7]), sys.argv[8]
    controls = tuple(map(int, sys.argv[9].split(",")))
    replies, ready = map(int, sys.argv[10:12])
    _name_process(b"vmnet-server")
    log = Log(write_to_stderr)
    service = Service(log)
    service.remember(sys.argv[12])
    on_tap = (packets, foreign, witness)
    ears = (_socket.socket(fileno=packets), _socket.socket(fileno=foreign), _socket.socket(fileno=witness))
    doors = tuple(map(_listening, controls))
    server = Server(ears, _network(network, asking, bridge), doors, replies, service)
    server.statm = open_statm()
    bindable, mute = ((*on_tap, asking), (network,)) if bridge else (on_tap, ())
    if presence != NONE:
        server.watch_nic(Presence(_socket.socket(fileno=presence), nic))
        bindable, mute = (*bindable, presence), (*mute, presence)
    links = open_links()
    if links:
        server.hear_links(links)
        mute = (*mute, links.fileno())
    server.sandbox = sandbox.enter(sys.argv[13], bindable, mute, (*controls, replies, ready, server.statm))
    if not server.sandbox["on"]:
        log("warning", "sandbox_off", "the sandbox is off, which is for debugging only")
    _say_ready(ready)
    server.run()


def _listening(descriptor: int) -> _socket.socket:
    """Listen here, so that who connects is told our pid, and the uid we started with."""
    control = _socket.socket(fileno=descriptor)
    control.setblocking(False)
    control.listen(_WAITERS)
    return control


def _network(hearing: int, asking: int, bridge: str) -> Network | None:
    return Network(_socket.socket(fileno=hearing), _socket.socket(fileno=asking), bridge) if bridge else None


def end_by_signals() -> None:
    """Die of SIGTERM and SIGINT, whatever our starter ignores or blocks; process 1 of a container, by handlers."""
    action = _exit if posix.getpid() == 1 else _signal.SIG_DFL
    for number in (_signal.SIGTERM, _signal.SIGINT):
        _signal.signal(number, action)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def _exit(_number: int, _frame: object) -> None:
    posix._exit(0)


def _line(report: dict[str, Json]) -> bytes:
    """One line of JSON; where that would be too long, the longest members make way."""
    text = dumps(report)
    while len(text) >= _LARGEST_REPORT:
        longest = max(report, key=lambda name: len(dumps(report[name])))
        report = {**report, longest: None}
        text = dumps(report)
    return text.encode() + b"\n"


def _name_process(name: bytes) -> None:
    """Show up as ourselves in `ps`: up to 15 octets."""
    try:
        with open("/proc/self/comm", "wb") as comm:
            comm.write(name)
    except OSError:
        return  # a read-only /proc


def _say_ready(ready: int) -> None:
    try:
        posix.write(ready, b"1")
    except OSError:
        return  # whoever waited has given up; the guest still wants serving
    finally:
        posix.close(ready)
