"""4xx: the way of the guest's frames: MTU, gateways, what else looks at them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmnet.bindings.names import bridge_name, nic_name
from vmnet.diagnosis.evidence import ERROR, INFO, WARNING, Finding
from vmnet.kernel.inspect import UNANSWERED
from vmnet.lease.shared import SMALLEST_IPV6_MTU, global_addresses, ipv6_mtu
from vmnet.model import traffic
from vmnet.model.settings import ISOLATION_OFF
from vmnet.plumbing.discover import better_interface

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.diagnosis.evidence import Evidence
    from vmnet.model.pod import PodInterface


def mtu(evidence: Evidence) -> Iterator[Finding]:
    """Nothing on the way is narrower than what the guest is told."""
    journal = evidence.journal
    told = journal.leases.interface_mtu if journal else None
    if journal is None or told is None:
        return
    pod, settings = journal.pod, journal.settings
    ours = (settings.tap, bridge_name(pod.ifname), nic_name(pod.ifname))
    names = ours if evidence.bound else (pod.ifname,)
    links = [link for name in names if (link := evidence.status.link(name))]
    narrow = [f"{link.ifname} has MTU {link.mtu}" for link in links if link.mtu < told]
    narrow += [
        f"the pod's default route via {route.gateway or route.ifname} has MTU {route.mtu}"
        for route in pod.routes
        if route.is_default and route.mtu and route.mtu < told
    ]
    if narrow:
        yield Finding(
            ERROR,
            "the guest's MTU is too large for its path: connections start, then hang with the first large answer",
            (f"the guest is told MTU {told}", *narrow),
            "`vmnet up` repairs links; if --mtu is larger than the default route's MTU, run `vmnet down`, then "
            "`vmnet up` without --mtu",
        )


def no_ipv6_below_its_least(evidence: Evidence) -> Iterator[Finding]:
    """The pod's MTU is enough for all that the pod has."""
    journal = evidence.journal
    if journal is None or not journal.settings.told.ipv6:
        return
    addresses = global_addresses(journal.pod, ipv6=True)
    least = ipv6_mtu(journal.pod, journal.settings)
    if addresses and least < SMALLEST_IPV6_MTU:
        yield Finding(
            WARNING,
            f"the guest gets no IPv6: an MTU of {least} is below the IPv6 minimum of {SMALLEST_IPV6_MTU} (RFC "
            "8200 §5)",
            tuple(f"the pod has {address.local}/{address.prefixlen}" for address in addresses),
            f"give the pod network an MTU of at least {SMALLEST_IPV6_MTU}, or remove --mtu",
        )


def silent_gateway(evidence: Evidence) -> Iterator[Finding]:
    """The gateways answer ARP and neighbour discovery."""
    journal = evidence.journal
    if journal is None:
        return
    gateways = _gateways(journal.pod)
    for entry in evidence.neighbours:
        if entry.ifname == journal.pod.ifname and entry.dst in gateways and entry.state in UNANSWERED:
            asked = "neighbour discovery" if ":" in entry.dst else "ARP"
            yield Finding(
                WARNING,
                f"the gateway {entry.dst} does not answer {asked}: the pod reaches nothing beyond its link, and "
                "the guest will not either",
                (f"neighbour {entry.dst} on {entry.ifname} is {entry.state}",),
                f"`ping {entry.dst}` in the pod; look for the address on the node, and for a NetworkPolicy or the "
                "CNI's agent in between",
            )


def unknown_gateway(evidence: Evidence) -> Iterator[Finding]:
    """The server knows where the IPv6 gateways are, for which it plays a router."""
    for silent in evidence.server.silent_gateways:
        if silent.seconds:
            seen = f"the guest has asked for the router {silent.router} for {silent.seconds:.0f} s"
        else:
            seen = f"the MAC of the guest's router {silent.router} is not known"
        yield Finding(
            WARNING,
            f"the IPv6 gateway {silent.gateway} has not answered neighbour discovery: the guest's routes through "
            "it do not work",
            (seen,),
            f"look for {silent.gateway} on the node; the server asks again whenever the guest does: run "
            "`vmnet doctor` again",
        )


def no_default_route(evidence: Evidence) -> Iterator[Finding]:
    """There is a way out of the pod network."""
    journal = evidence.journal
    if journal is None:
        return
    pod = journal.pod
    has = {
        6 if ipv6 else 4: any(route.is_default and route.ipv6 == ipv6 for route in traffic.routes(pod))
        for ipv6 in (False, True)
        if global_addresses(pod, ipv6=ipv6)
    }
    lacking = [f"IPv{version}" for version, found in has.items() if not found]
    elsewhere = "" if evidence.interface else better_interface(evidence.status, pod)
    if elsewhere:
        what, _, remedy = elsewhere.partition(": ")
        defaults = (route for route in evidence.status.routes if route.is_default)
        seen = tuple(f"default route via {route.gateway or 'the link'} on {route.ifname}" for route in defaults)
        yield Finding(WARNING, what, seen, remedy)
    elif lacking:
        yield Finding(
            WARNING,
            f"the pod has no {' and no '.join(lacking)} default route: the guest reaches its own subnet only",
            tuple(f"route {route.dst} on {route.ifname}" for route in pod.routes) or ("there is no route",),
            "nothing, if that is intended; else check the routes in the CNI's configuration",
        )


def bridge_netfilter(evidence: Evidence) -> Iterator[Finding]:
    """The rules for routed packets are not asked about the guest's frames."""
    netfilter = evidence.netfilter
    if not netfilter.calls:
        return
    chains = netfilter.chains or ()
    shows = f"br_netfilter shows the guest's frames to {', '.join(netfilter.calls)}"
    off = "sysctl -w " + " ".join(f"net.bridge.bridge-nf-call-{name}=0" for name in netfilter.calls)
    remedy = _as_root(evidence, off)
    seen = tuple(f"bridge-nf-call-{name} is 1" for name in netfilter.calls)
    asked = tuple(
        f"chain {chain.family} {chain.table} {chain.name}: {chain.hook}, {chain.policy}" for chain in chains
    )
    asked += tuple(f"iptables-legacy has the table {table}" for table in netfilter.legacy)
    if any(chain.policy == "drop" for chain in chains):
        yield Finding(ERROR, f"{shows}, and a chain there drops by default", seen + asked, remedy)
    elif asked:
        yield Finding(
            WARNING, f"{shows}, which have rules here: these also affect the guest", seen + asked, remedy
        )
    else:
        what = f"{shows}: there are no iptables rules yet, but any added later would affect the guest"
        yield Finding(INFO, what, seen, f"nothing now; to be safe, {remedy}")


def accepts_advertisements(evidence: Evidence) -> Iterator[Finding]:
    """A router advertisement of the guest does nothing to the pod."""
    journal = evidence.journal
    bridge = evidence.status.link(bridge_name(journal.pod.ifname)) if journal else None
    if journal is None or bridge is None or not bridge.accept_ra:
        return
    unguarded = journal.settings.isolation == ISOLATION_OFF
    kept = "which isolation blocks" if not unguarded else "and nothing blocks the guest's"
    yield Finding(
        WARNING if unguarded else INFO,
        f"{bridge.ifname} acts on router advertisements, {kept}",
        (f"accept_ra of {bridge.ifname} is {bridge.accept_ra}",),
        f"{_as_root(evidence, f'sysctl -w net/ipv6/conf/{bridge.ifname}/accept_ra=0')}; `vmnet up` does it if "
        "/proc/sys is writable",
    )


def _as_root(evidence: Evidence, command: str) -> str:
    """Say where a command that writes /proc/sys can be run: here, or only on the node."""
    if evidence.surroundings.sysctls_writable:
        return f"in the pod's network namespace: `{command}`"
    return (
        f"/proc/sys is read-only here, so on the node, as root: `nsenter --net=/proc/PID/ns/net "
        f"{command}`, PID being "
        "that of a process of this pod"
    )


def _gateways(pod: PodInterface) -> set[str]:
    return {route.gateway for route in pod.routes if route.gateway}
