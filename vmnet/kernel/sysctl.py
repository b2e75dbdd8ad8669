"""The few per-link settings that have no netlink way."""

from __future__ import annotations

import os

_IPV6_CONF = "/proc/sys/net/ipv6/conf"


def ipv6_settable() -> bool:
    """Whether per-link IPv6 settings can be written: false where /proc/sys is read-only, as in most containers."""
    return os.access(f"{_IPV6_CONF}/default/accept_ra", os.W_OK)


def set_ipv6(ifname: str, name: str, value: int) -> None:
    """Set one of the IPv6 settings of `ifname`: accept_ra, disable_ipv6.

    Raises:
        OSError: the link is gone, or /proc/sys is read-only.
    """
    with open(f"{_IPV6_CONF}/{ifname}/{name}", "w") as setting:
        setting.write(f"{value}\n")
