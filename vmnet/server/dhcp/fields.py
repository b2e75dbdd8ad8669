"""Which options a reply carries, in which order, and in which of BOOTP's three fields. RFC 2131 §4.1, RFC 2132.

Standard library only, and little of it: the server process reads this room.
"""

from __future__ import annotations

from vmnet.server.dhcp.replies import HEAD, NAK, tlvs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vmnet.server.dhcp.replies import Replies
    from vmnet.server.dhcp.request import Request

_SUBNET_MASK, _ROUTER, _DNS, _MTU, _NTP, _SEARCH, _ROUTES = 1, 3, 6, 26, 42, 119, 121
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
"""What gets its room first when not everything fits, in this order; all else follows in wire order, what is short
before what is long."""
_NEVER_OVERLOADED = frozenset((*_HEADING, _RAPID_COMMIT, _CLIENT_ID, _RELAY_AGENT))
"""What is looked for in the options field alone, the relay's by RFC 3046 §2.1."""

_END = b"\xff"
LEAST_MAX_SIZE = 576
"""What every host takes (RFC 2131 §2); a smaller option 57 is illegal (RFC 2132 §9.10)."""
_IP_UDP_BOOTP_END = 20 + 8 + 240 + 1
_NAMES = slice(86, HEAD - 4)
"""Where `sname` and `file` stand in a template's head, one after the other."""
_SNAME_SIZE, _FILE_SIZE = 64, 128
_OVERLOAD_FLAG = bytes((_OVERLOAD, 1))
_LONGEST_OPTION = 255
_IN_OPTIONS, _IN_FILE, _IN_SNAME = range(3)
"""In the order in which a client reads them (RFC 2131 §4.1); as numbers, the bits of option 52."""


_LARGE, _LEAST = 64, 32
"""Octets above which an option waits until those that the guest needs have their room, and how many it is sure of
while a longer list before it is cut."""


class Fields:
    """The three fields of a reply as they are on the wire, and what had no room."""

    __slots__ = ("left_out", "names", "options")

    def __init__(self, names: bytes, options: bytes, left_out: dict[int, tuple[int, int]]) -> None:
        self.names = names
        """`sname` and `file`."""
        self.options = options
        self.left_out = left_out
        """Of an option that is not there whole, by its code: how many of its values are, and of how many."""


def fields(request: Request, replies: Replies, kind: int, *, rapid: bool) -> Fields:
    """Choose the options and place as much as the client and the tap have room for."""
    template = replies.templates[kind]
    options = dict(template.options)
    order = _order(request, options, kind, rapid=rapid)
    names = template.head[_NAMES]
    size = min(max(request.max_size, LEAST_MAX_SIZE), replies.mtu)
    layout = Layout(options, order, rooms(size, overload=False))
    # Firmware boots from what the names say: where they say something, they carry nothing else.
    if not layout.is_whole and not any(names):
        more = Layout(options, order, rooms(size, overload=True))
        if more.overload:
            layout = more
            layout.placed[_OVERLOAD] = {_IN_OPTIONS: _OVERLOAD_FLAG + bytes((more.overload,))}
            order.insert(sum(code in layout.placed for code in _HEADING), _OVERLOAD)
            sname, file = (layout.written(field) for field in (_IN_SNAME, _IN_FILE))
            names = sname.ljust(_SNAME_SIZE, b"\0") + file.ljust(_FILE_SIZE, b"\0")
    return Fields(names, layout.written(_IN_OPTIONS), layout.left_out())


def rooms(size: int, *, overload: bool) -> tuple[int, ...]:
    """Octets for options in each field of a reply that is so long as an IP datagram."""
    room = size - _IP_UDP_BOOTP_END
    return (room - len(_OVERLOAD_FLAG) - 1, _FILE_SIZE - 1, _SNAME_SIZE - 1) if overload else (room,)


class Layout:
    """Which part of each option goes into which field, as far as there is room.

    An option goes whole into the first field with room for it. One that is too long for any is split over several
    (RFC 3396), a list between two values; and only where that is not enough its last values are left out. A client
    may want the pieces one after the other, so one option at most goes on from a field to the next.
    """

    __slots__ = ("_left", "_options", "_order", "_rooms", "cut", "placed")

    def __init__(self, options: dict[int, bytes], order: list[int], rooms: tuple[int, ...]) -> None:
        self._options = options
        self._order = order
        self._rooms = rooms
        self._left = list(rooms)
        self.placed: dict[int, dict[int, bytes]] = {}
        """By code and field, what is written there."""
        self.cut: dict[int, tuple[int, int]] = {}
        needed = [code for code in _KEPT if code in order]
        others = [code for code in order if code not in needed]
        late = [code for code in needed if not self._whole(code)]
        short = [code for code in others if not late or len(options[code]) <= _LARGE]
        for at, code in enumerate(late):
            self._parts(code, sum(min(len(options[other]), _LEAST) for other in (*late[at + 1 :], *short)))
        last = [code for code in others if code not in short or not self._whole(code)]
        for code in last:
            if not self._whole(code):
                self._parts(code)

    @property
    def is_whole(self) -> bool:
        """Whether nothing had to be left out."""
        return not self.cut and len(self.placed) == len(self._order)

    @property
    def overload(self) -> int:
        """The value of option 52: which fields besides `options` are in use."""
        return sum({field for parts in self.placed.values() for field in parts})

    def left_out(self) -> dict[int, tuple[int, int]]:
        """What is not there whole, in wire order; of an option that is no list 0 of 1."""
        left: dict[int, tuple[int, int]] = {}
        for code in self._order:
            if code in self.cut:
                left[code] = self.cut[code]
            elif code not in self.placed:
                left[code] = 0, len(list_values(code, self._options[code])) if code in _LISTS else 1
        return left

    def written(self, field: int) -> bytes:
        """The options of one field in wire order, ended. A name that carries none stays empty."""
        here = [code for code in self._order if field in self.placed.get(code, ())]
        # What came from the field before is first, what goes on in the next is last.
        here.sort(key=lambda code: (field + 1 in self.placed[code]) - (field - 1 in self.placed[code]))
        block = b"".join(self.placed[code][field] for code in here)
        return block + _END if block or field == _IN_OPTIONS else b""

    def _whole(self, code: int) -> bool:
        """Place an option in one piece, in the first field with room for it."""
        option = self._options[code]
        for field in range(1 if code in _NEVER_OVERLOADED else len(self._left)):
            if len(option) <= self._left[field]:
                self._left[field] -= len(option)
                self.placed[code] = {field: option}
                return True
        return False

    def _parts(self, code: int, reserve: int = 0) -> None:
        """Split an option over the fields, and leave out of a list as many of its last values as must be.

        So many octets of the field `options` stay free for those that come after, half of it at most.
        """
        if code in _NEVER_OVERLOADED:
            return
        reserve = min(reserve, self._left[_IN_OPTIONS] // 2)
        self._left[_IN_OPTIONS] -= reserve
        values = list_values(code, self._options[code])
        best: dict[int, bytes] = {}
        most = 0 if code in _LISTS else len(values) - 1
        for first, end in self._runs():
            parts, count = self._fitting(code, values, first, end)
            if count > most:
                best, most = parts, count
        self._left[_IN_OPTIONS] += reserve
        if not best:
            return
        if most < len(values):
            self.cut[code] = (most, len(values))
        self.placed[code] = best
        for field, part in best.items():
            self._left[field] -= len(part)

    def _runs(self) -> list[tuple[int, int]]:
        """Where an option may begin and end: in one field, or in neighbours that no other one goes on between."""
        fields = len(self._left)
        crossed = {field for parts in self.placed.values() for field in parts if field + 1 in parts}
        if _RELAY_AGENT in self.placed:
            crossed.add(_IN_OPTIONS)  # RFC 3046 §2.1: that one is the last there
        runs = [(field, field + 1) for field in range(fields)]
        runs += [(field, field + 2) for field in range(fields - 1) if field not in crossed]
        if fields > _IN_SNAME and not crossed and self._left[_IN_FILE] == self._rooms[_IN_FILE]:
            runs.append((_IN_OPTIONS, _IN_SNAME + 1))
        return runs

    def _fitting(self, code: int, values: list[bytes], first: int, end: int) -> tuple[dict[int, bytes], int]:
        """As many of the values as the fields from the first to before the end have room for, and how many."""
        if code == _SEARCH:  # names are long: they are split wherever a piece ends (RFC 3397 §2)
            return self._fitting_names(values, first, end)
        ranked, least = _ranked(code, values)
        count = self._filled(code, [values[at] for at in ranked], first, end)[1]
        while count >= least:
            chosen = [values[at] for at in sorted(ranked[:count])]
            parts, fitting = self._filled(code, chosen, first, end)
            if fitting == count:
                return parts, count
            count -= 1  # in their own order the values fill the pieces otherwise
        return {}, 0

    def _fitting_names(self, names: list[bytes], first: int, end: int) -> tuple[dict[int, bytes], int]:
        _, room = self._filled(_SEARCH, _octets(b"".join(names)), first, end)
        count, size = 0, 0
        for name in names:
            size += len(name)
            count += size <= room
        if not count:
            return {}, 0
        return self._filled(_SEARCH, _octets(b"".join(names[:count])), first, end)[0], count

    def _filled(self, code: int, values: list[bytes], first: int, end: int) -> tuple[dict[int, bytes], int]:
        """The first values in pieces of 255 octets at most, field after field, and how many they are."""
        parts: dict[int, bytes] = {}
        field, written, piece = first, b"", b""
        for count, value in enumerate(values):
            while len(piece) + len(value) > min(_LONGEST_OPTION, self._left[field] - len(written) - 2):
                if piece:
                    written, piece = written + tlvs(code, piece), b""
                    continue
                if written:
                    parts[field] = written
                field, written = field + 1, b""
                if field == end:
                    return parts, count
            piece += value
        parts[field] = written + tlvs(code, piece)
        return parts, len(values)


def list_values(code: int, option: bytes) -> list[bytes]:
    """The values of a list as they are on the wire, one after the other; of any other option its octets."""
    value, at = b"", 0
    while at < len(option):
        value += option[at + 2 : at + 2 + option[at + 1]]
        at += 2 + option[at + 1]
    size, values, at = _LISTS.get(code, _octet), [], 0
    while at < len(value):
        end = at + size(value, at)
        values.append(value[at:end])
        at = end
    return values


def _octets(value: bytes) -> list[bytes]:
    return [value[at : at + 1] for at in range(len(value))]


def _octet(_value: bytes, _at: int) -> int:
    return 1


def _address(_value: bytes, _at: int) -> int:
    return 4


def _domain(value: bytes, at: int) -> int:
    """Octets of a name of RFC 1035 §4.1.4, which ends with an empty label or with a pointer to an earlier one."""
    start = at
    while at < len(value) and 0 < value[at] < _POINTER:
        at += 1 + value[at]
    return at - start + (2 if at < len(value) and value[at] >= _POINTER else 1)


def _route(value: bytes, at: int) -> int:
    """Octets of a route of RFC 3442: length, as many octets of the prefix as it needs, gateway."""
    return 1 + (value[at] + 7) // 8 + 4


_POINTER = 0xC0
_LISTS = {_DNS: _address, _NTP: _address, _SEARCH: _domain, _ROUTES: _route, _MS_ROUTES: _route}
"""Options of which the first values are of use without the rest, and how long the value at an octet is."""


def _ranked(code: int, values: list[bytes]) -> tuple[list[int], int]:
    """Where the values stand, those first that matter most, and how many of them are the least that is of use.

    Of routes these are the default and the way to its gateway.
    """
    places = list(range(len(values)))
    if code not in (_ROUTES, _MS_ROUTES) or not values or values[-1][0]:
        return places, 1
    to_gateway = b"\x20" + values[-1][1:] + bytes(4)
    ranked = sorted(places, key=lambda at: values[at] not in (values[-1], to_gateway))
    return ranked, 1 + (to_gateway in values)


def _order(request: Request, options: dict[int, bytes], kind: int, *, rapid: bool) -> list[int]:
    """The codes to send, in wire order; what the client is to get back is added to `options`."""
    asked = b"" if kind == NAK else request.parameter_request_list  # a NAK has nothing to choose from (table 3)
    if request.fqdn and kind != NAK:
        options[_FQDN] = tlvs(_FQDN, _answered(request.fqdn))
    order = wire_order(options, asked, rapid=rapid)
    for code, value in ((_CLIENT_ID, request.client_id), (_RELAY_AGENT, request.relay_agent)):
        if value:  # RFC 6842 §3 and RFC 3046 §2.2: given back as they came, the relay's last
            options[code] = tlvs(code, value)
            order.append(code)
    return order


def wire_order(options: dict[int, bytes], asked: bytes, *, rapid: bool) -> list[int]:
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
