"""The few per-link settings that have no netlink way."""

from __future__ import annotations

import os

_IPV6_CONF = "/proc/sys/net/ipv6/conf"


def ipv6_settable() -> bool:
    """Whether per-link IPv6 settings can be written: false where /proc/sys is read-only, as in most containers."""
    return os.access(f"{_IPV6_CONF}/default/accept_ra", os.W_OK)


def set_accept_ra(ifname: str, value: int) -> None:
    """Set whether the kernel acts on router advertisements that arrive on `ifname`.

    Raises:
        OSError: the link is gone, or /proc/sys is read-only.
    """
    with open(f"{_IPV6_CONF}/{ifname}/accept_ra", "w") as setting:
        setting.write(f"{value}\n")
