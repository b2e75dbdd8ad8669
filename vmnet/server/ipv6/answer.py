"""(Message, Replies) → the frame to send, and what happened in a word. RFC 9915 §18.3 for a single client.

Protocol without sockets: nothing here waits, logs, remembers or fails. All of a lease is in the message, so that a
server that was started anew goes on where the last one was. Standard library only, and little of it: the server
process reads this room.
"""

from __future__ import annotations

import struct

from vmnet.server.ipv6 import message as dhcpv6
from vmnet.server.ipv6.associations import granted, named, unbound
from vmnet.server.ipv6.lists import fitted
from vmnet.server.ipv6.replies import (
    DNS,
    FQDN,
    NOT_ON_LINK,
    NTP,
    PREFERENCE,
    RAPID_COMMIT,
    REFRESH_TIME,
    SEARCH,
    SERVER_ID,
    SNTP,
    SUCCESS,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vmnet.server.ipv6.message import Message
    from vmnet.server.ipv6.replies import Prepared, Replies

ADVERTISE, REPLY = 2, 7
_SERVER_ID_NEEDED = frozenset((dhcpv6.REQUEST, dhcpv6.RENEW, dhcpv6.RELEASE, dhcpv6.DECLINE))
_SERVER_ID_FORBIDDEN = frozenset((dhcpv6.SOLICIT, dhcpv6.CONFIRM, dhcpv6.REBIND))
_FOREIGN = {
    dhcpv6.REQUEST: "other_server",
    dhcpv6.RENEW: "other_server",
    dhcpv6.RELEASE: "foreign_release",
    dhcpv6.DECLINE: "foreign_decline",
    dhcpv6.INFORMATION_REQUEST: "foreign_information",
}
"""Words for a message to another server; the first is the client's "no" to us."""
_ASKED_FOR = (DNS, SEARCH, FQDN, NTP, SNTP)
"""In this order they get the room there is."""
_CLIENT_ID = 1
_IPV6_UDP_MESSAGE = 40 + 8 + 4
_IPPROTO_UDP = 17
_MEMO = 64
"""How many different replies are kept: more than any honest client needs, little for a hostile one to fill."""
_OPTION = struct.Struct("!HH")
_PATCH = struct.Struct("!HI")
"""UDP checksum | message type and transaction id."""


class Answer:
    """What became of a message: `event` for counters and lease state, `frame` to send or None for silence.

    `left_out` has by its code each option that the packet had no room for: how many of its values are told, and of
    how many.
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


class _Reply:
    """A reply's event, message type and options, and the codes that follow where there is room.

    Without a type nothing is sent.
    """

    __slots__ = ("asked", "event", "options", "type")

    def __init__(self, event: str, kind: int = 0, options: bytes = b"", asked: tuple[int, ...] = ()) -> None:
        self.event = event
        self.type = kind
        self.options = options
        self.asked = asked


def answer(message: Message, replies: Replies) -> Answer:
    """Decide what RFC 9915 §18.3 asks for, and put the reply together."""
    key = (message.type, message.source, message.options)
    prepared = replies.memo.get(key)
    if prepared is None:
        if len(replies.memo) >= _MEMO:
            replies.memo.clear()
        # §18.3.2 forbids to send again what was sent for the sake of the lifetimes in it: where they run down,
        # the replies are others each second (vmnet.server.lifetimes).
        prepared = replies.memo[key] = _prepare(message, replies)
    event, kind, before, total, after, left_out = prepared
    if not kind:
        return Answer(event)
    head = kind << 24 | message.xid
    checksum = 0xFFFF - (total + head) % 0xFFFF  # never 0, which would mean "none" (RFC 8200 §8.1)
    return Answer(event, before + _PATCH.pack(checksum, head) + after, left_out)


def _prepare(message: Message, replies: Replies) -> Prepared:
    """A reply before and after its UDP checksum, message type and transaction id, and the sum of its words."""
    event = _invalid(message, replies)
    reply = _Reply(event) if event else _DECISIONS[message.type](message, replies)
    if not reply.type:
        return reply.event, 0, b"", 0, b"", {}
    options = _identifiers(message, replies) + reply.options
    room = replies.mtu - _IPV6_UDP_MESSAGE - len(options)
    left_out: dict[int, tuple[int, int]] = {}
    long = []
    for code in reply.asked:
        option = _asked_for(code, message, replies)
        if len(option) > room:
            long.append((code, option))
            continue
        room -= len(option)
        options += option
    for code, option in long:
        part, told, of = fitted(code, option, room)
        left_out[code] = told, of
        room -= len(part)
        options += part
    if room < 0:
        return "reply_too_long", 0, b"", 0, b"", {}
    head, length = replies.head, _IPV6_UDP_MESSAGE - 40 + len(options)
    # RFC 8200 §8.1: source, destination, length and protocol are summed up with the packet.
    total = int.from_bytes(head[22:38] + message.source + head[54:58]) + 2 * length + _IPPROTO_UDP
    total += int.from_bytes(options + b"\0" * (len(options) & 1))
    size = length.to_bytes(2)
    before = head[:18] + size + head[20:38] + message.source + head[54:58] + size
    return reply.event, reply.type, before, total % 0xFFFF, options, left_out


def _invalid(message: Message, replies: Replies) -> str:
    """§16.2 to §16.12: what MUST be discarded, in a word."""
    kind, server_id = message.type, message.server_id
    if not message.client_id and kind != dhcpv6.INFORMATION_REQUEST:
        return "no_client_id"
    if not server_id:
        return "no_server_id" if kind in _SERVER_ID_NEEDED else ""
    if kind in _SERVER_ID_FORBIDDEN:
        return "server_id_to_all"
    return "" if server_id == replies.options[SERVER_ID][4:] else _FOREIGN[kind]


def _identifiers(message: Message, replies: Replies) -> bytes:
    """The client's DUID as it came, and the server's (§18.3)."""
    client_id = message.client_id
    echoed = _OPTION.pack(_CLIENT_ID, len(client_id)) + client_id if client_id else b""
    return echoed + replies.options[SERVER_ID]


def _asked_for(code: int, message: Message, replies: Replies) -> bytes:
    """An option as this client gets it."""
    option = replies.options.get(code, b"")
    if code != FQDN:
        return option
    # RFC 4704 §6: the pod's name, else the client's own; nobody touches the DNS (N), whoever wanted us to (O, S).
    sent = message.fqdn
    overridden = 4 | (sent[0] & 1) << 1
    name = option[5:] or sent[1:]
    return _OPTION.pack(FQDN, 1 + len(name)) + bytes((overridden,)) + name


def _wanted(message: Message, replies: Replies, codes: tuple[int, ...] = _ASKED_FOR) -> tuple[int, ...]:
    """What of these the client asks for, and we have: nothing is sent unasked (§21.7)."""
    oro = message.oro
    requested = {oro[at] << 8 | oro[at + 1] for at in range(0, len(oro), 2)}
    available = replies.options.keys() - {FQDN} | ({FQDN} if message.fqdn else set())
    return tuple(code for code in codes if code in requested & available)


def _solicit(message: Message, replies: Replies) -> _Reply:
    """§18.3.1. Whatever addresses are asked for, the pod's are offered; rapid commit is granted."""
    options, word = granted(message, replies)
    wanted = _wanted(message, replies)
    if message.rapid_commit:
        event = word or "reply_rapid_commit"
        return _Reply(event, REPLY, replies.options[RAPID_COMMIT] + options, wanted)
    event = "advertise_without_address" if word else "advertise"
    return _Reply(event, ADVERTISE, replies.options[PREFERENCE] + options, wanted)


def _lease(message: Message, replies: Replies) -> _Reply:
    """§18.3.2, §18.3.4 and §18.3.5: REQUEST, RENEW and REBIND."""
    options, word = granted(message, replies)
    return _Reply(word or _LEASED[message.type], REPLY, options, _wanted(message, replies))


def _confirm(message: Message, replies: Replies) -> _Reply:
    """§18.3.3. On this link are the pod's addresses and no others: a guest that has others shall ask anew."""
    addresses = named(message)
    if not addresses:
        return _Reply("confirm_without_address")
    if all(address in replies.addresses for address in addresses):
        return _Reply("confirm", REPLY, replies.statuses[SUCCESS])
    return _Reply("not_on_link", REPLY, replies.statuses[NOT_ON_LINK])


def _given_back(message: Message, replies: Replies) -> _Reply:
    """§18.3.7 and §18.3.8: RELEASE and DECLINE. The addresses go on being offered, since there are no others."""
    event = "release" if message.type == dhcpv6.RELEASE else "decline"
    ours = any(address in replies.addresses for _, addresses in message.ia_na for address in addresses)
    options = replies.statuses[SUCCESS] + unbound(message, replies)
    return _Reply(event if ours else f"foreign_{event}", REPLY, options)


def _information(message: Message, replies: Replies) -> _Reply:
    """§18.3.6. With an IA in it is to be discarded (§16.12)."""
    if message.ia_na or message.ia_ta or message.ia_pd:
        return _Reply("information_with_ia")
    return _Reply("information", REPLY, b"", _wanted(message, replies, (*_ASKED_FOR, REFRESH_TIME)))


_LEASED = {dhcpv6.REQUEST: "reply_request", dhcpv6.RENEW: "reply_renew", dhcpv6.REBIND: "reply_rebind"}
_DECISIONS = {
    dhcpv6.SOLICIT: _solicit,
    dhcpv6.REQUEST: _lease,
    dhcpv6.CONFIRM: _confirm,
    dhcpv6.RENEW: _lease,
    dhcpv6.REBIND: _lease,
    dhcpv6.RELEASE: _given_back,
    dhcpv6.DECLINE: _given_back,
    dhcpv6.INFORMATION_REQUEST: _information,
}
