"""What the CNI left: what the guest gets, and what `down` gives back."""

from __future__ import annotations

from dataclasses import dataclass

from vmnet.model.links import Address, Lookup, Neighbour, ProxyNeighbour, Route


@dataclass(frozen=True, slots=True)
class PodInterface:
    """The pod's network identity as the CNI left it: what the guest gets, and what `down` gives back."""

    ifname: str
    ifindex: int
    mac: str
    mtu: int
    addr_gen_mode: int | None = None
    accept_ra: int | None = None
    """None without IPv6, and where the vmnet that saved the facts did not look."""
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    lookups: tuple[Lookup, ...] = (Lookup(ipv6=False), Lookup(ipv6=True))
    """The tables that its own traffic takes, in order."""
    proxies: tuple[ProxyNeighbour, ...] = ()
    read_at: int = 0
    """When the addresses' lifetimes were read, seconds of CLOCK_MONOTONIC; 0 where that is not known."""
    bare_clsact: bool = False
    """Whether it had a place for programs on which none hung: `down` leaves that there."""
