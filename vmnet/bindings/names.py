"""The names and MACs of the binding's links: each stands here and nowhere else.

People who debug pods know KubeVirt's names, so they are KubeVirt's.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from vmnet.model.links import IFNAME_BYTES, TABLE_PREFIX

if TYPE_CHECKING:
    from collections.abc import Container

_OWN_MAC_PREFIX = "02:76:6d"
"""A locally administered prefix for the links that must not bear the VM's MAC."""


def is_own_mac(mac: str) -> bool:
    """Whether a link with that MAC is one that vmnet made, or the NIC of a binding."""
    return mac.startswith(_OWN_MAC_PREFIX)


def bridge_name(ifname: str) -> str:
    """Name the bridge that joins the pod's NIC and the tap."""
    return _fitting("k6t-", ifname, "")


def free_tap(taken: Container[str]) -> str:
    """Name a tap as nothing is called yet: tap0, tap1 …, as KubeVirt counts them."""
    number = 0
    while (name := f"tap{number}") in taken:
        number += 1
    return name


def nic_name(ifname: str) -> str:
    """Name the pod's NIC while the stand-in bears its original name."""
    return _fitting("", ifname, "-nic")


def is_table_name(text: str) -> bool:
    """Whether `table_name` could have made it: the kernel takes any octets, and shells run some of them."""
    return text.startswith(TABLE_PREFIX) and text.isascii() and text.replace("_", "").isalnum()


def table_name(ifname: str) -> str:
    """Name the nftables tables of a binding: nft's own words are letters, digits and underscores."""
    plain = "".join(character if character.isalnum() else "_" for character in ifname)
    return (
        f"{TABLE_PREFIX}{plain}" if plain == ifname else f"{TABLE_PREFIX}{plain}_{zlib.crc32(ifname.encode()):08x}"
    )


def _fitting(prefix: str, ifname: str, suffix: str) -> str:
    whole = f"{prefix}{ifname}{suffix}"
    return whole if len(whole) <= IFNAME_BYTES else f"{prefix}{zlib.crc32(ifname.encode()):08x}{suffix}"


def own_mac(pod_mac: str, role: str) -> str:
    """Make the MAC of the link that plays `role`: the same on every call, never the pod's own.

    Being derived, it comes out the same when the binding is resumed without its journal.
    """
    number = zlib.crc32(f"{role} {pod_mac}".encode()) & 0xFFFFFF
    mac = f"{_OWN_MAC_PREFIX}:{number >> 16:02x}:{number >> 8 & 0xFF:02x}:{number & 0xFF:02x}"
    return mac if mac != pod_mac else own_mac(pod_mac, f"{role}'")
