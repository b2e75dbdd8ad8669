"""(Request, Replies) → the frame to send, and what happened in a word. RFC 2131 §4.3 for a single client.

Protocol without sockets: nothing here waits, logs or fails. Standard library only, and little of it: the server
process reads this room.
"""

from __future__ import annotations

import struct

from vmnet.server.dhcp import request as dhcp
from vmnet.server.dhcp.fields import fields
from vmnet.server.dhcp.replies import ACK, HEAD, INFORM_ACK, NAK, OFFER, Replies

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vmnet.server.dhcp.request import Request

_LEAST_BOOTP = 300
_MEMO = 64
"""How many different replies are kept: more than any honest client needs, little for a hostile one to fill."""
_SILENCE = -1
_BROADCAST_MAC = b"\xff" * 6
# UDP checksum | op, htype, hlen, hops | xid | secs, flags | ciaddr: all that changes from one reply to the next
_PATCH = struct.Struct("!HIIHHI")


class Answer:
    """What became of a request: `event` for counters and lease state, `frame` to send or None for silence.

    `left_out` has by its code each option that the client's maximum size left no room for: how many of its values
    are told, and of how many.
    """

    __slots__ = ("event", "frame", "left_out")

    def __init__(
        self, event: str, frame: bytes | None = None, left_out: dict[int, tuple[int, int]] | None = None
    ) -> None:
        self.event = event
        self.frame = frame
        self.left_out = left_out or {}

    @property
    def dropped(self) -> tuple[int, ...]:
        """The codes of options that are not told whole."""
        return tuple(self.left_out)


def answer(request: Request, replies: Replies) -> Answer:
    """Decide what RFC 2131 §4.3 asks for, and put the reply together."""
    event, kind = _decide(request, replies)
    if kind == _SILENCE:
        return Answer(event)
    ciaddr = _ciaddr(request, kind, int.from_bytes(replies.yiaddr))
    # §4.1, giaddr being zero: a NAK is broadcast; ciaddr beats the flag; an INFORM is never broadcast (§4.3.5).
    broadcast = kind == NAK or (kind != INFORM_ACK and not ciaddr and request.flags >= dhcp.BROADCAST_FLAG)
    key = (
        kind,
        broadcast,
        event == "ack_rapid_commit",
        request.parameter_request_list,
        request.max_size,
        request.client_id,
        request.relay_agent,
        request.fqdn,
    )
    prepared = replies.memo.get(key)
    if prepared is None:
        if len(replies.memo) >= _MEMO:
            replies.memo.clear()
        prepared = replies.memo[key] = _prepare(request, replies, key[:3])
    before, total, after, left_out = prepared
    xid, flags = request.xid, request.flags
    checksum = 0xFFFF - (total + xid + flags + ciaddr) % 0xFFFF  # never 0, which would mean "none" (RFC 768)
    return Answer(event, before + _PATCH.pack(checksum, 0x02010600, xid, 0, flags, ciaddr) + after, left_out)


def _ciaddr(request: Request, kind: int, yiaddr: int) -> int:
    """Table 3: copied into an ACK or zero. Of a DISCOVER it is meaningless; a wrong one is not confirmed."""
    confirmed = kind in (ACK, INFORM_ACK) and request.kind != dhcp.DISCOVER and request.ciaddr == yiaddr
    return yiaddr if confirmed else 0


def _decide(request: Request, replies: Replies) -> tuple[str, int]:
    """The event and the kind of reply, or silence."""
    if request.giaddr:
        return "relayed", _SILENCE  # nobody relays on a tap: policy
    return _DECISIONS[request.kind](request, int.from_bytes(replies.yiaddr), int.from_bytes(replies.server_id))


def _discover(request: Request, _yiaddr: int, _server_id: int) -> tuple[str, int]:
    """§4.3.1. Whatever address is asked for, this one is offered. RFC 4039 §3.1: rapid commit is acknowledged."""
    return ("ack_rapid_commit", ACK) if request.rapid_commit else ("offer", OFFER)


def _request(request: Request, yiaddr: int, server_id: int) -> tuple[str, int]:
    """§4.3.2 and table 4, read generously: there is one lease, and whoever names its address is the one client.

    SELECTING names a server and an address, INIT-REBOOT an address alone. Whoever names no address but has one is
    renewing, even if it names a server: some embedded clients do, and a guest that has moved may name its old one.
    """
    if not request.requested and _held(request, yiaddr):
        return _renewing(request, yiaddr, server_id)
    if request.server_id:
        return _selecting(request, yiaddr, server_id)
    if request.requested is None:
        return "invalid_request", _SILENCE
    if request.requested == yiaddr and request.ciaddr != yiaddr:
        return "ack_init_reboot", ACK
    return _renewing(request, yiaddr, server_id) if request.ciaddr else ("nak_init_reboot", NAK)


def _held(request: Request, yiaddr: int) -> int:
    """The address that the client has: `ciaddr`, else ours if it sends from there, as in an INFORM."""
    return request.ciaddr or (yiaddr if request.source == yiaddr else 0)


def _renewing(request: Request, yiaddr: int, server_id: int) -> tuple[str, int]:
    """§4.3.2: RENEWING is unicast, REBINDING broadcast."""
    state = "rebinding" if request.destination == dhcp.LIMITED_BROADCAST else "renewing"
    if _held(request, yiaddr) == yiaddr:
        return f"ack_{state}", ACK
    return (f"nak_{state}", NAK) if request.server_id in (None, 0, server_id) else ("other_server", _SILENCE)


def _selecting(request: Request, yiaddr: int, server_id: int) -> tuple[str, int]:
    """§4.3.2 SELECTING. RFC 1541 had the client fill in `ciaddr`, too: the requested address decides."""
    if request.server_id != server_id:
        return "other_server", _SILENCE  # §3.1 step 4: that is the client's "no" to us
    if request.requested is None:
        return "invalid_selecting", _SILENCE
    return ("ack_selecting", ACK) if request.requested == yiaddr else ("nak_selecting", NAK)


def _decline(request: Request, yiaddr: int, server_id: int) -> tuple[str, int]:
    """§4.3.3: never answered; the address goes on being offered, since there is no other.

    dhcpcd names neither server nor address in it after a rapid commit.
    """
    ours = request.server_id in (None, server_id) and request.requested in (None, yiaddr)
    return "decline" if ours else "foreign_decline", _SILENCE


def _release(request: Request, yiaddr: int, server_id: int) -> tuple[str, int]:
    """§4.3.4: never answered. systemd-networkd leaves the server identifier out, and sends it to us alone."""
    server = request.destination if request.server_id is None else request.server_id
    ours = server == server_id and request.ciaddr == yiaddr
    return "release" if ours else "foreign_release", _SILENCE


def _inform(request: Request, yiaddr: int, _server_id: int) -> tuple[str, int]:
    """§4.3.5. Where ciaddr is left empty the source address says who asks. Only the pod's own is served."""
    own = (request.ciaddr or request.source) == yiaddr
    return ("ack_inform", INFORM_ACK) if own else ("foreign_inform", _SILENCE)


_DECISIONS = {
    dhcp.DISCOVER: _discover,
    dhcp.REQUEST: _request,
    dhcp.DECLINE: _decline,
    dhcp.RELEASE: _release,
    dhcp.INFORM: _inform,
}


def _prepare(
    request: Request, replies: Replies, key: tuple[int, bool, bool]
) -> tuple[bytes, int, bytes, dict[int, tuple[int, int]]]:
    """A reply up to the UDP checksum, the sum of its words, its rest from yiaddr on, and what is left out."""
    kind, broadcast, rapid = key
    head = replies.templates[kind].head
    chosen = fields(request, replies, kind, rapid=rapid)
    bootp = (head[42:86] + chosen.names + head[HEAD - 4 :] + chosen.options).ljust(_LEAST_BOOTP, b"\0")
    length = 8 + len(bootp)
    link = (_BROADCAST_MAC if broadcast else replies.vm_mac) + head[6:14]
    destination = _BROADCAST_MAC[:4] if broadcast else replies.yiaddr
    ip = head[14:16] + (20 + length).to_bytes(2) + head[18:24] + b"\0\0" + head[26:30] + destination
    ip = ip[:10] + (0xFFFF - int.from_bytes(ip) % 0xFFFF).to_bytes(2) + ip[12:]
    udp = head[34:38] + length.to_bytes(2)
    # RFC 768's pseudo header: addresses, protocol, length. The patched fields are still zero in the head.
    total = int.from_bytes(ip[12:20]) + 17 + length + int.from_bytes(udp)
    total += int.from_bytes(bootp + b"\0" * (len(bootp) & 1))
    return link + ip + udp, total % 0xFFFF, bootp[16:], chosen.left_out
