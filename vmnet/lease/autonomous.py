"""What comes of the wish that the guest makes IPv6 addresses of its own (RFC 4862). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmnet.model.lease import AUTONOMOUS_LENGTH
from vmnet.model.settings import ISOLATION_STRICT

if TYPE_CHECKING:
    from vmnet.model.settings import Settings


def autonomous_warnings(prefixes: tuple[str, ...], settings: Settings) -> list[str]:
    """In words, why it makes none, or cannot use those that it makes."""
    if not settings.told.autonomous:
        return []
    made = [prefix for prefix in prefixes if prefix.endswith(f"/{AUTONOMOUS_LENGTH}")]
    if not made:
        return ["no prefix of 64 bits is on the link: the guest makes no addresses of its own"]
    if settings.isolation != ISOLATION_STRICT:
        return []
    return [
        f"prefix {prefix}: isolation strict drops what the guest sends from addresses of its own making, unless "
        "allow_address has it"
        for prefix in made
        if not _is_allowed(prefix, settings.allow_addresses)
    ]


def _is_allowed(prefix: str, allowed: tuple[str, ...]) -> bool:
    from ipaddress import IPv6Network  # only who wants this pays for it

    network = IPv6Network(prefix)
    return any(network.subnet_of(IPv6Network(text)) for text in allowed if ":" in text)
