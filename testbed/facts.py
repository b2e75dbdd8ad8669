"""What a pod had and what a guest got: read with the same eyes, compared fact by fact."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from testbed.netns import Netns
    from testbed.pods import Pod

DEFAULT = "0.0.0.0/0"
DEFAULTS = (DEFAULT, "::/0")


@dataclass(frozen=True, slots=True)
class RouteFact:
    """A route as a packet feels it: `dst` as address/length, `gateway` empty when on-link."""

    dst: str
    gateway: str = ""

    def __str__(self) -> str:
        where = "default" if self.dst in DEFAULTS else self.dst
        return f"{where} via {self.gateway}" if self.gateway else f"{where} on-link"


@dataclass(frozen=True, slots=True)
class GuestFacts:
    """A network identity, the pod's or a guest's. What nobody told stays empty or None."""

    mac: str
    address: str
    prefixlen: int
    gateway: str
    routes: tuple[RouteFact, ...]
    """Of equal destinations the one that is used stands first."""
    mtu: int
    """What the path beyond the gateway may carry: the default route's MTU, else the device's."""
    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    hostname: str = ""
    lease_time: int | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """One fact of the pod beside the guest's."""

    fact: str
    pod: str
    guest: str
    equal: bool


class NoFactsError(RuntimeError):
    """The namespace holds no address or no default route yet."""


def read_facts(namespace: Netns, ifname: str = "eth0") -> GuestFacts:
    """Read what the kernel of a namespace knows; resolver, host name and lease time are not the kernel's."""
    return from_iproute2(
        namespace.ip("-4", "address", "show", "dev", ifname),
        namespace.ip("-4", "route", "show", "table", "main"),
        ifname,
    )


def from_iproute2(links: list[Any], routes: list[Any], ifname: str) -> GuestFacts:
    """Understand `ip -j address` and `ip -j route`."""
    addresses = [
        entry for link in links if link.get("ifname") == ifname for entry in link["addr_info"] if "local" in entry
    ]
    default = next((route for route in routes if route["dst"] == "default"), None)
    if not addresses or default is None:
        raise NoFactsError(f"{ifname}: no address or no default route: {addresses} {routes}")
    link = next(link for link in links if link.get("ifname") == ifname)
    by_metric = sorted(routes, key=lambda route: int(route.get("metric", 0)))
    metrics = {name: value for entry in default.get("metrics", ()) for name, value in entry.items()}
    return GuestFacts(
        mac=link["address"],
        address=addresses[0]["local"],
        prefixlen=addresses[0]["prefixlen"],
        gateway=default.get("gateway", ""),
        routes=tuple(dict.fromkeys(_route(route) for route in by_metric if route.get("dev") == ifname)),
        mtu=metrics.get("mtu", link["mtu"]),
    )


def _route(route: dict[str, Any]) -> RouteFact:
    dst = DEFAULT if route["dst"] == "default" else route["dst"]
    return RouteFact(dst if "/" in dst else f"{dst}/32", route.get("gateway", ""))


def read_pod(pod: Pod) -> GuestFacts:
    """Read the pod's identity, before `vmnet up`: what a guest shall have."""
    return replace(read_facts(pod.netns, pod.ifname), nameservers=pod.nameservers, search=pod.search)


COMPARED = tuple(
    entry.name for entry in fields(GuestFacts) if entry.name not in ("routes", "hostname", "lease_time")
)


def compare(pod: GuestFacts, guest: GuestFacts) -> list[Comparison]:
    """Put the pod's facts beside the guest's, in the order people ask for them."""
    rows = [comparison(fact, getattr(pod, fact), getattr(guest, fact)) for fact in COMPARED]
    place = COMPARED.index("gateway") + 1
    return [*rows[:place], *compare_routes(pod.routes, guest.routes), *rows[place:]]


def comparison(fact: str, pod: Any, guest: Any) -> Comparison:  # noqa: ANN401 -- any field
    """Put one fact beside the other."""
    return Comparison(fact, _text(pod), _text(guest), pod == guest)


def compare_routes(pod: tuple[RouteFact, ...], guest: tuple[RouteFact, ...]) -> list[Comparison]:
    """Each route of the pod beside what leads the guest to the same addresses; then what leads only the guest.

    Compared is where packets go, for all addresses there are, not how it is written down: a client may add a host
    route to its gateway, and a DHCP server may say a subnet in two halves where clients would trip over the whole.
    """
    edges = sorted({edge for route in (*pod, *guest) for edge in _edges(route)} | {0})
    found: dict[RouteFact | None, list[RouteFact | None]] = {route: [] for route in pod}
    for edge in edges[:-1] if edges[-1] in (1 << 32, 1 << 128) else edges:
        found.setdefault(_lookup(pod, edge), []).append(_lookup(guest, edge))
    return [
        Comparison("route", str(route or "-"), _names(used), all(_hop(other) == _hop(route) for other in used))
        for route, used in found.items()
        if route or any(used)
    ]


def _names(routes: list[RouteFact | None]) -> str:
    return ", ".join(dict.fromkeys(str(route or "-") for route in routes))


def _edges(route: RouteFact) -> tuple[int, int]:
    """The first address of a route, and the first after it."""
    network = ip_network(route.dst)
    return int(network.network_address), int(network.broadcast_address) + 1


def _lookup(routes: tuple[RouteFact, ...], address: int) -> RouteFact | None:
    """The route an address takes: the longest prefix, of equals the first."""
    covering = [route for route in routes if _edges(route)[0] <= address < _edges(route)[1]]
    return max(covering, key=lambda route: ip_network(route.dst).prefixlen, default=None)


def _hop(route: RouteFact | None) -> str:
    return (route.gateway or "on-link") if route else "unreachable"


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def differences(pod: GuestFacts, guest: GuestFacts) -> str:
    """Name in words, one line each, what a guest has otherwise than the pod; empty when guest = pod."""
    return report(compare(pod, guest))


def report(rows: list[Comparison]) -> str:
    """Name what differs."""
    return "\n".join(
        f"{row.fact}: the pod has {row.pod or 'none'}, the guest has {row.guest or 'none'}"
        for row in rows
        if not row.equal
    )
