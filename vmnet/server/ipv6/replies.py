"""The compiled DHCPv6 replies: what scapy wrote once, in the form that the server puts together and sends.

They travel from the compile process to the server process, so they have a small explicit form in bytes. This
room is read by the server: it imports `struct` and nothing else.
"""

from __future__ import annotations

import struct

SERVER_ID, PREFERENCE, RAPID_COMMIT = 2, 7, 14
"""Options that no client asks for."""
DNS, SEARCH, SNTP, REFRESH_TIME, FQDN, NTP = 23, 24, 31, 32, 39, 56
"""Options that it gets if it does (RFC 3646, RFC 4075, RFC 9915 §21.23, RFC 4704, RFC 5908)."""
SUCCESS, NO_ADDRS_AVAIL, NO_BINDING, NOT_ON_LINK, NO_PREFIX_AVAIL = STATUSES = (0, 2, 3, 4, 6)
"""RFC 9915 §21.13."""

HEAD = 62
"""Octets of a reply's head: Ethernet 14, IPv6 40, UDP 8."""
LEAST_MTU = 1280
"""RFC 8200 §5."""

_MAGIC = b"vmnet-dhcpv6-1\n"
_NEEDED = frozenset((SERVER_ID, PREFERENCE, RAPID_COMMIT))
_KNOWN = _NEEDED | {DNS, SEARCH, SNTP, REFRESH_TIME, FQDN, NTP}
_IAADDR, _STATUS_CODE = 5, 13
_IAADDR_SIZE = 28
TYPE_CHECKING = False
if TYPE_CHECKING:
    Prepared = tuple[str, int, bytes, int, bytes, dict[int, tuple[int, int]]]
    """`answer.answer` unpacks it."""
# head | T1, T2 | MTU | how many addresses, options, statuses
_FACTS = struct.Struct(f"!{HEAD}s8sHBBB")
_OPTION = struct.Struct("!HH")
_STATUS = struct.Struct("!4xH")


class Replies:
    """All the single client can ever get. Options are whole, with code and length.

    `times` are T1 and T2. `mtu` is the largest IPv6 packet in octets that the tap takes.
    """

    __slots__ = ("addresses", "head", "memo", "mtu", "options", "statuses", "times")

    def __init__(
        self,
        head: bytes,
        mtu: int,
        granted: tuple[bytes, tuple[bytes, ...]],
        options: dict[int, bytes],
        statuses: tuple[bytes, ...],
    ) -> None:
        self.head = head
        """IPv6's destination, the lengths and the checksum are to be patched."""
        self.mtu = mtu
        self.times, addresses = granted
        self.addresses = {option[4:20]: option for option in addresses}
        """The IA Address options by address, the best first."""
        self.options = options
        self.statuses: dict[int, bytes] = {_STATUS.unpack_from(option)[0]: option for option in statuses}
        self.memo: dict[tuple[int, bytes, bytes], Prepared] = {}
        """What `answer` has put together before; bounded there."""

    @property
    def vm_mac(self) -> bytes:
        """Where all replies go."""
        return self.head[:6]

    @property
    def served(self) -> bool:
        """Whether any DHCPv6 is answered."""
        return bool(self.statuses)


def dumps(replies: Replies) -> bytes:
    """The bytes that `loads` reads."""
    groups = [list(group.values()) for group in (replies.addresses, replies.options, replies.statuses)]
    facts = _FACTS.pack(replies.head, replies.times, replies.mtu, *(len(group) for group in groups))
    return b"".join([_MAGIC, facts, *(option for group in groups for option in group)])


def loads(data: bytes) -> Replies:
    """Read what `dumps` wrote. Raises ValueError on anything else."""
    if not data.startswith(_MAGIC):
        raise ValueError("not compiled DHCPv6 replies of this version")
    try:
        return _loads(data)
    except struct.error as error:
        raise ValueError(f"compiled DHCPv6 replies are cut off: {error}") from None


def _loads(data: bytes) -> Replies:
    at = len(_MAGIC)
    head, times, mtu, *counts = _FACTS.unpack_from(data, at)
    at += _FACTS.size
    groups: list[tuple[tuple[int, bytes], ...]] = []
    for count in counts:
        group, at = _load_options(data, at, count)
        groups.append(group)
    if at != len(data):
        raise ValueError(f"compiled DHCPv6 replies have {len(data)} octets instead of {at}")
    if head[12:15] != b"\x86\xdd\x60" or head[54:58] != b"\x02\x23\x02\x22":
        raise ValueError("a compiled DHCPv6 reply does not begin with Ethernet, IPv6 and UDP from 547 to 546")
    if mtu < LEAST_MTU:
        raise ValueError(f"compiled DHCPv6 replies have an MTU of {mtu}, below {LEAST_MTU}")
    addresses, options, statuses = groups
    _check(addresses, options, statuses)
    only = tuple(option for _, option in addresses), tuple(option for _, option in statuses)
    return Replies(head, mtu, (times, only[0]), dict(options), only[1])


def _load_options(data: bytes, at: int, count: int) -> tuple[tuple[tuple[int, bytes], ...], int]:
    group = []
    for _ in range(count):
        code, length = _OPTION.unpack_from(data, at)
        group.append((code, data[at : at + 4 + length]))
        at += 4 + length
    return tuple(group), at


def _check(*groups: tuple[tuple[int, bytes], ...]) -> None:
    """Raise ValueError where the options are not those that `answer` needs, each once."""
    addresses, options, statuses = groups
    if not addresses or any(code != _IAADDR or len(option) != _IAADDR_SIZE for code, option in addresses):
        raise ValueError("compiled DHCPv6 addresses are malformed")
    codes = {code for code, _ in options}
    if len(codes) != len(options) or not _NEEDED <= codes <= _KNOWN:
        raise ValueError(f"compiled DHCPv6 options are {sorted(codes)}")
    if any(code != _STATUS_CODE or len(option) < _STATUS.size for code, option in statuses):
        raise ValueError("compiled DHCPv6 statuses are malformed")
    numbers = tuple(_STATUS.unpack_from(option)[0] for _, option in statuses)
    if numbers not in ((), STATUSES):
        raise ValueError(f"compiled DHCPv6 statuses are {numbers}")
