"""What is asked of a binding that is up and that it was not brought up with, in the words it is set by. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmnet.model.links import FOREVER
from vmnet.model.settings import Boot, RawOption, Settings, Told

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEYS = {
    "multi_queue": "queues",
    "allow_addresses": "allow_address",
    "allow_macs": "allow_mac",
    "group": "owner's group",
    "server_group": "server_user's group",
    "nameservers": "dns.servers",
    "domain_search": "dns.search",
    "ntp_servers": "ntp",
}
"""How a field of the model is called in docs/guide/configuration.md, where it is called otherwise."""
_OF_THE_POD = ("mac", "mtu", "hostname", "nameservers", "domain_search")
"""What is the pod's where nobody says otherwise."""


def first_change(bound: Settings, asked: Settings) -> str:
    """Name the first setting that is asked for and is otherwise, with both values; empty where none is.

    What is asked for as it is by default is not asked for: an `up` without flags asks for nothing.
    """
    for field, has, wants, default in _pairs(bound, asked):
        if wants not in (default, has):
            return f"{_KEYS.get(field, field)} {_text(field, has)}, you asked for {_text(field, wants)}"
    return ""


def _pairs(bound: Settings, asked: Settings) -> Iterator[tuple[str, object, object, object]]:
    for has, wants, default in ((bound, asked, Settings()), (bound.told, asked.told, Told())):
        for field in type(default).__slots__:
            if field != "told":
                yield field, getattr(has, field), getattr(wants, field), getattr(default, field)


def _text(field: str, value: object) -> str:
    """Write a value as people do."""
    if value in (None, "", (), Boot()):
        return "as the pod has it" if field in _OF_THE_POD and value != () else "none"
    if isinstance(value, bool):
        words = ("1", "several") if field == "multi_queue" else ("off", "on")
        return words[value]
    if isinstance(value, tuple):
        return ", ".join(_text(field, member) for member in value)
    if isinstance(value, Boot):
        return " ".join(filter(None, (value.server, value.file, value.vendor_class)))
    if isinstance(value, RawOption):
        return f"{value.code}={value.value}"
    return "infinite" if (field, value) == ("lease_time", FOREVER) else str(value)
