"""The server without its sockets, IPv6's half: router advertisements, neighbour discovery and DHCPv6."""

from __future__ import annotations

import _random

from vmnet.server.guest_lease import GuestLease
from vmnet.server.ipv6 import lease_state
from vmnet.server.ipv6.advertise import Advertiser
from vmnet.server.ipv6.advertisements import UNKNOWN
from vmnet.server.ipv6.advertisements import loads as loads_advertisements
from vmnet.server.ipv6.answer import answer
from vmnet.server.ipv6.message import parse as parse_message
from vmnet.server.ipv6.neighbour import RouterSolicitation, heard
from vmnet.server.ipv6.neighbour import parse as parse_solicitation
from vmnet.server.ipv6.packet import UDP, parse
from vmnet.server.ipv6.replies import loads as loads_replies
from vmnet.server.lifetimes import Lifetimes
from vmnet.server.witness import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from vmnet.server.compiled import Compiled
    from vmnet.server.ipv6.advertisements import RouterFrames
    from vmnet.server.ipv6.packet import Packet
    from vmnet.server.json_text import Json
    from vmnet.server.log import Log

    Sends = tuple[tuple[bytes, ...], tuple[bytes, ...]]
    """Frames for the guest, and frames that ask the pod network for a gateway."""

NOTHING: Sends = ((), ())
NEIGHBOUR_SOLICITATION = "neighbour_solicitation"
FOREIGN_SOURCE_MAC, NOT_SERVED, RAN_OUT = "ipv6_foreign_source_mac", "ipv6_not_served", "ipv6_ran_out"
_SENTENCES = {
    "advertise": "the guest was offered its IPv6 address",
    "reply_rapid_commit": "the guest has its IPv6 lease, by rapid commit",
    "reply_request": "the guest has its IPv6 lease",
    "reply_renew": "the guest has its IPv6 lease by renewing it",
    "reply_rebind": "the guest has its IPv6 lease by rebinding",
    "confirm": "the guest has confirmed its IPv6 lease",
    "not_on_link": "the guest wanted IPv6 addresses that are not its: refused",
    "other_server": "the guest chose another DHCPv6 server: find out who else answers it",
    "decline": "ADDRESS CONFLICT: the guest found its IPv6 address in use. The CNI may have given it to another "
    "pod too, or its last owner may not be gone. It is offered again: there is no other",
    "release": "the guest gave its IPv6 lease back",
}
_TELLING = frozenset(("reply_rapid_commit", "reply_request", "reply_renew", "reply_rebind", "information"))


class Ipv6Service:
    """One guest, served: fed with frames, it hands back what to send."""

    def __init__(
        self, compiled: Compiled, log: Log, clock: Callable[[], float], lifetimes: Lifetimes | None = None
    ) -> None:
        """Take the compiled replies. Raises ValueError where they are none."""
        self._advertisements = loads_advertisements(compiled.advertisements)
        self._replies = loads_replies(compiled.dhcpv6)
        self._advertiser = Advertiser(self._advertisements, clock, _random.Random().random)
        self._gateways = self._advertisements.gateways
        self.lease = GuestLease("ipv6", lease_state.after, _SENTENCES, log, clock)
        self._log = log
        self._lifetimes = lifetimes or Lifetimes(b"", clock)
        self._left_out: dict[int, tuple[int, int]] = {}
        """What the last reply with options did not tell whole."""

    def frame(self, frame: bytes, tp_status: int, vlan_tci: int) -> tuple[str, Sends | None]:
        """What became of a frame of the guest in a word, and what to send; None where it is ignored."""
        packet = parse(frame, tp_status, vlan_tci)
        if isinstance(packet, str):
            return packet, None
        if packet.mac != self._advertisements.vm_mac:
            return FOREIGN_SOURCE_MAC, None
        return self._dhcpv6(packet) if packet.protocol == UDP else self._solicitation(packet)

    def network_frame(self, frame: bytes, tp_status: int, vlan_tci: int) -> tuple[str, Sends]:
        """What to send for a frame of the pod network, which may tell where a gateway is."""
        packet = parse(frame, tp_status, vlan_tci)
        known = None if isinstance(packet, str) else heard(packet, self._gateways)
        if known is None:
            return packet if isinstance(packet, str) else "no_news", NOTHING
        number, mac = known
        before = self._advertiser.macs[number]
        frames = self._advertiser.heard(number, mac)
        if self._advertiser.macs[number] != before:
            self._tell_moved(number, before)
        return "gateway", (frames, ())

    def due(self) -> float | None:
        """When `tick` has something to do, by the clock; None for never."""
        return self._advertiser.due()

    def tick(self) -> Sends:
        """What is due by now."""
        frames, probes = self._advertiser.tick()
        if frames:
            self.lease.happened("router_advertisement")
        return frames, probes

    def report(self, began: float) -> dict[str, Json]:
        """What `vmnet status` shows; moments are seconds after `began`."""
        speaker = self._advertiser
        silent = map(speaker.silent_seconds, range(len(speaker.macs)))
        routers = zip(self._advertisements.routers, speaker.macs, silent, strict=True)
        return {
            **self.lease.report(began, text),
            "left_out": {str(code): values for code, values in self._left_out.items()},
            "addresses": tuple(text(address) for address in self._replies.addresses),
            "routers": tuple(_router(*router) for router in routers),
        }

    def _solicitation(self, packet: Packet) -> tuple[str, Sends | None]:
        solicitation = parse_solicitation(packet)
        if isinstance(solicitation, str):
            return solicitation, None
        if not isinstance(solicitation, RouterSolicitation):
            self.lease.happened(NEIGHBOUR_SOLICITATION)
            return NEIGHBOUR_SOLICITATION, self._advertiser.neighbour_solicited(solicitation)
        if not self._advertisements.served:
            return NOT_SERVED, None
        self.lease.happened("router_solicitation")
        return "router_solicitation", (self._advertiser.solicited(solicitation), ())

    def _dhcpv6(self, packet: Packet) -> tuple[str, Sends | None]:
        if not self._replies.served:
            return NOT_SERVED, None
        message = parse_message(packet)
        if isinstance(message, str):
            return message, None
        replies = self._lifetimes.ipv6(self._replies)
        if replies is None:
            return RAN_OUT, None
        answered = answer(message, replies)
        if answered.event in _TELLING:
            self._left_out = answered.left_out
        if self.lease.happened(answered.event):
            self.lease.tell(answered.event, xid=message.xid)
        return answered.event, ((answered.frame,) if answered.frame else (), ())

    def _tell_moved(self, number: int, before: bytes) -> None:
        router = self._advertisements.routers[number]
        event = "gateway_found" if before == UNKNOWN else "gateway_moved"
        words = "was found" if before == UNKNOWN else "has another MAC now, and the guest is told"
        self.lease.happened(event)
        self._log(
            "info" if before == UNKNOWN else "warning",
            event,
            f"the IPv6 gateway {words}",
            gateway=text(router.gateway),
            mac=self._advertiser.macs[number].hex(":"),
        )


def _router(router: RouterFrames, mac: bytes, silent_seconds: float | None) -> dict[str, Json]:
    return {
        "address": text(router.address),
        "gateway": text(router.gateway) if router.gateway else "",
        "mac": "" if mac == UNKNOWN else mac.hex(":"),
        "silent_seconds": silent_seconds,
    }
