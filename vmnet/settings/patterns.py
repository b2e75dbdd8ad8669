"""What the texts of a configuration file look like: regular expressions, and in words what they ask for."""

from __future__ import annotations

from vmnet.model.lease import PREF64_LENGTHS

_END = r"$(?!\n)"
"""Python's `$` alone also stands before a line feed."""
_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_DOTTED = rf"{_OCTET}(\.{_OCTET}){{3}}"
_GROUP = "[0-9A-Fa-f]{1,4}"
_GAPS = "|".join(f"({_GROUP}:){{1,{7 - after}}}(:{_GROUP}){{1,{after}}}" for after in range(1, 7))
"""RFC 4291 §2.2, form 2, with groups on both sides of the gap: how many there may be depends on each other."""
_COLONS = f"({_GROUP}:){{7}}{_GROUP}|({_GROUP}:){{1,7}}:|{_GAPS}|:((:{_GROUP}){{1,7}}|:)"
_LABEL = "[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
MAC = r"^[0-9A-Fa-f][02468ACEace](:[0-9A-Fa-f]{2}){5}" + _END
IPV4 = f"^{_DOTTED}{_END}"
EITHER = f"^({_DOTTED}|{_COLONS}){_END}"
NAT64 = f"^({_COLONS})/({'|'.join(map(str, PREF64_LENGTHS))}){_END}"
DOMAIN = rf"^{_LABEL}(\.{_LABEL})*{_END}"
TEXT = "^[ -~]+" + _END
HEX = "^[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2})*" + _END
IN_WORDS = {
    MAC: "a VM's MAC like 52:54:00:12:34:56",
    IPV4: "an IPv4 address",
    EITHER: "an IPv4 or IPv6 address",
    NAT64: f"an IPv6 prefix of {', '.join(map(str, PREF64_LENGTHS[:-1]))} or {PREF64_LENGTHS[-1]} bits",
    DOMAIN: "a domain name in small letters",
    TEXT: "printable ASCII characters",
    HEX: "octets in hexadecimal like 0601ff or 06:01:ff",
}
"""Nobody wants to read an expression in an error."""
