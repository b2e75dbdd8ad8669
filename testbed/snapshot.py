"""All that can be seen of a pod's network, as text to compare: one fact a line, without what changes by itself.

Neighbours come out of a hash table with a random seed (net/core/neighbour.c), and tables of routes out of another:
what order the kernel lists those in says nothing. That of addresses, of rules and of the routes to one destination
does: it decides which is taken.
"""

from __future__ import annotations

import difflib
import json
import re
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.netns import Netns
    from testbed.pods import Pod

VOLATILE = frozenset({"ifindex", "link_index", "link_netnsid", "stats", "stats64", "used", "probes"})
"""What differs between two reads of an untouched pod, or names nothing of its own."""
LIFETIMES = frozenset({"valid_life_time", "preferred_life_time", "expires"})
RUNNING, FOREVER = "running", 0xFFFFFFFF
"""What a lifetime is shown as that is neither over nor without end: it is another at each look."""
SETTLED_SECONDS = 30
TITLES = (
    *("IPv4 routes", "permanent neighbours", "IPv4 proxied neighbours", "IPv4 rules", "nexthop objects"),
    *("IPv6 routes", "IPv6 proxied neighbours", "IPv6 rules", "IPv6 tokens", "address labels", "multicast"),
)
ALL_LOOKS = """
ip -d -j -batch - <<.
address
route show table all
neighbour show nud permanent
neighbour show proxy
rule
nexthop show
.
ip -6 -d -j -batch - <<.
route show table all
neighbour show proxy
rule
token
addrlabel
.
ip -0 -d -j maddress
printf '\\0'
tc -d qdisc show
nft list ruleset
"""
"""One shell and few programs, since tests look hundreds of times; `ip -batch` says one JSON value a line."""
IPV6_ADDRESS = re.compile(r'^\S+ address {.*"family": "inet6".* "local": "([^"]+)"', re.MULTILINE)
LOCAL_ROUTE = re.compile(r'^{.*"dst": "([^"]+)".*"type": "local"}', re.MULTILINE)
NOTE = re.compile(r'"vmnet\.[^"]*"(, "vmnet\.[^"]*")*')
"""It holds when the pod was read."""
CARRIERS = re.compile(
    r"^\S+ (operstate|qdisc|linkinfo\.info_slave_data\.(state|\w*port|root_id)|linkinfo\.info_data\.root_\w+) .*\n"
    r'|"(NO-CARRIER|LOWER_UP|linkdown)"(, )?',
    re.MULTILINE,
)
"""What follows from a carrier: the kernel announces those up to a second late."""


def snapshot(pod: Pod) -> str:
    """See all of a pod's network, settled."""
    return settled(pod.netns)


def settled(namespace: Netns) -> str:
    """See all of a namespace's network, once the kernel's workers are done with its IPv6 addresses.

    Detection of duplicates is off in the pods, but the kernel finds that out in a worker, a moment later, and adds
    an address's own routes there (net/ipv6/addrconf.c, addrconf_dad_work).
    """
    deadline = time.monotonic() + SETTLED_SECONDS
    while _is_unsettled(seen := look(namespace)) and time.monotonic() < deadline:
        pass
    return seen


def _is_unsettled(seen: str) -> bool:
    routes = Counter(LOCAL_ROUTE.findall(seen))
    twice = Counter(2 * IPV6_ADDRESS.findall(seen))  # `table all` is of both families, and looked at for each
    return '"tentative"' in seen or not twice <= routes


def look(namespace: Netns) -> str:
    """See all of a namespace's network."""
    shown, _, firewall = namespace.run("sh", "-ec", ALL_LOOKS).stdout.partition("\0")
    links, *entries = _values(shown)
    parts = [("links and addresses", "\n".join(_links(links)))]
    *entries, groups = entries
    titled = zip(TITLES, (*entries, _joined(groups)), strict=True)
    parts += [(title, _entries(title, value)) for title, value in titled]
    parts.append(("queueing disciplines and firewall", firewall))
    return "\n".join(f"== {title}\n{text}" for title, text in parts)


def _joined(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The multicast MACs that somebody joined by hand: the others follow from addresses and sockets."""
    return [
        {"ifname": link["ifname"], "link": group["link"]}
        for link in groups
        for group in sorted(link["maddr"], key=lambda group: str(group.get("link")))
        if "static" in group.get("features", "")
    ]


def _values(text: str) -> Iterator[list[dict[str, Any]]]:
    """The JSON values that stand one after the other."""
    decoder, at = json.JSONDecoder(), 0
    while text[at:].strip():
        value, at = decoder.raw_decode(text, at)
        yield value
        at += len(text[at:]) - len(text[at:].lstrip())


def difference(before: str, after: str) -> str:
    """What two looks differ in, one line a change; empty where they are equal."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    return "\n".join(line for line in lines if not line.startswith(("@@", "---", "+++")))


def steady(text: str) -> str:
    """A look without what follows from carriers, for a pod whose tap nobody holds, and from when it was read."""
    return NOTE.sub("a note", CARRIERS.sub("", text).replace(", ]", "]"))


def facts(text: str) -> int:
    """Count the facts in a look."""
    return sum(bool(line) and not line.startswith("==") for line in text.splitlines())


def _links(links: list[dict[str, Any]]) -> Iterator[str]:
    """A link's settings, each on a line of its own after the link's name; then its addresses."""
    for link in links:
        addresses = link.pop("addr_info")
        for path, value in _leaves(link):
            yield f"{link['ifname']} {path} {json.dumps(value)}"
        for address in addresses:
            yield f"{link['ifname']} address {json.dumps(dict(_leaves(address)), sort_keys=True)}"


def _leaves(value: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, entry in sorted(value.items()):
        if key in VOLATILE or key.endswith("_timer"):
            continue
        if key in LIFETIMES:
            yield f"{path}{key}", entry if entry in (0, FOREVER) else RUNNING
        elif isinstance(entry, dict):
            yield from _leaves(entry, f"{path}{key}.")
        else:
            yield f"{path}{key}", entry


def _entries(title: str, entries: list[dict[str, Any]]) -> str:
    """A route, neighbour or rule a line; in the kernel's order as far as that means something."""
    shown = [dict(_leaves(entry)) for entry in entries]
    if "neighbours" in title:
        shown.sort(key=json.dumps)
    elif "routes" in title:
        shown.sort(key=_route_place)
    return "\n".join(json.dumps(entry, sort_keys=True) for entry in shown)


def _route_place(route: dict[str, Any]) -> tuple[str, ...]:
    """Where a route stands among those whose order says nothing; of those to one destination the first is taken.

    But what the kernel adds with an address (`fe80::/64`, say) it adds for each link when its workers come to it.
    """
    link = route.get("dev", "") if route.get("protocol") == "kernel" else ""
    return str(route.get("table", "main")), route["dst"], link


def describe(namespace: Netns) -> str:
    """Everything a person wants to see of a namespace after a failure."""
    commands = (
        ("ip", "-d", "-j", "address"),
        ("ip", "-d", "-j", "route"),
        ("ip", "-d", "-j", "-6", "route"),
        ("ip", "-d", "-j", "neighbour"),
        ("bridge", "-d", "-j", "fdb"),
        ("nft", "list", "ruleset"),
    )
    return "\n".join(
        f"[{namespace.name}] {' '.join(command)}\n{namespace.run(*command, check=False).stdout.rstrip()}"
        for command in commands
    )
