"""scapy's layers, which write every packet that the guest is sent. The only importer of scapy."""

from __future__ import annotations

import functools
import os
import sys
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVER_MAC = "02:76:6d:6e:65:74"
"""Locally administered, and "vmnet" in ASCII. It is seen on the tap only, so every pod can have the same."""
_SPARE_SERVER_MAC = "02:76:6d:6e:65:75"


def server_mac(chaddr: str) -> str:
    """Return the MAC that the guest sees the server at: never the guest's own."""
    return SERVER_MAC if chaddr != SERVER_MAC else _SPARE_SERVER_MAC


@functools.cache
def layers() -> SimpleNamespace:
    """Import what IPv4 and ARP take, when first needed: a scapy that cannot be imported is the caller's to report.

    Kept from its import is what a reply never needs, which saves 16 MB and half of the time: the dumps of routes
    and links, and the tables of MAC vendors and Bluetooth makers, modules with nothing but a `DATA` (should scapy
    drop them, the stand-ins are never looked at). It may neither make nor read a cache or a configuration folder
    below $HOME, which a path below a file that is no folder achieves.
    """
    os.environ["XDG_CACHE_HOME"] = os.environ["XDG_CONFIG_HOME"] = "/dev/null/none"
    for name, data in (("scapy.libs.manuf", ""), ("scapy.libs.bluetoothids", {})):
        if name not in sys.modules:
            stand_in = ModuleType(name)
            stand_in.__dict__["DATA"] = data
            sys.modules[name] = stand_in
    with _replaced(os.path, "exists", _exists_but_for_wireshark):
        from scapy.config import conf
        from scapy.interfaces import NetworkInterfaceDict

        conf.route_autoload = conf.route6_autoload = False
        with _replaced(NetworkInterfaceDict, "reload", _nothing):  # scapy asks later for what it does not find
            from scapy.layers.dhcp import BOOTP, DHCP
            from scapy.layers.inet import IP, UDP
            from scapy.layers.l2 import ARP, Ether

    return SimpleNamespace(Ether=Ether, ARP=ARP, IP=IP, UDP=UDP, BOOTP=BOOTP, DHCP=DHCP)


_exists = os.path.exists


def _exists_but_for_wireshark(path: str) -> bool:
    """Keep from scapy the table of MAC vendors that Wireshark installs: its 50,000 lines take 200 ms to read."""
    return not str(path).endswith("/wireshark/manuf") and _exists(path)


def _nothing(_links: object) -> None:
    """Take the place of scapy's dump of all links."""


@contextmanager
def _replaced(owner: Any, name: str, stand_in: object) -> Iterator[None]:  # noqa: ANN401 # a module or a class
    """Have something else in an attribute's place for a block."""
    before = getattr(owner, name)
    setattr(owner, name, stand_in)
    try:
        yield
    finally:
        setattr(owner, name, before)


@functools.cache
def ipv6_layers() -> SimpleNamespace:
    """Import what IPv6, neighbour discovery and DHCPv6 take, under scapy's own names."""
    layers()
    from scapy.layers import dhcp6, inet6

    names = {**vars(inet6), **vars(dhcp6)}
    return SimpleNamespace(**{name: value for name, value in names.items() if isinstance(value, type)})


def dissected(frame: bytes) -> Any:  # noqa: ANN401 # scapy is untyped
    """Return what scapy reads in a frame that anybody may have sent. It may raise whatever it likes."""
    import logging

    logging.getLogger("scapy.runtime").setLevel(logging.CRITICAL)  # it would quote the frame
    ipv6_layers()
    return layers().Ether(frame)
