"""(Status, Spec) → the ordered changes that make the one into the other.

The same function serves up, down, resume, repair and roll-back: whatever was left half-done, it is the difference
that counts. The kernel does some things by itself (a connected route comes with an address), so the caller
applies, reads again and asks again until nothing is left.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vmnet.model.change import (
    AddEntry,
    AlterLink,
    Change,
    CreateLink,
    DeleteCheck,
    DeleteEntry,
    DeleteLink,
    DeleteRules,
    LoadRules,
)
from vmnet.model.links import (
    FOREVER,
    Address,
    Link,
    LinkEntry,
    LinkSpec,
    Neighbour,
    Note,
    Route,
    Spec,
    Status,
    wanted,
)
from vmnet.model.traffic import covers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.model.links import FilterChain, Ruleset

_FIXED_AT_CREATION = ("owner", "group", "multi_queue")
_IPV6_SETTINGS = ("addr_gen_mode", "accept_ra", "disable_ipv6")
_SMALLEST_IPV6_MTU = 1280
"""IPV6_MIN_MTU (linux/ipv6.h): a link below it has no IPv6, and nothing to be set of it."""
_STEPS = (
    ("mtu",),  # else there may be no IPv6 yet to set something of
    ("arp_ignore", "addr_gen_mode"),  # before the link is up and has an address: it must never speak for the VM
    ("accept_ra", "disable_ipv6"),
    ("stp", "mcast_snooping"),
    ("ifname", "mac", "controller"),  # one message, so that the NIC is never without an owner
    ("learning",),  # a port has it only once it has a controller
    ("up",),
)
"""The fields of a link that are set together, in order."""


def diff(status: Status, spec: Spec) -> tuple[Change, ...]:
    """Return the changes, in the order in which they are to be applied; none when all is as it shall be.

    A note goes in a round of its own, after a read has shown that all else is as it shall be: without it the pod
    counts as untouched, and whatever the kernel had added by itself would be taken for the pod's.
    """
    of_links = [change for link in spec.links for change in _link_changes(status, spec, link)]
    guarded = [change for change in of_links if isinstance(change, AlterLink) and change.ifname == spec.guarded]
    changes = (
        *(AddEntry(note) for link in spec.links for note in _notes(status, spec, link, missing=True)),
        *_unwanted_links(status, spec),
        *(change for change in of_links if change not in guarded),
        *_rules(status, spec),
        *guarded,
        *(AddEntry(entry) for link in spec.links for entry in _missing(status, spec, link)),
    )
    return changes or tuple(
        DeleteEntry(note) for link in spec.links for note in _notes(status, spec, link, missing=False)
    )


def missing_links(status: Status, spec: Spec) -> tuple[str, ...]:
    """Return the names of links that are meant by index and are gone: nothing can bring those back."""
    return tuple(link.ifname for link in spec.links if link.ifindex and not status.link_of_index(link.ifindex))


def standing_chains(status: Status, spec: Spec) -> set[FilterChain]:
    """Return the chains that stand in the binding's tables; none where we may not look."""
    return {chain for chain in status.chains or () if chain.table == spec.table}


def _rules(status: Status, spec: Spec) -> Iterator[Change]:
    """Find what the rules lack, all the links that they name being there."""
    if not spec.rulesets:
        yield from (
            DeleteCheck(link.ifname, keep_place=link.ifname == spec.place_kept)
            for link in spec.links
            if _is_checked(status, spec, link)
        )
    standing = standing_chains(status, spec)
    if status.chains is None or any(_stands(status, standing, ruleset) for ruleset in spec.rulesets):
        return
    families = tuple(sorted({chain.family for chain in standing}))
    if spec.rulesets:
        yield LoadRules(spec.table, spec.rulesets, families)
    elif families:
        yield DeleteRules(spec.table, families)


def _stands(status: Status, standing: set[FilterChain], ruleset: Ruleset) -> bool:
    return standing == set(ruleset.chains) and set(ruleset.checks) <= set(status.checks)


def _is_checked(status: Status, spec: Spec, shall: LinkSpec) -> bool:
    """Whether a program of ours hangs there; where the pod is given back, also whether but its place is left.

    Elsewhere, and where the pod had one before, such a place is what somebody else has made for his own.
    """
    link = _counterpart(status, spec, shall)
    here = [check for check in status.checks if link and check.ifname == link.ifname]
    return any(check.name or (spec.absent and shall.ifname != spec.place_kept) for check in here)


def _unwanted_links(status: Status, spec: Spec) -> Iterator[Change]:
    kept = {link.ifindex for link in spec.links}
    for name in spec.absent:
        link = status.link(name)
        if link and link.ifindex not in kept:
            yield DeleteLink(link.ifname, link.ifindex)


def _link_changes(status: Status, spec: Spec, shall: LinkSpec) -> Iterator[Change]:
    link = _counterpart(status, spec, shall)
    if link and _must_be_made_anew(link, shall):
        yield DeleteLink(link.ifname, link.ifindex)
        link = None
    if link:
        yield from (DeleteEntry(entry) for entry in _superfluous(status, spec, link, shall))
    elif shall.ifindex is None:
        yield CreateLink(shall)
    else:
        return
    has_ipv6 = any(other.addr_gen_mode is not None for other in status.links)
    differing = dict(_differing(link, shall, has_ipv6=has_ipv6))
    for step in _STEPS:
        values = tuple((field, differing[field]) for field in step if field in differing)
        if values:
            yield AlterLink(link.ifname if link and "ifname" in differing else shall.ifname, values)
            if link and "ifname" in dict(values):
                link = replace(link, ifname=shall.ifname)


def _counterpart(status: Status, spec: Spec, shall: LinkSpec) -> Link | None:
    """Find the link that `shall` speaks of: by its index, else by its name unless that is another spec's link."""
    if shall.ifindex is not None:
        return status.link_of_index(shall.ifindex)
    link = status.link(shall.ifname)
    others = {other.ifindex for other in spec.links}
    return None if link is None or link.ifindex in others else link


def _must_be_made_anew(link: Link, shall: LinkSpec) -> bool:
    if shall.kind is None:
        return False
    asked = dict(wanted(shall))
    return link.kind != shall.kind or any(
        getattr(link, field) != asked[field] for field in _FIXED_AT_CREATION if field in asked
    )


def _differing(link: Link | None, shall: LinkSpec, *, has_ipv6: bool) -> Iterator[tuple[str, int | str]]:
    has_ipv6 = has_ipv6 and (shall.mtu is None or shall.mtu >= _SMALLEST_IPV6_MTU)
    for field, value in wanted(shall):
        if field in _FIXED_AT_CREATION or (field in _IPV6_SETTINGS and not has_ipv6):
            continue
        if link is None:
            # A bridge is made with these; the kernel lets a tap be told nothing but its name and owner.
            given = ("ifname",) if shall.kind == "tun" else ("ifname", "mac", "mtu", "stp", "mcast_snooping")
            if field not in given:
                yield field, value
        elif getattr(link, field) != value:
            yield field, value


def _superfluous(status: Status, spec: Spec, link: Link, shall: LinkSpec) -> Iterator[LinkEntry]:
    """Find what stands on the link and shall not: routes first, since the kernel drops them with their address."""
    keep = {_comparable(entry) for entry in _entries_of(spec, shall.ifname)}
    for entry in _ipv6_turned(_entries_of(status, link.ifname)[::-1]):
        if isinstance(entry, Neighbour) and not entry.permanent:
            continue
        if _comparable(replace(entry, ifname=shall.ifname)) not in keep:
            yield entry


def _missing(status: Status, spec: Spec, shall: LinkSpec) -> list[LinkEntry]:
    link = _counterpart(status, spec, shall)
    if link is None and shall.ifindex is not None:
        return []  # the link is gone for good, and with it the place for these
    there = {
        _comparable(replace(entry, ifname=shall.ifname))
        for entry in (_entries_of(status, link.ifname) if link else ())
    }
    missing = tuple(entry for entry in _entries_of(spec, shall.ifname) if _comparable(entry) not in there)
    # The kernel takes a gateway only once it is on-link, but dumps the default route first.
    late = _late([entry for entry in missing if isinstance(entry, Route)])
    return sorted(_ipv6_turned(missing), key=lambda entry: (entry in late, _has_gateway(entry)))


def _has_gateway(entry: LinkEntry) -> bool:
    return isinstance(entry, Route) and bool(entry.gateway)


def _late(routes: list[Route]) -> set[Route]:
    """Find the routes that wait for an IPv6 source (net/ipv6/route.c), and those whose gateway is behind one.

    Where a neighbour says that it has the source, too, the kernel never takes them, and what comes after is lost.
    """
    sourced = {route for route in routes if route.ipv6 and route.prefsrc}
    on_link = [route.dst for route in sourced if not route.gateway]
    gateways = {route.gateway for route in routes if route.gateway} if on_link else set()
    behind = {gateway for gateway in gateways if any(covers(prefix, gateway) for prefix in on_link)}
    return sourced | {route for route in routes if route.gateway in behind}


def _ipv6_turned(entries: tuple[LinkEntry, ...]) -> list[LinkEntry]:
    """Turn the order of the IPv6 addresses among themselves.

    The kernel puts a new one before those that it has (net/ipv6/addrconf.c, ipv6_link_dev_addr): the first of a
    dump was the last to be added. Of equally good ones the first is the source of what the pod sends.
    """
    turned = [entry for entry in entries if isinstance(entry, Address) and entry.ipv6]
    return [turned.pop() if isinstance(entry, Address) and entry.ipv6 else entry for entry in entries]


def _notes(status: Status, spec: Spec, shall: LinkSpec, *, missing: bool) -> Iterator[Note]:
    """Find the names of the link's note that are missing, or too many.

    The note is written before anything is changed, under the link's old name, and goes only when everything is
    back, under its new one: with the journal lost, it is all there is.
    """
    link = _counterpart(status, spec, shall)
    if link is None:
        return
    there = {name for note in status.notes if note.ifname == link.ifname for name in note.names}
    wanted_names = {name for note in spec.notes if note.ifname == shall.ifname for name in note.names}
    names = wanted_names - there if missing else there - wanted_names
    if names:
        yield Note(link.ifname if missing else shall.ifname, tuple(sorted(names)))


def _entries_of(holder: Status | Spec, ifname: str) -> tuple[LinkEntry, ...]:
    every: tuple[LinkEntry, ...] = (
        *holder.addresses,
        *holder.routes,
        *holder.neighbours,
        *holder.proxies,
        *holder.fdb,
    )
    return tuple(entry for entry in every if entry.ifname == ifname)


def _comparable(entry: LinkEntry) -> LinkEntry:
    """Take out what the kernel changes by itself: limited lifetimes run down."""
    if isinstance(entry, Route):
        return replace(entry, lifetime=_limited(entry.lifetime))
    if isinstance(entry, Address):
        valid, preferred = map(_limited, (entry.valid_lifetime, entry.preferred_lifetime))
        return replace(entry, valid_lifetime=valid, preferred_lifetime=preferred)
    return entry


def _limited(lifetime: int) -> int:
    return lifetime if lifetime == FOREVER else 0
