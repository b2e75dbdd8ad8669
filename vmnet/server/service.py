"""The server without its sockets: what becomes of a frame, counters, the guest's lease state, log lines."""

from __future__ import annotations

import time

from vmnet import __version__
from vmnet.server.compiled import loads
from vmnet.server.dhcp.answer import answer
from vmnet.server.dhcp.arp import answer as answer_arp
from vmnet.server.dhcp.lease_state import after
from vmnet.server.dhcp.replies import loads as loads_replies
from vmnet.server.dhcp.request import FOREIGN_CHADDR, FOREIGN_SOURCE_MAC, SHORT, foreign_chaddr, parse
from vmnet.server.guest_lease import GuestLease
from vmnet.server.ipv6_service import NEIGHBOUR_SOLICITATION, NOTHING, Ipv6Service
from vmnet.server.lease_state import SILENT
from vmnet.server.lifetimes import RAN_OUT, Lifetimes
from vmnet.server.ring import GUEST, NETWORK, SERVER, Ring
from vmnet.server.state import COMPILING, FAILED, SERVING
from vmnet.server.witness import Prefixes, is_ipv4, text, used_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from vmnet.server.compiled import Compiled
    from vmnet.server.dhcp.replies import Replies
    from vmnet.server.ipv6_service import Sends
    from vmnet.server.json_text import Json
    from vmnet.server.log import Log

TOO_LONG, QUEUE_FULL = "too_long", "queue_full"
NOT_SERVED, WITNESSED = "not_served", "witnessed"
_FOREIGN_MACS = 32
"""How many MACs are told of: a hostile guest may make up any number."""
_SENTENCES = {
    "offer": "the guest was offered its address",
    "ack_rapid_commit": "the guest has its lease, by rapid commit",
    "ack_selecting": "the guest has its lease",
    "ack_init_reboot": "the guest has its lease again after a reboot",
    "ack_renewing": "the guest has its lease by renewing it",
    "ack_rebinding": "the guest has its lease by rebinding",
    "nak_selecting": "the guest asked for an address that is not its: refused",
    "nak_init_reboot": "the guest remembered an address that is not its: refused",
    "nak_renewing": "the guest wanted to renew an address that is not its: refused",
    "nak_rebinding": "the guest wanted to rebind to an address that is not its: refused",
    "other_server": "the guest chose another DHCP server: find out who else answers it",
    "decline": "ADDRESS CONFLICT: the guest found its address in use. This pod itself may answer ARP for it, the "
    "CNI may have given it to another pod too, or its last owner may not be gone; `vmnet status` says what to do. "
    "It is offered again: there is no other",
    "release": "the guest gave its lease back",
}
_TELLING = frozenset(event for event in _SENTENCES if event.startswith("ack_")) | {"ack_inform"}


class Service:
    """One guest, served: fed with frames, it hands back what to send."""

    def __init__(self, log: Log, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._began = clock()
        self._vm_mac = b""
        self._replies: Replies | None = None
        self.ipv6: Ipv6Service | None = None
        """Without it nothing is ever due."""
        self._lease = GuestLease("ipv4", after, _SENTENCES, log, clock)
        self._before6 = SILENT
        self._own = Prefixes()
        self._lifetimes = Lifetimes(b"", clock)
        self.ring = Ring(clock)
        self._foreign: set[bytes] = set()
        self._dropped: set[int] = set()
        self._left_out: dict[int, tuple[int, int]] = {}
        """What the last ACK did not tell whole."""
        self._last_xid: int | None = None
        self.state = COMPILING
        self.reason = ""
        self.ignored: dict[str, int] = {}
        self.errors: dict[str, int] = {}

    def remember(self, before: str) -> None:
        """Begin with the states in which the guest was when the last server ended: IPv4's, a slash, IPv6's."""
        before4, _, self._before6 = before.partition("/")
        self._lease.remember(before4)

    def load(self, compiled: bytes) -> None:
        """Take the compiled replies. Where they are none, stay and say so: never silence."""
        try:
            self._take(loads(compiled))
        except ValueError as error:
            self.state, self.reason = FAILED, str(error)
            self._log("error", "failed", f"the guest gets no DHCP: {error}")
            return
        self.state = SERVING
        self._log("info", "serving", "the replies are compiled: serving", seconds=self._clock() - self._began)

    def _take(self, compiled: Compiled) -> None:
        self._vm_mac, self._own = compiled.vm_mac, Prefixes(compiled.own)
        self._lifetimes = Lifetimes(compiled.ends, self._clock)
        if compiled.dhcp:
            self._replies = loads_replies(compiled.dhcp)
        if compiled.advertisements:
            self.ipv6 = Ipv6Service(compiled, self._log, self._clock, self._lifetimes)
            self.ipv6.lease.remember(self._before6)

    def frame(self, frame: bytes, tp_status: int, vlan_tci: int) -> bytes | None:
        """What to send for a frame of the guest, if anything. For frames that come after a good `load`."""
        replies = self._replies
        request = parse(frame, replies.vm_mac, tp_status, vlan_tci) if replies else NOT_SERVED
        if isinstance(request, str):
            return self._not_dhcp(request, frame, tp_status, vlan_tci)
        if replies is None or not replies.templates:
            self.ring.keep(GUEST, self.ignore(NOT_SERVED), frame)
            return None
        as_now = self._lifetimes.ipv4(replies)
        if as_now is None:
            self.ring.keep(GUEST, self._ran_out(), frame)
            return None
        answered = answer(request, as_now)
        event, reply = answered.event, answered.frame
        self._last_xid = request.xid
        if self._lease.happened(event):
            self._lease.tell(event, xid=request.xid, address=self._yiaddr())
        if event in _TELLING:
            self._left_out = answered.left_out
        if answered.left_out and not self._dropped.issuperset(answered.left_out):
            self._tell_dropped(answered.dropped)
        self.ring.keep(GUEST, event, frame, reply)
        return reply

    def _ran_out(self) -> str:
        """Count a request for an address that the pod has no more, and tell of the first."""
        if RAN_OUT not in self.ignored:
            self._log("error", RAN_OUT, "the pod's address has run out: the guest is not leased it any more")
        return self.ignore(RAN_OUT)

    def _not_dhcp(self, reason: str, frame: bytes, tp_status: int, vlan_tci: int) -> bytes | None:
        # An ARP request is shorter than any DHCP message: DHCP's way need not look for one.
        reply = (
            answer_arp(frame, self._replies, tp_status, vlan_tci) if reason == SHORT and self._replies else None
        )
        if reply is None:
            self.ring.keep(GUEST, self.ignore(reason), frame)
            if reason == FOREIGN_CHADDR:
                self._tell_foreign(foreign_chaddr(frame), reason)
            return None
        self._lease.happened("arp_reply")
        self._see(frame)
        self.ring.keep(GUEST, "arp_reply", frame, reply)
        return reply

    def ipv6_frame(self, frame: bytes, tp_status: int, vlan_tci: int) -> Sends:
        """What to send for a frame of the guest, to it and to the pod network."""
        word, sends = self.ipv6.frame(frame, tp_status, vlan_tci) if self.ipv6 else (NOT_SERVED, None)
        self.ring.keep(GUEST, word, frame)
        if sends is None:
            self.ignore(word)
            return NOTHING
        if word == NEIGHBOUR_SOLICITATION:
            self._see(frame)
        return self._kept(word, sends)

    def network_frame(self, frame: bytes, tp_status: int, vlan_tci: int) -> Sends:
        """What to send for a frame of the pod network."""
        if self.ipv6 is None:
            return NOTHING
        word, sends = self.ipv6.network_frame(frame, tp_status, vlan_tci)
        self.ring.keep(NETWORK, word, frame)
        return self._kept(word, sends)

    def witnessed(self, frame: bytes) -> None:
        """Take notice of the VM's ARP and neighbour discovery for others: it tells what addresses it uses."""
        self.ring.keep(GUEST, WITNESSED, frame)
        self._see(frame)

    def _see(self, frame: bytes) -> None:
        """See what address the guest uses by its ARP or neighbour discovery."""
        address = used_address(frame)
        if address and is_ipv4(address):
            self._lease.saw(address, self._own, text)
        elif address and self.ipv6:
            self.ipv6.lease.saw(address, self._own, text)

    def due(self) -> float | None:
        """When `tick` has something to do, by the clock; None for never."""
        return self.ipv6.due() if self.ipv6 else None

    def tick(self) -> Sends:
        """What is due by now, to the guest and to the pod network."""
        return self._kept("unsolicited", self.ipv6.tick()) if self.ipv6 else NOTHING

    def _kept(self, word: str, sends: Sends) -> Sends:
        """Keep what is sent, with the word for why."""
        for frames in sends:
            for frame in frames:
                self.ring.keep(SERVER, word, frame)
        return sends

    def ignore(self, reason: str, frames: int = 1) -> str:
        """Count frames that were not taken; returns the reason."""
        if frames:
            self.ignored[reason] = self.ignored.get(reason, 0) + frames
        return reason

    def foreign(self, header: bytes) -> None:
        """Tell of a source that is not the VM. Its frames are counted by `ignore`: few of them are looked at."""
        self.ring.keep(GUEST, FOREIGN_SOURCE_MAC, header)
        self._tell_foreign(header[6:12], FOREIGN_SOURCE_MAC)

    def error(self, operation: str, error: OSError) -> None:
        """Count a socket call that failed, and tell of the first of its kind."""
        name = f"{operation}: {error.strerror}"
        self.errors[name] = self.errors.get(name, 0) + 1
        if self.errors[name] == 1:
            self._log(
                "warning", "socket_error", f"the tap's socket failed to {name}: going on", operation=operation
            )

    def rebound(self) -> None:
        """Tell that the tap was deleted and made again, and is listened to again."""
        self._lease.happened("rebound")
        self._log("warning", "rebound", "the tap was made anew: serving it")

    def tell_nic(self, event: str, message: str) -> None:
        """Tell what became of the pod's NIC."""
        self._log("warning", event, message)

    def guest_gone(self) -> None:
        """QEMU has closed the tap: what was told to its guest says nothing of the one that comes next."""
        self._lease.begin_anew()
        if self.ipv6:
            self.ipv6.lease.begin_anew()

    def report(self) -> dict[str, Json]:
        """What `vmnet status` shows. Times are seconds: how long the server and the lease state are."""
        now = self._clock()
        replies = self._replies
        return {
            "version": __version__,
            "state": self.state,
            "reason": self.reason,
            **self._lease.report(self._began, text),
            "uptime_seconds": now - self._began,
            "vm_mac": self._vm_mac.hex(":") if self._vm_mac else "",
            "yiaddr": self._yiaddr(),
            "server_id": ".".join(map(str, replies.server_id)) if replies else "",
            "last_xid": self._last_xid,
            "ignored": self.ignored,
            "errors": self.errors,
            "dropped_options": tuple(sorted(self._dropped)),
            "left_out": {str(code): values for code, values in self._left_out.items()},
            "foreign_macs": tuple(sorted(mac.hex(":") for mac in self._foreign)),
            "ipv6": self.ipv6.report(self._began) if self.ipv6 else None,
        }

    def _yiaddr(self) -> str:
        return ".".join(map(str, self._replies.yiaddr)) if self._replies else ""

    def _tell_foreign(self, mac: bytes, reason: str) -> None:
        if mac not in self._foreign and len(self._foreign) < _FOREIGN_MACS:
            self._foreign.add(mac)
            self._log("warning", reason, "DHCP from a MAC that is not the VM's: ignored", mac=mac.hex(":"))

    def _tell_dropped(self, codes: tuple[int, ...]) -> None:
        self._dropped.update(codes)
        self._log(
            "warning",
            "options_dropped",
            "the reply has no room for all options: the guest's largest message size is too small for them; lists "
            "are told as far as they fit",
            codes=codes,
        )
