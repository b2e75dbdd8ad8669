"""What both families of the lease share: which of them the guest is told of, MTU, names and name servers. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmnet.model import traffic
from vmnet.model.links import FOREVER, is_link_local, is_unicast

if TYPE_CHECKING:
    from vmnet.model.lease import Resolver
    from vmnet.model.links import Address, Route
    from vmnet.model.pod import PodInterface
    from vmnet.model.settings import Settings

SMALLEST_IPV6_MTU = 1280
"""RFC 8200 §5."""
_RT_SCOPE_UNIVERSE = 0
_LONGEST_HOSTNAME = 63


def global_addresses(pod: PodInterface, *, ipv6: bool) -> tuple[Address, ...]:
    """The pod's addresses of one family that mean the same everywhere."""
    return tuple(
        address for address in pod.addresses if address.ipv6 is ipv6 and address.scope == _RT_SCOPE_UNIVERSE
    )


def ipv6_defaults(pod: PodInterface) -> list[Route]:
    """The IPv6 default routes via a gateway, the best first."""
    defaults = [route for route in traffic.routes(pod) if route.ipv6 and route.is_default]
    usable = [route for route in defaults if route.gateway and is_unicast(route)]
    return sorted(usable, key=lambda route: route.metric)


def passed_over(pod: PodInterface, *, ipv6: bool) -> list[str]:
    """In words, which of the pod's routes are not told, since its own traffic takes another table before."""
    return [
        f"route {route.dst} of table {route.table}: the pod's own traffic takes another table before, the guest "
        "does not get it"
        for route in traffic.passed_over(pod)
        if route.ipv6 is ipv6 and is_unicast(route)
    ]


def ends(pod: PodInterface, lifetime: int) -> int:
    """When a lifetime of an address of the pod ends, seconds of CLOCK_MONOTONIC; 0 for never or not known."""
    return 0 if lifetime in (0, FOREVER) or not pod.read_at else pod.read_at + lifetime


def mtu(pod: PodInterface, default: Route | None, settings: Settings) -> int:
    """What the guest can send without loss: the device's MTU, or the default route's where that is smaller."""
    return settings.mtu or min(pod.mtu, (default and default.mtu) or pod.mtu)


def mtu_warnings(pod: PodInterface, settings: Settings) -> list[str]:
    """In words, what is wrong with the MTU that the user wants."""
    wished = settings.mtu or 0
    if wished <= pod.mtu:
        return []
    return [f"the MTU {wished} is larger than {pod.ifname}'s {pod.mtu}: larger frames of the guest are lost"]


def ipv6_mtu(pod: PodInterface, settings: Settings) -> int:
    """What the guest can send of IPv6 without loss."""
    return mtu(pod, next(iter(ipv6_defaults(pod)), None), settings)


def is_told_ipv6(pod: PodInterface, settings: Settings) -> bool:
    """Whether the guest is told of IPv6: the pod has it, the user wants it, and frames are long enough for it."""
    wanted = settings.told.ipv6 and bool(global_addresses(pod, ipv6=True))
    return wanted and ipv6_mtu(pod, settings) >= SMALLEST_IPV6_MTU


def nameservers(
    pod: PodInterface, resolver: Resolver, settings: Settings
) -> tuple[tuple[str, ...], tuple[str, ...], list[str]]:
    """Those of IPv4, those of IPv6, and in words what of them the guest does not get."""
    servers, warnings = resolver.nameservers, resolver.warnings
    if settings.told.nameservers is not None:
        servers, warnings = settings.told.nameservers, ()
    ipv4, ipv6, unsaid = _by_family("nameserver", servers, pod, settings)
    if not ipv4 and not ipv6:
        unsaid.append("there is no nameserver to hand over: the guest resolves no names")
    return ipv4, ipv6, [*warnings, *unsaid]


def ntp_servers(pod: PodInterface, settings: Settings) -> tuple[tuple[str, ...], tuple[str, ...], list[str]]:
    """The same of time servers."""
    return _by_family("NTP server", settings.told.ntp_servers, pod, settings)


def _by_family(
    what: str, servers: tuple[str, ...], pod: PodInterface, settings: Settings
) -> tuple[tuple[str, ...], tuple[str, ...], list[str]]:
    told_ipv4 = bool(global_addresses(pod, ipv6=False))
    told_ipv6 = is_told_ipv6(pod, settings)
    ipv4, ipv6, warnings = [], [], []
    for server in servers:
        if is_link_local(server):
            warnings.append(f"{what} {server}: link-local addresses cannot be told, the guest does not get it")
        elif ":" not in server and told_ipv4:
            ipv4.append(server)
        elif ":" in server and told_ipv6:
            ipv6.append(server)
        elif settings.told.ipv6 or ":" not in server:
            family = "IPv6" if ":" in server else "IPv4"
            warnings.append(f"{what} {server}: the guest is told nothing of {family}, it does not get it")
    return tuple(ipv4), tuple(ipv6), warnings


def domain_search(resolver: Resolver, settings: Settings) -> tuple[tuple[str, ...], list[str]]:
    """The search list, and in words what of it the guest does not get."""
    if settings.told.domain_search is not None:
        return settings.told.domain_search, []
    return resolver.search, list(resolver.search_warnings)


def hostname(name: str) -> tuple[str, list[str]]:
    """One label of 1 to 63 octets (RFC 2132 §3.14, RFC 1035 §2.3.1): the domain is option 15's to say."""
    label = name.partition(".")[0]
    fitting = label[:_LONGEST_HOSTNAME].strip("-")  # as kubelet cuts a pod's name
    if not fitting and not name:
        return "", []
    if not fitting or not fitting.isascii() or not fitting.replace("-", "").replace("_", "").isalnum():
        return "", [f"the hostname {name!r} is not one that DHCP can carry: the guest keeps its own"]
    if fitting != label:
        long = len(label) > _LONGEST_HOSTNAME
        why = f"is longer than {_LONGEST_HOSTNAME} octets" if long else "begins or ends with a hyphen"
        return fitting, [f"the hostname {label!r} {why}: cut to {fitting!r}"]
    return fitting, []
