"""Frames that no honest guest sends, each with the reason for which it is ignored, or its event."""

from __future__ import annotations

import struct

from tests.testlib.ipv6.messages import (
    CLIENT_DUID,
    CLIENT_ID,
    ELAPSED,
    FQDN,
    IA_NA,
    IA_PD,
    IA_TA,
    IAADDR,
    IAPREFIX,
    ORO,
    OTHER,
    POD,
    RAPID_COMMIT,
    SERVER,
    SERVER_DUID,
    SERVER_ID,
    dhcpv6,
    frame,
    ia_na,
    ia_pd,
    ia_ta,
    iaaddr,
    option,
    oro,
    packed,
    solicit,
    to_us,
)

FROM_CLIENT = option(CLIENT_ID, CLIENT_DUID)
SOLICIT = frame(solicit())
NOTHING = bytes(8)
"""T1 and T2, or lifetimes."""


def asking(*options: bytes) -> bytes:
    """A SOLICIT of the client with nothing but these options."""
    return frame(dhcpv6(1, FROM_CLIENT, *options))


def association(code: int, *inside: bytes) -> bytes:
    """An IA of that kind with any octets in it."""
    return option(code, b"iaid" + (b"" if code == IA_TA else NOTHING) + b"".join(inside))


def many(count: int) -> list[str]:
    """Addresses that are not the pod's."""
    return [f"2001:db8:ffff::{number:x}" for number in range(1, count + 1)]


VECTORS: dict[str, tuple[bytes, str]] = {
    # Ethernet and IPv6
    "no octet": (b"", "ipv6_short"),
    "cut within the IPv6 header": (SOLICIT[:53], "ipv6_short"),
    "cut within the UDP header": (SOLICIT[:61], "ipv6_short"),
    "cut within the options": (SOLICIT[:-1], "ipv6_length"),
    "IPv6 length behind the end": (frame(solicit(), length=2000), "ipv6_length"),
    "IPv6 length of 0, a jumbogram's": (frame(solicit(), length=0), "ipv6_length"),
    "version 4 in an IPv6 frame": (frame(solicit(), version=4), "not_ipv6"),
    "a fragment": (frame(solicit(), protocol=44), "ipv6_extension_header"),
    "hop-by-hop options": (frame(solicit(), protocol=0), "ipv6_extension_header"),
    "from a multicast address": (frame(solicit(), source="ff02::1:2"), "ipv6_source"),
    "a wrong UDP checksum": (frame(solicit(), checksum=0x1234), "ipv6_checksum"),
    "no UDP checksum": (frame(solicit(), checksum=0), "ipv6_checksum"),
    # UDP
    "to the client's port": (frame(solicit(), dport=546), "dhcpv6_port"),
    "UDP length behind the end": (frame(solicit(), udp_length=2000), "dhcpv6_udp_length"),
    "UDP length of the header alone": (frame(solicit(), udp_length=8), "dhcpv6_udp_length"),
    "UDP length one short": (frame(solicit(), udp_length=len(solicit()) + 7), "dhcpv6_udp_length"),
    "half a transaction id": (frame(b"\1\0\0"), "dhcpv6_udp_length"),
    "an empty datagram": (frame(b""), "dhcpv6_udp_length"),
    # addresses
    "unicast to the server": (frame(solicit(), destination=SERVER), "dhcpv6_destination"),
    "to all nodes": (frame(solicit(), destination="ff02::1"), "dhcpv6_destination"),
    "to all servers of the site": (frame(solicit(), destination="ff05::1:3"), "dhcpv6_destination"),
    "from the loopback address": (frame(solicit(), source="::1"), "dhcpv6_source"),
    "from no address": (frame(solicit(), source="::"), "dhcpv6_source"),
    "from a global address": (frame(solicit(), source=POD), "dhcpv6_source"),
    # messages
    "ADVERTISE of a guest": (frame(to_us(2, ia_na(7, POD))), "dhcpv6_message_type"),
    "REPLY of a guest": (frame(to_us(7, ia_na(7, POD))), "dhcpv6_message_type"),
    "RECONFIGURE of a guest": (frame(to_us(10, option(19, b"\5"))), "dhcpv6_message_type"),
    "RELAY-FORW in itself": (
        frame(b"\x0c\0" + bytes(32) + option(9, b"\x0c\0" + bytes(32))),
        "dhcpv6_message_type",
    ),
    "RELAY-REPL": (frame(b"\x0d\0" + bytes(32)), "dhcpv6_message_type"),
    "LEASEQUERY": (frame(dhcpv6(14, FROM_CLIENT)), "dhcpv6_message_type"),
    "message type 255": (frame(dhcpv6(255)), "dhcpv6_message_type"),
    # options
    "half an option's head": (asking(b"\0\6\0"), "dhcpv6_option_past_end"),
    "an option that ends behind the end": (asking(option(16, b"x", 2)), "dhcpv6_option_past_end"),
    "an option of 65535 octets": (asking(option(65535, b"", 65535)), "dhcpv6_option_past_end"),
    "33 options": (asking(*[option(65000)] * 32), "dhcpv6_too_many_options"),
    "350 empty options": (asking(*[option(0)] * 350), "dhcpv6_too_many_options"),
    "client identifier of no octet": (frame(solicit(client_id=b"")), "dhcpv6_duid_length"),
    "client identifier of a type alone": (frame(solicit(client_id=b"\0\1")), "dhcpv6_duid_length"),
    "client identifier of 131 octets": (frame(solicit(client_id=bytes(131))), "dhcpv6_duid_length"),
    "client identifier of 1300 octets": (frame(solicit(client_id=bytes(1300))), "dhcpv6_duid_length"),
    "server identifier of no octet": (frame(dhcpv6(3, FROM_CLIENT, option(SERVER_ID))), "dhcpv6_duid_length"),
    "two client identifiers": (asking(FROM_CLIENT), "dhcpv6_option_twice"),
    "two server identifiers": (frame(to_us(3, option(SERVER_ID, SERVER_DUID))), "dhcpv6_option_twice"),
    "two lists of options": (asking(oro(23), oro(24)), "dhcpv6_option_twice"),
    "two elapsed times": (asking(option(ELAPSED, b"\0\0"), option(ELAPSED, b"\0\0")), "dhcpv6_option_twice"),
    "half a code in the list of options": (asking(option(ORO, b"\0\x17\0")), "dhcpv6_option_length"),
    "rapid commit with a value": (asking(option(RAPID_COMMIT, b"\1")), "dhcpv6_option_length"),
    "a name of 256 octets": (asking(option(FQDN, bytes(257))), "dhcpv6_option_length"),
    # IAs
    "an IA_NA of 11 octets": (asking(option(IA_NA, bytes(11))), "dhcpv6_ia_length"),
    "an IA_NA of no octet": (asking(option(IA_NA)), "dhcpv6_ia_length"),
    "an IA_TA of 3 octets": (asking(option(IA_TA, bytes(3))), "dhcpv6_ia_length"),
    "an IA_PD of 11 octets": (asking(option(IA_PD, bytes(11))), "dhcpv6_ia_length"),
    "half an option's head in an IA": (asking(association(IA_NA, b"\0\5\0")), "dhcpv6_ia_overrun"),
    "an address that ends behind its IA": (
        asking(association(IA_NA, option(IAADDR, packed(POD) + NOTHING, 25)), oro(23)),
        "dhcpv6_ia_overrun",
    ),
    "an address that ends with its message, not its IA": (
        asking(association(IA_NA, struct.pack("!HH", IAADDR, 24)), option(16, packed(POD) + NOTHING)),
        "dhcpv6_ia_overrun",
    ),
    "a prefix that ends behind its IA": (
        asking(association(IA_PD, option(IAPREFIX, b"", 25))),
        "dhcpv6_ia_overrun",
    ),
    "an address of 15 octets": (asking(association(IA_NA, option(IAADDR, bytes(23)))), "dhcpv6_address_length"),
    "a prefix of 15 octets": (asking(association(IA_PD, option(IAPREFIX, bytes(24)))), "dhcpv6_address_length"),
    "two IAs of one IAID": (asking(ia_na(7), ia_na(7)), "dhcpv6_ia_twice"),
    "nine IAs": (asking(*map(ia_na, range(9))), "dhcpv6_too_many_ias"),
    "nine IAs of all kinds": (
        asking(*map(ia_na, range(3)), *map(ia_ta, range(3)), *map(ia_pd, range(3))),
        "dhcpv6_too_many_ias",
    ),
    "65 addresses": (asking(ia_na(7, *many(65))), "dhcpv6_too_many_addresses"),
    "65 addresses in two IAs": (asking(ia_na(7, *many(64)), ia_na(8, OTHER)), "dhcpv6_too_many_addresses"),
    # what is well formed, and asks for more than there is
    "64 addresses that are over": (frame(to_us(5, ia_na(7, *many(64)))), "reply_too_long"),
    "an IA in an IA": (asking(association(IA_NA, ia_na(8, POD))), "advertise"),
    "an address in an address": (
        asking(association(IA_NA, option(IAADDR, packed(POD) + NOTHING + iaaddr(OTHER)))),
        "advertise",
    ),
    "an address outside of an IA": (asking(ia_na(7), iaaddr(OTHER)), "advertise"),
    "200 options asked for": (asking(ia_na(7), oro(*range(200))), "advertise"),
    "a name with a label behind its end": (asking(ia_na(7), oro(39), option(FQDN, b"\1\x3fvm")), "advertise"),
    "no flags before the name": (asking(ia_na(7), oro(39), option(FQDN)), "advertise"),
}
