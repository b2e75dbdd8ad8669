"""What is left of the guest's addresses, of which the pod may have some for a limited time only.

The moments travel with the compiled replies, one record an address; the server counts down to them, so that no
lease outlives its address however often it is renewed. Imports `struct` and the compiled replies' classes alone.
"""

from __future__ import annotations

import struct

from vmnet.server.dhcp.replies import ACK, OFFER, Template, tlvs
from vmnet.server.dhcp.replies import Replies as Replies4
from vmnet.server.ipv6.replies import Replies as Replies6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

RAN_OUT = "ran_out"
FOREVER = 0xFFFFFFFF
_RECORD = struct.Struct("!16sQQ")
"""An address, IPv4 after 12 zeros; when it ceases to be preferred and valid, monotonic seconds, 0 for never."""
_PAIR = struct.Struct("!II")
_LEASE_TIME, _RENEWAL, _REBINDING = 51, 58, 59
_LIFETIMES_AT = 20
"""Where an IA Address option has its preferred and valid lifetime (RFC 9915 §21.6)."""


def record(address: bytes, preferred_until: int, valid_until: int) -> bytes:
    """Write when an address runs out."""
    return _RECORD.pack(address.rjust(16, b"\0"), preferred_until, valid_until)


class Lifetimes:
    """The moments at which the guest's addresses run out, by a clock of monotonic seconds."""

    def __init__(self, records: bytes, clock: Callable[[], float]) -> None:
        """Take the records. Raises ValueError where they are cut off."""
        if len(records) % _RECORD.size:
            raise ValueError(f"the addresses' lifetimes are cut off: {len(records)} octets")
        self._ends = {address: (preferred, valid) for address, preferred, valid in _RECORD.iter_unpack(records)}
        self._clock = clock
        self._aged: dict[int, tuple[int, Replies4 | Replies6 | None]] = {}
        """By family, the second for which replies were made last, and those."""

    def ipv4(self, replies: Replies4) -> Replies4 | None:
        """Return the replies as they are now; None where the address has run out."""
        _, until = self._ends.get(replies.yiaddr.rjust(16, b"\0"), (0, 0))
        if not until:
            return replies
        left = until - int(self._clock())
        if left <= 0:
            return None
        if int.from_bytes(replies.templates[ACK].options[_LEASE_TIME][2:]) <= left:
            return replies
        made_for, aged = self._aged.get(4, (0, None))
        if made_for != left or not isinstance(aged, Replies4):
            aged = _aged4(replies, left)
            self._aged[4] = left, aged
        return aged

    def ipv6(self, replies: Replies6) -> Replies6 | None:
        """Return the replies as they are now; None where all addresses have run out."""
        if not any(address in self._ends for address in replies.addresses):
            return replies
        now = int(self._clock())
        made_for, aged = self._aged.get(6, (-1, None))
        if made_for != now:
            aged = self._aged6(replies, now)
            self._aged[6] = now, aged
        return aged if isinstance(aged, Replies6) else None

    def _aged6(self, replies: Replies6, now: int) -> Replies6 | None:
        left = [self._left(address, option, now) for address, option in replies.addresses.items()]
        options = tuple(option for option in left if option)
        if not options:
            return None
        lifetimes = [_PAIR.unpack_from(option, _LIFETIMES_AT) for option in options]
        shortest = min((preferred for preferred, _ in lifetimes if preferred), default=0)
        times = (FOREVER, FOREVER) if shortest == FOREVER else (shortest // 2, shortest * 4 // 5)
        statuses = tuple(replies.statuses.values())
        return Replies6(replies.head, replies.mtu, (_PAIR.pack(*times), options), replies.options, statuses)

    def _left(self, address: bytes, option: bytes, now: int) -> bytes:
        """Return the option with what is left; nothing where the address has run out."""
        preferred, valid = _PAIR.unpack_from(option, _LIFETIMES_AT)
        preferred_until, valid_until = self._ends.get(address, (0, 0))
        if valid_until:
            valid = min(valid, valid_until - now)
        if preferred_until:
            preferred = max(0, min(preferred, preferred_until - now))
        return option[:_LIFETIMES_AT] + _PAIR.pack(min(preferred, valid), valid) if valid > 0 else b""


def _aged4(replies: Replies4, left: int) -> Replies4:
    times = {_LEASE_TIME: left, _RENEWAL: left // 2, _REBINDING: left * 7 // 8}
    templates = list(replies.templates)
    for kind in (OFFER, ACK):
        options = dict(templates[kind].options)
        options |= {code: tlvs(code, time.to_bytes(4)) for code, time in times.items()}
        templates[kind] = Template(templates[kind].head, options)
    addresses = replies.yiaddr, replies.server_id
    return Replies4(replies.vm_mac, addresses, replies.mtu, tuple(templates), replies.arp)
