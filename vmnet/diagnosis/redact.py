"""Replacing in texts what tells whose they are: the same thing by the same placeholder in all of them. Pure."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
from typing import TYPE_CHECKING, Any

from vmnet.compile.scapy_layers import SERVER_MAC
from vmnet.model.lease import SERVER_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAC = re.compile(r"(?<![0-9a-fA-F:])(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}(?!:?[0-9a-fA-F])")
_IPV6 = re.compile(r"(?<![\w:.])[0-9a-fA-F]*:[0-9a-fA-F.]*:[0-9a-fA-F:.]*(?!\w)")
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)")
_SERVER = ipaddress.ip_network(SERVER_PREFIX)
_SOLICITED_NODE = ipaddress.ip_network("ff02::1:ff00:0/104")
"""RFC 4291 §2.7.1: its last octets are an address's."""
_SOLICITED_MAC = "33:33:ff:"
_EVERYBODYS_MACS = ("00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", SERVER_MAC)
_GROUP_MACS = ("33:33:", "01:00:5e:")
_RAW_OPTION = {"code", "value"}
"""The members of a DHCP option that vmnet knows nothing of: its octets may say anything."""
_SHORTEST_NAME = 2
"""A name of one character would be found in every word that it stands alone in."""


class Redactor:
    """Gives placeholders out, in the order of asking: mac-1, ipv4-1, ipv6-1, name-1 and so on."""

    def __init__(self, names: Iterable[str]) -> None:
        """Take the names that must go: hosts, search domains, and whatever else is known by name."""
        self._given: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        longest_first = sorted(
            {name.lower() for name in names if len(name) >= _SHORTEST_NAME},
            key=lambda name: (-len(name), name),
        )
        words = "|".join(map(re.escape, longest_first))
        self._names = re.compile(rf"(?<![\w-])(?:{words})(?![\w-])", re.IGNORECASE) if words else None

    def __call__(self, text: str) -> str:
        """Return the text without them. Names go first: a domain may look like an address."""
        if self._names:
            text = self._names.sub(lambda found: self._placeholder("name", found[0].lower()), text)
        return self._addresses(text)

    def _addresses(self, text: str) -> str:
        text = _MAC.sub(lambda found: self._mac(found[0].lower()), text)
        text = _IPV6.sub(lambda found: self._address(found[0]), text)
        return _IPV4.sub(lambda found: self._address(found[0]), text)

    def document(self, text: str) -> str:
        """The same of JSON, whose members keep their names, of lines of JSON, and of any other text."""
        try:
            return json.dumps(self._value(json.loads(text)), indent=2)
        except (ValueError, RecursionError):
            return "\n".join(self._line(line) for line in text.splitlines())

    def _line(self, line: str) -> str:
        try:
            return json.dumps(self._value(json.loads(line)))
        except (ValueError, RecursionError):
            return self(line)

    def _value(self, value: Any) -> Any:  # noqa: ANN401 # JSON is of any type
        if isinstance(value, str):
            return self(value)
        if isinstance(value, list):
            return [self._value(item) for item in value]
        if not isinstance(value, dict):
            return value
        if value.keys() == _RAW_OPTION:
            return {**value, "value": "redacted"}
        return {self._addresses(name): self._value(member) for name, member in value.items()}

    def _mac(self, mac: str) -> str:
        group = mac.startswith(_GROUP_MACS) and not mac.startswith(_SOLICITED_MAC)
        return mac if mac in _EVERYBODYS_MACS or group else self._placeholder("mac", mac)

    def _address(self, text: str) -> str:
        """Replace an address that a colon or a full stop of the sentence may follow."""
        for end in range(len(text), max(len(text) - 3, 0), -1):
            with contextlib.suppress(ValueError):
                address = ipaddress.ip_address(text[:end])
                if _is_everybodys(address):
                    return text
                return self._placeholder(f"ipv{address.version}", str(address)) + text[end:]
        return text

    def _placeholder(self, kind: str, what: str) -> str:
        if what not in self._given:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._given[what] = f"{kind}-{self._counts[kind]}"
        return self._given[what]


def _is_everybodys(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether it tells nothing: groups, loopback, nowhere, and what our server calls itself."""
    if address in _SOLICITED_NODE:
        return False
    limited_broadcast = str(address) == "255.255.255.255"
    nobodys = address.is_multicast or address.is_loopback or address.is_unspecified or limited_broadcast
    return nobodys or address in _SERVER
