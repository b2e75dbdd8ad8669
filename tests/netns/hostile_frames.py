"""What guests have crashed, hung or bled DHCP servers with, a named frame each.

`like` names a published flaw of that class where there is one; the frames are our own. Behind it stands what our
server shall make of the frame: a reason to ignore it, an event, or nothing where it stays in the kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.testlib.dhcp.frames import COOKIE, END, OTHER, bootp, message, option

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.netns.raw_client import RawClient

KERNEL = ""
"""The frame never reaches the server."""
DISCOVER_TYPE = option(53, b"\1")
STRANGER = b"\2\0\0\0\0\7"
ALL_ONES, LOOPBACK, MULTICAST = "255.255.255.255", "127.0.0.1", "224.0.0.1"


@dataclass(frozen=True, slots=True)
class Hostile:
    """A frame, as the VM would send it."""

    name: str
    like: str
    made: Callable[[RawClient], bytes]
    becomes: str = "offer"


CLIENT_IDS = (
    Hostile(
        "client id past the end",
        "the length octet is believed",
        lambda vm: vm.bootp(DISCOVER_TYPE + b"\x3d\xff\1\2\3"),
        "option_past_end",
    ),
    Hostile("client id of 32 octets", "CVE-2006-3122", lambda vm: vm.discover(option(61, bytes(32)))),
    Hostile("client id of no octet", "CVE-2010-2156", lambda vm: vm.discover(option(61))),
    Hostile("client id of one octet", "", lambda vm: vm.discover(option(61, b"\1"))),
    Hostile("client id with a DUID cut short", "CVE-2012-3571", lambda vm: vm.discover(option(61, b"\xff\0\0"))),
    Hostile("client id of another MAC", "CVE-2009-1892", lambda vm: vm.discover(option(61, b"\1" + STRANGER))),
    Hostile(
        "client id of 1,275 octets",
        "RFC 3396 pieces overflow",
        lambda vm: vm.discover(*[option(61, b"x" * 255)] * 5),
    ),
    Hostile(
        "client id of 380 pieces",
        "quadratic joining",
        lambda vm: vm.discover(*[option(61, b"x")] * 380),
        "too_many_options",
    ),
)
LENGTHS = (
    Hostile("option without its length", "", lambda vm: vm.bootp(DISCOVER_TYPE + b"\x0c"), "option_past_end"),
    Hostile(
        "length of 255 as the last octet", "", lambda vm: vm.bootp(DISCOVER_TYPE + b"\x0c\xff"), "option_past_end"
    ),
    Hostile("length one too many", "", lambda vm: vm.bootp(DISCOVER_TYPE + b"\x0c\3ab"), "option_past_end"),
    Hostile("length of nothing as the last octet", "", lambda vm: vm.bootp(DISCOVER_TYPE + b"\x0c\0")),
    Hostile("no End", "", lambda vm: vm.bootp(DISCOVER_TYPE)),
    *(
        Hostile(
            f"requested address of {size} octets",
            "CVE-2018-20679, CVE-2019-5747",
            lambda vm, size=size: vm.request(3, option(50, bytes(size))),  # type: ignore[misc]
            "address_length",
        )
        for size in (0, 3, 5)
    ),
    Hostile("server id of no octet", "CVE-2019-5747", lambda vm: vm.request(3, option(54)), "address_length"),
    Hostile("message type of no octet", "", lambda vm: vm.bootp(option(53) + END), "message_type"),
    Hostile("message type of two octets", "", lambda vm: vm.bootp(option(53, b"\1\1") + END), "message_type"),
    Hostile(
        "every fixed option empty",
        "",
        lambda vm: vm.discover(*[option(code) for code in (51, 52, 57, 80)]),
        "ack_rapid_commit",
    ),
    Hostile("maximum size of nothing", "", lambda vm: vm.discover(option(57, b"\0\0"))),
    Hostile("maximum size of 65,535", "", lambda vm: vm.discover(option(57, b"\xff\xff"))),
)
OVERLOADS = (
    Hostile(
        "overload that overloads itself",
        "CVE-2014-6060",
        lambda vm: vm.discover(option(52, b"\3"), file=option(52, b"\3"), sname=option(52, b"\1")),
    ),
    Hostile("overload twice", "", lambda vm: vm.discover(option(52, b"\1"), option(52, b"\2"))),
    Hostile("overload of an unknown value", "", lambda vm: vm.discover(option(52, b"\xff"))),
    Hostile(
        "overload with both fields full and no End",
        "",
        lambda vm: vm.discover(option(52, b"\3"), file=option(12, b"a" * 126), sname=option(12, b"b" * 62)),
    ),
    Hostile(
        "overload past the end of sname",
        "",
        lambda vm: vm.discover(option(52, b"\2"), sname=b"\0" * 60 + b"\x0c\xff"),
        "option_past_end",
    ),
    Hostile(
        "overload that hides another message type",
        "",
        lambda vm: vm.discover(option(52, b"\1"), file=option(53, b"\4") + END),
    ),
)
NAMES = (
    Hostile(
        "FQDN with a label of 64", "CVE-2022-2929", lambda vm: vm.discover(option(81, b"\4\0\0\x40" + b"a" * 64))
    ),
    Hostile("FQDN that points at itself", "", lambda vm: vm.discover(option(81, b"\4\0\0\xc0\0"))),
    Hostile("FQDN cut short", "", lambda vm: vm.discover(option(81, b"\4"))),
    Hostile(
        "search list that points at itself", "CVE-2020-7461", lambda vm: vm.discover(option(119, b"\xc0\0" * 90))
    ),
    Hostile("host name of 1,275 octets", "CVE-2004-0460", lambda vm: vm.discover(*[option(12, b"a" * 255)] * 5)),
    Hostile("host name of format directives", "CVE-2004-1006", lambda vm: vm.discover(option(12, b"%n%s%n%s"))),
    Hostile("host name for a shell", "CVE-2011-2716", lambda vm: vm.discover(option(12, b"$(reboot);`reboot`"))),
    Hostile(
        "host name that is no text", "CVE-2019-6473", lambda vm: vm.discover(option(12, b'\0\xff\xfe\n\r"\\'))
    ),
    Hostile("host name of dots", "CVE-2019-6473", lambda vm: vm.discover(option(12, b"." * 200))),
    Hostile("domain of labels past its end", "CVE-2016-2147", lambda vm: vm.discover(option(15, b"\x3f" * 10))),
)
ENCAPSULATED = (
    Hostile("relay sub-option past the end", "CVE-2018-0172", lambda vm: vm.discover(option(82, b"\1\xff"))),
    Hostile("relay sub-option of no octet", "CVE-2018-0173", lambda vm: vm.discover(option(82, b"\1\0\2\0"))),
    Hostile("relay option of no octet", "CVE-2018-0174", lambda vm: vm.discover(option(82))),
    Hostile("relay options in relay options", "CVE-2018-0174", lambda vm: vm.discover(option(82, _nested(60)))),
    Hostile(
        "relay option of 1,275 octets", "CVE-2017-12240", lambda vm: vm.discover(*[option(82, b"x" * 255)] * 5)
    ),
    Hostile("user class past the end", "CVE-2015-8373", lambda vm: vm.discover(option(77, b"\xffabc"))),
    Hostile(
        "vendor options past the end", "CVE-2015-8373", lambda vm: vm.discover(option(125, b"\0\0\0\1\xff\1"))
    ),
    Hostile("vendor options of no octet", "", lambda vm: vm.discover(option(43), option(60), option(124))),
    Hostile("6rd of no octet", "CVE-2016-2148", lambda vm: vm.discover(option(212))),
    Hostile("classless route of /255", "", lambda vm: vm.discover(option(121, b"\xff\1\2\3\4\5"))),
)
ADDRESSES = (
    Hostile("giaddr", "a reply sent where the client says", lambda vm: vm.discover(giaddr=OTHER), "relayed"),
    Hostile("giaddr of everybody", "", lambda vm: vm.discover(giaddr=ALL_ONES), "relayed"),
    Hostile("request with giaddr", "", lambda vm: vm.request(3, option(50, OTHER), giaddr=LOOPBACK), "relayed"),
    Hostile("inform from loopback", "CVE-2011-2748", lambda vm: vm.request(8, ciaddr=LOOPBACK), "foreign_inform"),
    Hostile("inform from everybody", "", lambda vm: vm.request(8, ciaddr=ALL_ONES), "foreign_inform"),
    Hostile("inform from nobody", "", lambda vm: vm.request(8), "foreign_inform"),
    Hostile(
        "inform from a group",
        "",
        lambda vm: vm.frame(bootp(message(8), chaddr=vm.mac), source=MULTICAST),
        "foreign_inform",
    ),
    Hostile(
        "discover from everybody",
        "CVE-2025-40779: unicast, and nobody to answer",
        lambda vm: vm.frame(bootp(message(1), chaddr=vm.mac), source=ALL_ONES, destination=vm.server_id),
    ),
    Hostile("discover that has an address", "", lambda vm: vm.discover(ciaddr=ALL_ONES)),
    Hostile(
        "renewal of somebody's lease",
        "CVE-2008-3214",
        lambda vm: vm.frame(
            bootp(message(3), chaddr=vm.mac, ciaddr=OTHER), source=OTHER, destination=vm.server_id
        ),
        "nak_renewing",
    ),
    Hostile("rebinding of loopback", "CVE-2008-3214", lambda vm: vm.request(3, ciaddr=LOOPBACK), "nak_rebinding"),
    Hostile(
        "request of another network",
        "CVE-2008-3214",
        lambda vm: vm.request(3, option(50, OTHER)),
        "nak_init_reboot",
    ),
    Hostile("request of nothing", "", lambda vm: vm.request(3), "invalid_request"),
    Hostile("release of somebody's lease", "", lambda vm: vm.request(7, ciaddr=OTHER), "foreign_release"),
    Hostile("decline of somebody's address", "", lambda vm: vm.request(4, option(50, OTHER)), "foreign_decline"),
)
HEADERS = (
    Hostile("cookie only", "CVE-2011-2749", lambda vm: vm.bootp(b""), "no_message_type"),
    Hostile("BOOTP", "CVE-2011-2749", lambda vm: vm.bootp(END, length=300), "no_message_type"),
    Hostile("no cookie", "", lambda vm: vm.discover(cookie=bytes(4)), "cookie"),
    Hostile("half a BOOTP header", "CVE-2021-3592", lambda vm: vm.frame(bytes(100)), "short"),
    Hostile("no BOOTP header", "CVE-2021-3592", lambda vm: vm.frame(b""), "short"),
    Hostile("reply", "a server answers itself", lambda vm: vm.discover(op=2), "bootp_op"),
    Hostile("op of nothing", "", lambda vm: vm.discover(op=0), "bootp_op"),
    Hostile("hardware type of Token Ring", "", lambda vm: vm.discover(htype=6), "hardware_type"),
    *(
        Hostile(
            f"hardware length of {hlen}",
            "a MAC copied by the length it names",
            lambda vm, hlen=hlen: vm.discover(hlen=hlen),  # type: ignore[misc]
            "hardware_type",
        )
        for hlen in (0, 1, 17, 255)
    ),
    Hostile("chaddr of somebody else", "", lambda vm: vm.discover(chaddr=STRANGER), "foreign_chaddr"),
    Hostile("chaddr with a tail", "", lambda vm: vm.discover(chaddr=vm.mac + b"\xff" * 10)),
    Hostile("255 hops", "", lambda vm: vm.discover(hops=255)),
    Hostile("65,535 seconds", "", lambda vm: vm.discover(secs=65535)),
    Hostile("flags that are not ours", "", lambda vm: vm.discover(flags=0x7FFF)),
    Hostile("file and sname without an end", "", lambda vm: vm.discover(file=b"f" * 128, sname=b"s" * 64)),
    Hostile("lease query", "CVE-2022-2928", lambda vm: vm.request(10), "message_type"),
    Hostile("force renew", "CVE-2020-13529", lambda vm: vm.request(9), "message_type"),
    Hostile("message type of 255", "", lambda vm: vm.request(255), "message_type"),
)
LISTS = (
    Hostile("590 empty options", "", lambda vm: vm.discover(*[option(12)] * 590), "too_many_options"),
    Hostile(
        "every option there is",
        "",
        lambda vm: vm.discover(*[option(code) for code in range(83, 255)]),
        "too_many_options",
    ),
    Hostile("1,000 pads", "", lambda vm: vm.bootp(bytes(1000) + DISCOVER_TYPE + END)),
    Hostile("only pads", "", lambda vm: vm.bootp(bytes(1000)), "no_message_type"),
    Hostile("only Ends", "", lambda vm: vm.bootp(END * 1000), "no_message_type"),
    Hostile("options after End", "", lambda vm: vm.bootp(DISCOVER_TYPE + END + option(53, b"\7") + b"\x0c\xff")),
    Hostile("two message types", "", lambda vm: vm.bootp(DISCOVER_TYPE + option(53, b"\7") + END)),
    Hostile("a list that asks for everything", "", lambda vm: vm.discover(option(55, bytes(range(255))))),
    Hostile("a list that asks a thousand times", "", lambda vm: vm.discover(*[option(55, b"\x79" * 250)] * 4)),
    Hostile("a cookie in the options", "", lambda vm: vm.bootp(COOKIE + DISCOVER_TYPE + END), "option_past_end"),
)
FRAMES = (
    Hostile(
        "UDP length of less than a header", "CVE-2015-8605", lambda vm: _lying(vm, udp_length=7), "udp_length"
    ),
    Hostile("UDP length of less than BOOTP", "CVE-2015-8605", lambda vm: _lying(vm, udp_length=200), "udp_length"),
    Hostile("UDP length past the frame", "CVE-2015-8605", lambda vm: _lying(vm, udp_length=65535), "udp_length"),
    Hostile("IP length past the frame", "", lambda vm: _lying(vm, total_length=65535), "ip_length"),
    Hostile("IP length of less than a header", "", lambda vm: _lying(vm, total_length=19), "ip_length"),
    Hostile("IP header of 60 octets", "", lambda vm: _lying(vm, ip_options=b"\1" * 40)),
    Hostile("IP version 6 in IPv4", "", lambda vm: _lying(vm, version=6), "ip_header"),
    Hostile("wrong UDP checksum", "", lambda vm: _lying(vm, checksum=1), "udp_checksum"),
    Hostile("octets behind the message", "", lambda vm: _lying(vm, trailer=b"\x0c\xff" * 99)),
    Hostile("jumbo frame", "", lambda vm: vm.discover(length=8000), "too_long"),
    Hostile("first fragment", "", lambda vm: _lying(vm, fragment=0x2000), KERNEL),
    Hostile("later fragment", "", lambda vm: _lying(vm, fragment=1), KERNEL),
    Hostile("in a VLAN", "", lambda vm: _lying(vm, tag=b"\x81\0\0\5"), KERNEL),
    Hostile("in two VLANs", "", lambda vm: _lying(vm, tag=b"\x88\xa8\0\5\x81\0\0\0"), KERNEL),
    Hostile("from nobody's MAC", "", lambda vm: _lying(vm, source_mac=bytes(6)), "foreign_source_mac"),
)
HOSTILE = (
    *CLIENT_IDS,
    *LENGTHS,
    *OVERLOADS,
    *NAMES,
    *ENCAPSULATED,
    *ADDRESSES,
    *HEADERS,
    *LISTS,
    *FRAMES,
)


def _lying(vm: RawClient, **fields: object) -> bytes:
    """A good DISCOVER in a frame that is not."""
    return vm.frame(bootp(message(1), chaddr=vm.mac), **fields)


def _nested(depth: int) -> bytes:
    """Relay options within relay options."""
    inner = b""
    for _ in range(depth):
        inner = option(82, inner)
    return inner
