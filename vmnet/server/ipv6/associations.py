"""The identity associations of a reply: what becomes of each IA of a message. RFC 9915 §18.3 and §21.

Standard library only, and little of it: the server process reads this room.
"""

from __future__ import annotations

import struct

from vmnet.server.ipv6.message import REBIND, RENEW, REQUEST
from vmnet.server.ipv6.replies import NO_ADDRS_AVAIL, NO_BINDING, NO_PREFIX_AVAIL, NOT_ON_LINK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vmnet.server.ipv6.message import Message
    from vmnet.server.ipv6.replies import Replies

_IA_NA, _IA_TA, _IAADDR, _IA_PD, _IAPREFIX = 3, 4, 5, 25, 26
_OPTION = struct.Struct("!HH")
_NO_TIMES = bytes(8)
"""T1 and T2, or preferred and valid lifetime, of 0."""


def granted(message: Message, replies: Replies) -> tuple[bytes, str]:
    """The IAs of a reply to SOLICIT, REQUEST, RENEW or REBIND, and a word for it where no address is among them.

    One IA_NA gets all of the pod's addresses. Which one the guest had them in before we need not know: an IA that
    is new to us is created, as §18.3.4 and §18.3.5 allow.
    """
    chosen = _chosen(message, replies)
    options, word = b"", "reply_without_address"
    for iaid, addresses in message.ia_na:
        foreign = [address for address in addresses if address not in replies.addresses]
        if foreign and message.type == REQUEST:
            options += _ia(_IA_NA, iaid, replies.statuses[NOT_ON_LINK])
            word = word and "not_on_link"
            continue
        content = b"".join(map(_zeroed_address, foreign)) if message.type in (RENEW, REBIND) else b""
        if iaid == chosen:
            options += _ia(_IA_NA, iaid, content + b"".join(replies.addresses.values()), replies.times)
            word = ""
        else:
            options += _ia(_IA_NA, iaid, content or replies.statuses[NO_ADDRS_AVAIL])
    return options + _temporary(message, replies) + _delegated(message, replies), word


def named(message: Message) -> list[bytes]:
    """All addresses in all IAs."""
    return [address for _, addresses in (*message.ia_na, *message.ia_ta) for address in addresses]


def unbound(message: Message, replies: Replies) -> bytes:
    """The IAs of a RELEASE or DECLINE that have no address of the pod (§18.3.7, §18.3.8)."""
    status = replies.statuses[NO_BINDING]
    strange = [
        (_IA_NA, iaid)
        for iaid, addresses in message.ia_na
        if not any(address in replies.addresses for address in addresses)
    ]
    strange += [(_IA_TA, iaid) for iaid, _ in message.ia_ta] + [(_IA_PD, iaid) for iaid, _ in message.ia_pd]
    return b"".join(_ia(code, iaid, status) for code, iaid in strange)


def _chosen(message: Message, replies: Replies) -> bytes:
    """The IAID of the IA_NA that gets the addresses: the first that names one of them, else the first."""
    for iaid, addresses in message.ia_na:
        if any(address in replies.addresses for address in addresses):
            return iaid
    return message.ia_na[0][0] if message.ia_na else b""


def _temporary(message: Message, replies: Replies) -> bytes:
    """No IA_TA gets any address; what it had elsewhere is over."""
    ended = message.type in (RENEW, REBIND)
    status = replies.statuses[NO_ADDRS_AVAIL]
    return b"".join(
        _ia(_IA_TA, iaid, (b"".join(map(_zeroed_address, addresses)) if ended else b"") or status)
        for iaid, addresses in message.ia_ta
    )


def _delegated(message: Message, replies: Replies) -> bytes:
    """No IA_PD gets any prefix; what it had elsewhere is over."""
    ended = message.type in (RENEW, REBIND)
    status = replies.statuses[NO_PREFIX_AVAIL]
    return b"".join(
        _ia(_IA_PD, iaid, (b"".join(map(_zeroed_prefix, prefixes)) if ended else b"") or status)
        for iaid, prefixes in message.ia_pd
    )


def _ia(code: int, iaid: bytes, content: bytes, times: bytes = _NO_TIMES) -> bytes:
    """An IA option; an IA_TA has no times (§21.5)."""
    body = iaid + (times if code != _IA_TA else b"") + content
    return _OPTION.pack(code, len(body)) + body


def _zeroed_address(address: bytes) -> bytes:
    """An address that is not the guest's (any more): with lifetimes of 0 (§18.3.4)."""
    return _OPTION.pack(_IAADDR, 24) + address + _NO_TIMES


def _zeroed_prefix(prefix: bytes) -> bytes:
    """The same of a prefix; one of :: only says which length would be liked (§18.3.4)."""
    return _OPTION.pack(_IAPREFIX, 25) + _NO_TIMES + prefix if any(prefix[1:]) else b""
