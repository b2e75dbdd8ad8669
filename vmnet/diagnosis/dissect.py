"""What a frame says, in one line: scapy reads it, and nothing in it is believed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vmnet.compile.scapy_layers import dissected, ipv6_layers, layers

if TYPE_CHECKING:
    from collections.abc import Callable

_MESSAGES = ("", "DISCOVER", "OFFER", "REQUEST", "DECLINE", "ACK", "NAK", "RELEASE", "INFORM")
"""RFC 2132 §9.6."""
_ARP_OPERATIONS = {1: "who-has", 2: "is-at"}
_ETHERNET_HEADER = 14
_HOST_NAME = "host name"
_NOWHERE = ("0.0.0.0", "::")  # noqa: S104 # an address that is none


def summary(frame: bytes) -> str:
    """Say what the frame is about. It may hold any character: `vmnet.show.log.escape` is for whoever shows it."""
    if len(frame) <= _ETHERNET_HEADER:
        return f"the header of a frame of type 0x{frame[12:].hex()}"
    try:
        return _summary(dissected(frame))
    except Exception as error:  # noqa: BLE001 # scapy's errors are of any kind, also when a field is asked for
        return f"unreadable: {type(error).__name__}"


def host_names(frame: bytes) -> list[str]:
    """The names that a frame's `summary` says, since a guest tells its own (RFC 2132 §3.14)."""
    _, found, name = summary(frame).partition(f"{_HOST_NAME} ")
    return [name] if found else []


def _summary(packet: Any) -> str:  # noqa: ANN401 # scapy is untyped
    ipv4, ipv6 = layers(), ipv6_layers()
    readers: tuple[tuple[Any, Callable[[Any], str]], ...] = (
        (ipv4.ARP, _arp),
        (ipv4.DHCP, lambda _options: _dhcp(packet)),
        (ipv4.BOOTP, lambda message: f"BOOTP xid 0x{message.xid:08x}"),
        (ipv6.ICMPv6ND_RS, lambda _message: "RS"),
        (ipv6.ICMPv6ND_RA, lambda message: _advertisement(packet, message)),
        (ipv6.ICMPv6ND_NS, lambda message: _solicitation(packet, message)),
        (ipv6.ICMPv6ND_NA, lambda message: f"NA {message.tgt}{_link_layer(packet, ipv6.ICMPv6NDOptDstLLAddr)}"),
    )
    for layer, read in readers:
        if layer in packet:
            return read(packet[layer])
    message = _dhcpv6_message(packet)
    return _dhcpv6(packet, message) if message is not None else str(packet.summary())


def _arp(arp: Any) -> str:  # noqa: ANN401
    if arp.op == 1 and arp.psrc in _NOWHERE:
        return f"ARP probe for {arp.pdst}"
    if arp.psrc == arp.pdst:
        return f"ARP announcement of {arp.psrc} at {arp.hwsrc}"
    if arp.op == 1:
        return f"ARP who-has {arp.pdst} tell {arp.psrc}"
    return f"ARP {arp.psrc} {_ARP_OPERATIONS.get(arp.op, f'operation {arp.op}')} {arp.hwsrc}"


def _dhcp(packet: Any) -> str:  # noqa: ANN401
    scapy = layers()
    bootp = packet[scapy.BOOTP]
    options = {option[0]: option[1] for option in packet[scapy.DHCP].options if isinstance(option, tuple)}
    kind = options.get("message-type", 0)
    name = _MESSAGES[kind] if 0 < kind < len(_MESSAGES) else f"message {kind}"
    facts = (
        ("yiaddr", bootp.yiaddr),
        ("ciaddr", bootp.ciaddr),
        ("wants", options.get("requested_addr", "")),
        ("server", options.get("server_id", "")),
        ("lease", options.get("lease_time", "")),
        (_HOST_NAME, _text(options.get("hostname", b""))),
    )
    said = [f"{word} {value}" for word, value in facts if value not in ("", *_NOWHERE)]
    return ", ".join((f"DHCP {name} xid 0x{bootp.xid:08x}", *said))


def _advertisement(packet: Any, message: Any) -> str:  # noqa: ANN401
    scapy = ipv6_layers()
    prefixes = []
    option = message.payload
    while option:
        if isinstance(option, scapy.ICMPv6NDOptPrefixInfo):
            prefixes.append(f"{option.prefix}/{option.prefixlen}")
        option = option.payload
    on_link = f", prefix {', '.join(prefixes)}" if prefixes else ""
    return f"RA from {packet[scapy.IPv6].src}, router for {message.routerlifetime} s{on_link}"


def _solicitation(packet: Any, message: Any) -> str:  # noqa: ANN401
    source = packet[ipv6_layers().IPv6].src
    return f"NS probe for {message.tgt}" if source in _NOWHERE else f"NS who-has {message.tgt} tell {source}"


def _link_layer(packet: Any, option: Any) -> str:  # noqa: ANN401
    return f" is-at {packet[option].lladdr}" if option in packet else ""


def _dhcpv6_message(packet: Any) -> Any:  # noqa: ANN401
    """The DHCPv6 message that UDP carries; None for none."""
    udp = layers().UDP
    if udp not in packet or 547 not in (packet[udp].dport, packet[udp].sport):
        return None
    message = packet[udp].payload
    return message if hasattr(message, "msgtype") else None


def _dhcpv6(packet: Any, message: Any) -> str:  # noqa: ANN401
    scapy = ipv6_layers()
    number = f" xid 0x{message.trid:06x}" if hasattr(message, "trid") else ""
    addresses: list[str] = []
    option = message.payload
    while option:
        inner = getattr(option, "ianaopts", ())
        addresses += [str(leased.addr) for leased in inner if isinstance(leased, scapy.DHCP6OptIAAddress)]
        option = option.payload
    kind = type(message).__name__.removeprefix("DHCP6_")
    return ", ".join(
        (f"DHCPv6 {_MESSAGES6.get(kind, kind)}{number}", f"from {packet[scapy.IPv6].src}", *addresses)
    )


_MESSAGES6 = {"InfoRequest": "INFORMATION-REQUEST"} | {
    name: name.upper()
    for name in ("Solicit", "Advertise", "Request", "Confirm", "Renew", "Rebind", "Reply", "Release", "Decline")
}
"""scapy's class names, and RFC 9915's words."""


def _text(value: Any) -> str:  # noqa: ANN401 # scapy gives octets or text
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
