"""What a journal or a note says, checked value by value as what a user types is: nothing else of vmnet reads them.

Who can write there may be somebody in the pod: a note is alternative names of its own NIC, a state directory may
be a volume of it. What is read here goes on into paths, nft's rules, netlink messages and the log.

    text → JSON of the right fields and types, of here and now (schema) → each value → what belongs together
"""

from __future__ import annotations

from dataclasses import replace
from socket import AF_INET, AF_INET6, inet_pton
from typing import TYPE_CHECKING, Any

from vmnet.bindings.names import bridge_name, nic_name
from vmnet.model.codec import encode
from vmnet.model.lease import ArpEntry, ClasslessRoute, Lease, Lease6, LeasedAddress, Router
from vmnet.model.links import (
    FOREVER,
    IFNAME_BYTES,
    Address,
    Lookup,
    Neighbour,
    ProxyNeighbour,
    Route,
    is_link_name,
)
from vmnet.model.pod import PodInterface
from vmnet.model.settings import ISOLATIONS, Boot, RawOption, Settings, Told
from vmnet.saved.schema import Journal, understand
from vmnet.settings import config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vmnet.saved.schema import Here

    Check = tuple[str, Callable[[Any], bool]]

_LARGEST_IFINDEX = 0x7FFFFFFF
_LAST_METRIC = 15
"""RTAX_QUICKACK (linux/rtnetlink.h): the last one that is a number and that `kernel.netlink` names."""
_LONGEST_HEX = 3 * 1024
"""Of an option's value: what the configuration file takes."""
_LONGEST_SHOWN = 64


def understood(text: str | bytes, here: Here) -> Journal | None:
    """Return the journal that the text holds; None where it is of another boot.

    Raises:
        UnknownSchemaError: it is of a newer vmnet, or of one too old.
        ValueError: it is no journal of this namespace, or a value in it is not such as vmnet saves.
    """
    journal = understand(text, here)
    if journal is not None:
        refuse_impossible(journal)
    return journal


def text_of(journal: Journal, here: Here) -> str:
    """Return the journal as text that is understood as just this journal.

    Raises:
        ValueError: it would not be.
    """
    text = encode(journal)
    if understood(text, here) != journal:
        raise ValueError("it would be read as another")
    return text


def refuse_impossible(journal: Journal) -> None:
    """Check every value, and that they belong together.

    Raises:
        ValueError: one is not such as vmnet saves; it names the path to it.
    """
    for part in ("pod", "settings", "lease", "lease6"):
        if (value := getattr(journal, part)) is not None:
            _refuse(value, f"Journal.{part}")
    pod, tap = journal.pod, journal.settings.tap
    entries: tuple[Address | Route | Neighbour | ProxyNeighbour, ...] = (
        *pod.addresses,
        *pod.routes,
        *pod.neighbours,
        *pod.proxies,
    )
    for entry in entries:
        if entry.ifname != pod.ifname:
            raise ValueError(f"{type(entry).__name__} of {entry.ifname} among those of {pod.ifname}")
    names = (pod.ifname, tap, bridge_name(pod.ifname), nic_name(pod.ifname))
    if len(set(names)) != len(names):
        raise ValueError(f"two of the links {', '.join(names)} would have one name")


def not_from_a_note(settings: Settings) -> Settings:
    """Leave out of a note's settings what could weaken the node: users, owners, a sandbox that is off."""
    default = Settings()
    return replace(settings, **{name: getattr(default, name) for name in _OF_THE_CALLER})


_OF_THE_CALLER = ("owner", "group", "sandbox", "server_user", "server_group")


def _refuse(value: Any, path: str) -> None:  # noqa: ANN401 # any dataclass of the model
    checks = CHECKS.get(type(value), {})
    for name in value.__dataclass_fields__:
        place = f"{path}.{name}"
        for item in _members(getattr(value, name)):
            if hasattr(item, "__dataclass_fields__"):
                _refuse(item, place)
            elif item is not None and type(item) is not bool:
                what, fits = checks.get(name) or (_NUMBER if type(item) is int else _SENTENCE)
                if not fits(item):
                    raise ValueError(f"{place} {ascii(item)[:_LONGEST_SHOWN]} is not {what}")
    for what, holds in _TOGETHER.get(type(value), ()):
        if not holds(value):
            raise ValueError(f"{path}: {what}")


def _members(value: object) -> Iterator[object]:
    if isinstance(value, tuple):
        yield from value
    else:
        yield value


def _between(least: int, most: int) -> Check:
    return f"a number from {least} to {most}", lambda number: least <= number <= most


def _or_empty(check: Check) -> Check:
    what, fits = check
    return f"{what} or empty", lambda text: not text or fits(text)


def _one_of(words: tuple[str, ...]) -> Check:
    return f"one of {', '.join(words)}", lambda text: text in words


def _same(check: Callable[[str], str]) -> Callable[[str], bool]:
    """Whether a check of what users type takes it, and leaves it as it is."""

    def fits(text: str) -> bool:
        try:
            return check(text) == text
        except ValueError:
            return False

    return fits


def _is_address(text: str, families: tuple[int, ...] = (AF_INET, AF_INET6)) -> bool:
    family = AF_INET6 if ":" in text else AF_INET
    try:
        inet_pton(family, text)
    except (OSError, ValueError):
        return False
    return family in families


def _is_prefix(text: str, families: tuple[int, ...] = (AF_INET, AF_INET6)) -> bool:
    address, _, length = text.partition("/")
    digits = length.isascii() and length.isdecimal() and len(length) <= 3
    return digits and _is_address(address, families) and int(length) <= _bits(address)


def _bits(address: str) -> int:
    return 128 if ":" in address else 32


def _is_any_mac(text: str) -> bool:
    """Whether it is six octets: a neighbour's may be a group's (a load balancer's, say)."""
    parts = text.split(":")
    return len(parts) == 6 and all(len(part) == 2 and set(part) <= _HEX for part in parts)


def _is_label(text: str) -> bool:
    return text.isprintable() and len(text.encode(errors="replace")) <= IFNAME_BYTES


def _is_domain(text: str) -> bool:
    labels = text.split(".")
    return len(text) <= 253 and all(
        0 < len(label) <= 63 and set(label) <= _DOMAIN and "-" not in (label[0], label[-1]) for label in labels
    )


def is_host_name(text: str) -> bool:
    """Whether it is empty, or labels with dots; underscores are in use."""
    return not text or _is_domain(text.lower())


def _is_hex(text: str) -> bool:
    return len(text) <= _LONGEST_HEX and not len(text) % 2 and set(text) <= _HEX


def _is_text(text: str) -> bool:
    return text.isascii() and text.isprintable() and len(text) <= 255


def _is_metric(pair: tuple[int, int]) -> bool:
    number, value = pair
    return 0 < number <= _LAST_METRIC and 0 <= value <= FOREVER


def _one_family(*addresses: str) -> bool:
    return len({":" in address for address in addresses if address}) == 1


_HEX = frozenset("0123456789abcdef")
_DOMAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
_LINK_NAME: Check = (
    f"a link name: 1 to {IFNAME_BYTES} of A-Z a-z 0-9 . _ -, a letter or digit first",
    is_link_name,
)
_MAC: Check = ("a MAC", _same(config.mac_address))
_ANY_MAC: Check = ("a MAC", _is_any_mac)
_ADDRESS: Check = ("an address", _is_address)
_IPV4: Check = ("an IPv4 address", lambda text: _is_address(text, (AF_INET,)))
_IPV6: Check = ("an IPv6 address", lambda text: _is_address(text, (AF_INET6,)))
_PREFIX: Check = ("a prefix", _is_prefix)
_PREFIX4: Check = ("an IPv4 prefix", lambda text: _is_prefix(text, (AF_INET,)))
_PREFIX6: Check = ("an IPv6 prefix", lambda text: _is_prefix(text, (AF_INET6,)))
_ALLOWED: Check = ("an address or prefix of somebody's own", _same(config.prefix))
_DOMAIN_NAME: Check = ("a domain name", _is_domain)
_HOST_NAME: Check = ("a host name", is_host_name)
_PRINTABLE: Check = ("printable ASCII", _is_text)
_SENTENCE: Check = ("printable text", str.isprintable)
_NUMBER = _between(0, 0xFFFFFFFF)
_OCTET = _between(0, 0xFF)
_ID = _between(0, config.LARGEST_ID)
_NOT_ROOT = _between(1, config.LARGEST_ID)
_MTU = _between(config.SMALLEST_MTU, config.LARGEST_MTU)

CHECKS: dict[type, dict[str, Check]] = {
    PodInterface: {
        "ifname": _LINK_NAME,
        "ifindex": _between(1, _LARGEST_IFINDEX),
        "mac": _MAC,
        "mtu": _between(1, _LARGEST_IFINDEX),
        "addr_gen_mode": _OCTET,
    },
    Address: {
        "ifname": _LINK_NAME,
        "local": _ADDRESS,
        "peer": _or_empty(_ADDRESS),
        "broadcast": _or_empty(_IPV4),
        "label": ("a label", _is_label),
        **dict.fromkeys(("scope", "protocol"), _OCTET),
    },
    Route: {
        "ifname": _LINK_NAME,
        "dst": _PREFIX,
        "gateway": _or_empty(_ADDRESS),
        "prefsrc": _or_empty(_ADDRESS),
        "metrics": ("a metric", _is_metric),
        **dict.fromkeys(("scope", "protocol", "type", "tos", "pref"), _OCTET),
    },
    Neighbour: {"ifname": _LINK_NAME, "dst": _ADDRESS, "mac": _ANY_MAC, "flags": _OCTET},
    ProxyNeighbour: {"ifname": _LINK_NAME, "dst": _ADDRESS, "flags": _OCTET, "protocol": _OCTET},
    Lookup: {"suppress_prefixlen": _between(-1, 128)},
    Settings: {
        "tap": _LINK_NAME,
        "owner": _ID,
        "group": _ID,
        "mac": _or_empty(_MAC),
        "mtu": _MTU,
        "hostname": _HOST_NAME,
        "isolation": _one_of(ISOLATIONS),
        "allow_addresses": _ALLOWED,
        "allow_macs": _MAC,
        "server_user": _NOT_ROOT,
        "server_group": _NOT_ROOT,
        "dhcp": _one_of(config.DHCP_MODES),
    },
    Told: {
        "lease_time": _between(config.SHORTEST_LEASE, FOREVER),
        "nameservers": _ADDRESS,
        "domain_search": _DOMAIN_NAME,
        "ntp_servers": _ADDRESS,
        "nat64_prefix": _or_empty(_PREFIX6),
    },
    Boot: dict.fromkeys(("server", "file", "vendor_class"), _PRINTABLE),
    RawOption: {"code": _between(1, 254), "value": ("octets in hexadecimal", _is_hex)},
    Lease: {
        "chaddr": _MAC,
        "yiaddr": _IPV4,
        "prefixlen": _between(0, 32),
        "server_id": _IPV4,
        "router": _or_empty(_IPV4),
        "nameservers": _IPV4,
        "domain_search": _DOMAIN_NAME,
        "hostname": _HOST_NAME,
        "broadcast": _or_empty(_IPV4),
        "interface_mtu": _MTU,
        "warnings": _SENTENCE,
        "ntp_servers": _IPV4,
    },
    ClasslessRoute: {"dst": _PREFIX4, "gateway": _IPV4},
    ArpEntry: {"address": _IPV4, "mac": _ANY_MAC},
    Lease6: {
        "chaddr": _MAC,
        "server_address": _IPV6,
        "prefixes": _PREFIX6,
        "nameservers": _IPV6,
        "domain_search": _DOMAIN_NAME,
        "ntp_servers": _IPV6,
        "nat64_prefix": _or_empty(_PREFIX6),
        "hostname": _HOST_NAME,
        "warnings": _SENTENCE,
    },
    LeasedAddress: {"address": _IPV6},
    Router: {
        "address": _IPV6,
        "gateway": _or_empty(_IPV6),
        "mac": _or_empty(_ANY_MAC),
        "preference": _between(0, 3),
        "routes": _PREFIX6,
    },
}
"""By part and field what its text or number must be. A number of which nothing is said here has 32 bits."""
_TOGETHER: dict[type, tuple[tuple[str, Callable[[Any], bool]], ...]] = {
    Address: (
        ("its addresses are of two families", lambda entry: _one_family(entry.local, entry.peer, entry.broadcast)),
        ("its prefix is too long", lambda entry: entry.prefixlen <= _bits(entry.local)),
    ),
    Route: (
        ("its addresses are of two families", lambda entry: _one_family(entry.dst, entry.prefsrc)),
        ("an IPv4 gateway for IPv6", lambda entry: not entry.ipv6 or ":" in (entry.gateway or ":")),
    ),
}
