"""What of a lease has no room in a reply to a client that does not say it takes more than 576 octets. Pure."""

from __future__ import annotations

from socket import inet_aton
from typing import TYPE_CHECKING

from vmnet.model.left_out import DHCPV4, sentences
from vmnet.server.dhcp import domain_search
from vmnet.server.dhcp.fields import LEAST_MAX_SIZE, Layout, rooms, wire_order
from vmnet.server.dhcp.replies import SMALLEST_IP, tlvs

if TYPE_CHECKING:
    from vmnet.model.lease import Lease

_CLIENT_ID = 61, 19
"""Its code and length: as RFC 4361 has clients make it, which is the longest that is common."""


def left_out(lease: Lease) -> list[str]:
    """Say what a client that asks for nothing in particular, and in 576 octets, is not told."""
    options = _options(lease)
    size = min(LEAST_MAX_SIZE, max(lease.interface_mtu or LEAST_MAX_SIZE, SMALLEST_IP))
    order = [*wire_order(options, b"", rapid=False), _CLIENT_ID[0]]
    options[_CLIENT_ID[0]] = tlvs(_CLIENT_ID[0], bytes(_CLIENT_ID[1]))
    layout = Layout(options, order, rooms(size, overload=False))
    if not layout.is_whole and not (lease.boot.file and len(lease.boot.file) < 128):
        layout = Layout(options, order, rooms(size, overload=True))
    return [
        f"{said}: a DHCP message of {size} octets has no room for more; a guest that takes no longer one "
        "(option 57) does not get the rest"
        for said in sentences(layout.left_out(), DHCPV4)
    ]


def _options(lease: Lease) -> dict[int, bytes]:
    """The options of an ACK; of those whose value plays no part here, only as long as they are."""
    lengths = {
        **dict.fromkeys((54, 51, 1, 58, 59), 4),
        53: 1,
        3: 4 * bool(lease.router),
        6: 4 * len(lease.nameservers),
        12: len(lease.hostname),
        15: len(lease.domain_search[0]) if lease.domain_search else 0,
        26: 2 * bool(lease.interface_mtu),
        28: 4 * bool(lease.broadcast),
        42: 4 * len(lease.ntp_servers),
        60: len(lease.boot.vendor_class),
        66: len(lease.boot.server),
        67: len(lease.boot.file),
        **{option.code: len(option.value) // 2 for option in lease.options},
    }
    options = {code: tlvs(code, bytes(length)) for code, length in lengths.items() if length}
    if lease.domain_search:
        options[119] = tlvs(119, domain_search.encode(lease.domain_search))
    if lease.classless_routes:
        routes = (_route(route.dst, route.gateway) for route in lease.classless_routes)
        options[121] = tlvs(121, b"".join(routes))
    return dict(sorted(options.items()))


def _route(dst: str, gateway: str) -> bytes:
    """A route as RFC 3442 has it."""
    address, _, length = dst.partition("/")
    bits = int(length)
    return bytes((bits,)) + inet_aton(address)[: (bits + 7) // 8] + inet_aton(gateway)
