"""Which options a reply carries, in which order, and in which of BOOTP's three fields. RFC 2131 §4.1, RFC 2132.

Standard library only, and little of it: the server process reads this room.
"""

from __future__ import annotations

from vmnet.dhcp.replies import HEAD, NAK, tlvs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vmnet.dhcp.replies import Replies
    from vmnet.dhcp.request import Request

_SUBNET_MASK, _ROUTER, _DNS, _MTU, _ROUTES = 1, 3, 6, 26, 121
_LEASE_TIME, _OVERLOAD, _TYPE, _SERVER_ID, _CLIENT_ID = 51, 52, 53, 54, 61
_RAPID_COMMIT, _FQDN, _RELAY_AGENT, _IPV6_ONLY, _MS_ROUTES = 80, 81, 82, 108, 249
_HEADING = (_TYPE, _SERVER_ID, _LEASE_TIME)
"""First in every reply, asked for or not."""
_IMPORTANT = (_SUBNET_MASK, _ROUTER, _DNS, _MTU, _ROUTES, _FQDN)
"""Sent also to a client that asks for other things only: without them the guest has no working network. The last
one is there for who sent one."""
_UNASKED_NEVER = (_MS_ROUTES, _IPV6_ONLY, _RAPID_COMMIT)
"""RFC 8925 §3.3 for the second: a guest that did not ask would be left without IPv4."""
_KEPT = (*_HEADING, _RAPID_COMMIT, _SUBNET_MASK, _CLIENT_ID, _RELAY_AGENT, _ROUTES, _ROUTER, _DNS, _MTU)
"""What gets its room first when not everything fits, in this order; all else follows in wire order."""
_NEVER_OVERLOADED = frozenset((*_HEADING, _RAPID_COMMIT, _CLIENT_ID, _RELAY_AGENT))
"""What is looked for in the options field alone, the relay's by RFC 3046 §2.1."""

_END = b"\xff"
_LEAST_MAX_SIZE = 576
"""What every host takes (RFC 2131 §2); a smaller option 57 is illegal (RFC 2132 §9.10)."""
_IP_UDP_BOOTP_END = 20 + 8 + 240 + 1
_NAMES = slice(86, HEAD - 4)
"""Where `sname` and `file` stand in a template's head, one after the other."""
_SNAME_SIZE, _FILE_SIZE = 64, 128
_OVERLOAD_FLAG = bytes((_OVERLOAD, 1))
_IN_OPTIONS, _IN_FILE, _IN_SNAME = range(3)
"""In the order in which a client reads them (RFC 2131 §4.1); as numbers, the bits of option 52."""


class Fields:
    """The three fields of a reply as they are on the wire, and the codes of options that had no room."""

    __slots__ = ("dropped", "names", "options")

    def __init__(self, names: bytes, options: bytes, dropped: tuple[int, ...]) -> None:
        self.names = names
        """`sname` and `file`."""
        self.options = options
        self.dropped = dropped


def fields(request: Request, replies: Replies, kind: int, *, rapid: bool) -> Fields:
    """Choose the options and place as many as the client and the tap have room for."""
    template = replies.templates[kind]
    options = dict(template.options)
    order = _order(request, options, kind, rapid=rapid)
    names = template.head[_NAMES]
    room = min(max(request.max_size, _LEAST_MAX_SIZE), replies.mtu) - _IP_UDP_BOOTP_END
    placed = _place(options, order, (room,))
    # Firmware boots from what the names say: where they say something, they carry nothing else.
    if len(placed) < len(order) and not any(names):
        more = _place(options, order, (room - len(_OVERLOAD_FLAG) - 1, _FILE_SIZE - 1, _SNAME_SIZE - 1))
        if any(more.values()):
            placed = more
            names = _overload(options, order, placed)
    dropped = tuple(code for code in order if code not in placed)
    return Fields(names, _written(options, order, placed, _IN_OPTIONS), dropped)


def _order(request: Request, options: dict[int, bytes], kind: int, *, rapid: bool) -> list[int]:
    """The codes to send, in wire order; what the client is to get back is added to `options`."""
    asked = b"" if kind == NAK else request.parameter_request_list  # a NAK has nothing to choose from (table 3)
    if request.fqdn and kind != NAK:
        options[_FQDN] = tlvs(_FQDN, _answered(request.fqdn))
    order = _wire_order(options, asked, rapid=rapid)
    for code, value in ((_CLIENT_ID, request.client_id), (_RELAY_AGENT, request.relay_agent)):
        if value:  # RFC 6842 §3 and RFC 3046 §2.2: given back as they came, the relay's last
            options[code] = tlvs(code, value)
            order.append(code)
    return order


def _wire_order(options: dict[int, bytes], asked: bytes, *, rapid: bool) -> list[int]:
    """The heading, what was asked for in the client's order (RFC 2132 §9.8), then what it needs all the same."""
    codes = [code for code in _HEADING if code in options] + [_RAPID_COMMIT] * rapid
    if asked:
        codes += [code for code in asked if code in options and code != _RAPID_COMMIT]
        codes += [code for code in _IMPORTANT if code in options]
    else:
        codes += [code for code in options if code not in _UNASKED_NEVER]
    order = list(dict.fromkeys(codes))
    if _SUBNET_MASK in order and _ROUTER in order:  # RFC 2132 §3.3: the mask MUST be first
        mask, router = order.index(_SUBNET_MASK), order.index(_ROUTER)
        if mask > router:
            order.insert(router, order.pop(mask))
    return order


def _answered(fqdn: bytes) -> bytes:
    """Option 81 in a reply (RFC 4702 §3, §4): the client's name as it came, and that nobody will touch the DNS.

    N says so, S is zero then, O that the client's S was not followed; E is the client's; both RCODEs are 255.
    """
    overridden = (fqdn[0] & 1) << 1
    return bytes((fqdn[0] & 4 | overridden | 8, 255, 255)) + fqdn[3:]


def _place(options: dict[int, bytes], order: list[int], rooms: tuple[int, ...]) -> dict[int, int]:
    """Which field each option goes into, whole: the first with room for it. What fits nowhere is left out."""
    left = list(rooms)
    placed: dict[int, int] = {}
    for code in dict.fromkeys((*(code for code in _KEPT if code in order), *order)):
        size = len(options[code])
        for field in range(1 if code in _NEVER_OVERLOADED else len(left)):
            if size <= left[field]:
                left[field] -= size
                placed[code] = field
                break
    return placed


def _overload(options: dict[int, bytes], order: list[int], placed: dict[int, int]) -> bytes:
    """`sname` and `file` with options in them, each with an End of its own (RFC 2131 §4.1); adds option 52."""
    which = sum(set(placed.values()))
    options[_OVERLOAD], placed[_OVERLOAD] = _OVERLOAD_FLAG + bytes((which,)), _IN_OPTIONS
    order.insert(sum(code in placed for code in _HEADING), _OVERLOAD)
    sname, file = (_written(options, order, placed, field) for field in (_IN_SNAME, _IN_FILE))
    return sname.ljust(_SNAME_SIZE, b"\0") + file.ljust(_FILE_SIZE, b"\0")


def _written(options: dict[int, bytes], order: list[int], placed: dict[int, int], field: int) -> bytes:
    """The options of one field in wire order, ended. A name that carries none stays empty."""
    block = b"".join(options[code] for code in order if placed.get(code) == field)
    return block + _END if block or field == _IN_OPTIONS else b""
