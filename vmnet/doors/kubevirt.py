"""What a VirtualMachineInstance of KubeVirt says of the interface that is ours to make."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from vmnet.model.bounded_json import parse

BINDING = "NETWORK_BINDING_PLUGIN_NAME"
"""The variable in which KubeVirt 1.9 and newer names the binding; before that nobody does."""
_LARGEST = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
"""KubeVirt's own rule for names of interfaces, and what libvirt takes in an alias."""
_MAC = re.compile(r"[0-9A-Fa-f][02468ACEace]([:-][0-9A-Fa-f]{2}){5}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """An interface of the VMI: its name, and its MAC, empty where none is asked for."""

    name: str = ""
    mac: str = ""


def wanted(vmi: bytes, binding: str = "") -> Wanted:
    """Find the one interface with that binding, or with any where none is named; nothing where it is not one.

    KubeVirt finds an interface's addresses, for the VMI's status, by the alias `ua-NAME` in the domain. What is no
    VMI, or one of a later version, says nothing: the domain is made without.
    """
    try:
        interfaces = parse(vmi, _LARGEST)["spec"]["domain"]["devices"]["interfaces"]
        ours = [one for one in interfaces if _is_bound(one, binding)]
        name, mac = ours[0]["name"], ours[0].get("macAddress", "")
    except (ValueError, LookupError, TypeError, AttributeError):
        return Wanted()
    if len(ours) != 1 or not isinstance(name, str) or not _NAME.fullmatch(name):
        return Wanted()
    known = isinstance(mac, str) and _MAC.fullmatch(mac)
    return Wanted(name, mac.replace("-", ":").lower() if known else "")


def _is_bound(interface: dict[str, Any], binding: str) -> bool:
    named = interface.get("binding")
    return isinstance(named, dict) and binding in ("", named["name"])
