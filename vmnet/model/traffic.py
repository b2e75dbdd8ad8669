"""Which of the pod's routes its own traffic takes: those of its tables, in the order of its rules. Pure."""

from __future__ import annotations

from socket import AF_INET, AF_INET6, inet_pton
from typing import TYPE_CHECKING

from vmnet.model.links import RT_TABLE_LOCAL, RT_TABLE_MAIN, Lookup

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vmnet.model.links import Route, Rule
    from vmnet.model.pod import PodInterface


def lookups(rules: Iterable[Rule], sources: tuple[str, str], tables: Iterable[int]) -> tuple[Lookup, ...]:
    """Return the tables that packets from the pod's addresses are looked up in, of IPv4 first.

    `sources` are the pod's IPv4 and IPv6 address, empty where it has none; only `tables` and main are of interest.
    """
    known = {*tables, RT_TABLE_MAIN}
    found: list[Lookup] = []
    for ipv6, source in enumerate(sources):
        of_family = [rule for rule in rules if rule.ipv6 is bool(ipv6)]
        if not of_family or not source:
            found.append(Lookup(ipv6=bool(ipv6)))
            continue
        for rule in of_family:
            if not _takes(rule, source):
                continue
            if not rule.table:
                break  # nothing beyond a blackhole is asked
            lookup = Lookup(bool(ipv6), rule.table, rule.suppress_prefixlen)
            if rule.table in known and lookup not in found:
                found.append(lookup)
    return tuple(found)


def routes(pod: PodInterface) -> tuple[Route, ...]:
    """Return the routes that the pod's own traffic takes; of each table in the kernel's order."""
    chosen: list[Route] = []
    for lookup in pod.lookups:
        known = set(chosen)
        before = tuple(route for route in chosen if route.ipv6 is lookup.ipv6)
        chosen += [
            route
            for route in pod.routes
            if (route.ipv6, route.table) == (lookup.ipv6, lookup.table)
            and route not in known
            and _length(route) > lookup.suppress_prefixlen
            and not any(_hides(earlier, route) for earlier in before)
        ]
    return tuple(chosen)


def passed_over(pod: PodInterface) -> tuple[Route, ...]:
    """Return the routes that its traffic never takes, since another table is asked first, or theirs is not."""
    taken = set(routes(pod))
    return tuple(route for route in pod.routes if route not in taken)


def table_words(pod: PodInterface) -> str:
    """Say in which tables its traffic is looked up; nothing where that is main alone."""
    tables = dict.fromkeys(lookup.table for lookup in pod.lookups)
    names = {RT_TABLE_MAIN: "main", RT_TABLE_LOCAL: "local"}
    words = [names.get(table, str(table)) for table in tables]
    return "" if words == ["main"] else f"its own traffic takes the routing tables {', '.join(words)}, in order"


def _hides(earlier: Route, route: Route) -> bool:
    """Whether a route of a table that is asked before leaves nothing to this one.

    A default does not hide what is on the link: who is there answers there, and a guest makes that route of its
    mask anyway.
    """
    if earlier.is_default and not route.gateway and not route.is_default:
        return False
    return _length(earlier) <= _length(route) and covers(earlier.dst, route.dst.partition("/")[0])


def _length(route: Route) -> int:
    return int(route.dst.partition("/")[2])


def _takes(rule: Rule, source: str) -> bool:
    return (not rule.selective and (not rule.src or covers(rule.src, source))) is not rule.inverted


def covers(prefix: str, address: str) -> bool:
    """Whether the prefix, `address/length` of either family, holds the address."""
    network, _, length = prefix.partition("/")
    family, bits = (AF_INET6, 128) if ":" in prefix else (AF_INET, 32)
    if (":" in address) is not (":" in prefix):
        return False
    numbers = (int.from_bytes(inet_pton(family, text)) >> (bits - int(length)) for text in (network, address))
    return next(numbers) == next(numbers)
