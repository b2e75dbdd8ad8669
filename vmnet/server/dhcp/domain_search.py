"""The domain search list of option 119 (RFC 3397) in RFC 1035 §4.1.4 encoding, which scapy does not write."""

from __future__ import annotations

_POINTER = 0xC000
_FURTHEST = 0x3FFF
"""A compression pointer has 14 bits, and counts from the start of the option's joined data (RFC 3397 §2)."""


def encode(domains: tuple[str, ...]) -> bytes:
    """The names, as `resolv` passes them, one after the other; a tail that was written before is pointed to."""
    data = bytearray()
    seen: dict[str, int] = {}
    for domain in domains:
        _append(data, seen, domain)
    return bytes(data)


def _append(data: bytearray, seen: dict[str, int], domain: str) -> None:
    rest = domain
    while rest:
        if rest in seen:
            data += (_POINTER | seen[rest]).to_bytes(2)
            return
        if len(data) <= _FURTHEST:
            seen[rest] = len(data)
        label, _, rest = rest.partition(".")
        data.append(len(label))
        data += label.encode("ascii")
    data.append(0)
