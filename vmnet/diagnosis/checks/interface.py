"""2xx: the pod interface and its facts, with the refusals of `up`. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmnet.bindings.names import bridge_name, free_tap, nic_name
from vmnet.diagnosis.checks.place import node_namespace
from vmnet.diagnosis.evidence import ERROR, WARNING, Finding, refused
from vmnet.errors import RefusedError
from vmnet.model.links import FOREVER
from vmnet.plumbing.discover import (
    discover,
    pod_link,
    refuse_bound_elsewhere,
    refuse_names_taken,
    refuse_not_ready,
    refuse_not_restorable,
    refuse_occupied,
    refuse_orphans,
    refuse_unbridgeable,
)
from vmnet.plumbing.discover import not_restorable as discover_not_restorable
from vmnet.plumbing.lifetimes import ran_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.diagnosis.evidence import Evidence
    from vmnet.model.links import Link


def not_ready(evidence: Evidence) -> Iterator[Finding]:
    """There is an interface, up and with an address."""

    def ready() -> None:
        refuse_not_ready(evidence.status, pod_link(evidence.status, evidence.interface))

    links = [link for link in evidence.status.links if not link.loopback]
    seen = [f"{link.ifname} is {'up' if link.up else 'down'}" for link in links]
    yield from refused(ready, tuple(seen) or ("there is no link but lo",))


def unbridgeable(evidence: Evidence) -> Iterator[Finding]:
    """It is of a kind that can be a port of a bridge, nobody's yet, and a tap can have its MTU."""
    link = _link(evidence)
    if link and link.ifname not in evidence.begun:  # else it is the stand-in, and its journal is what is wrong
        controller = f", a port of {link.controller}" if link.controller else ""
        mode = f" in {link.mode} mode" if link.mode else ""
        seen = [f"{link.ifname} is of kind {link.kind or 'hardware'}{mode}{controller}, its MTU {link.mtu}"]
        seen += [
            f"{other.ifname} is of kind {other.kind}, on {link.ifname}"
            for other in evidence.status.links
            if other.lower == link.ifname
        ]

        def free() -> None:
            refuse_unbridgeable(link)
            refuse_occupied(evidence.status, link)

        yield from refused(free, tuple(seen))


def not_restorable(evidence: Evidence) -> Iterator[Finding]:
    """All that it has could be given back."""
    link = _link(evidence)
    if link:
        seen = discover_not_restorable(evidence.status, link)
        yield from refused(lambda: refuse_not_restorable(evidence.status, link), seen)


def names_taken(evidence: Evidence) -> Iterator[Finding]:
    """Nobody else's links bear our names."""

    def free() -> None:
        pod = discover(evidence.status, evidence.interface)
        tap = evidence.tap or free_tap({*evidence.taken, *(link.ifname for link in evidence.status.links)})
        refuse_names_taken(evidence.status, pod, tap, evidence.taken, evidence.holders)

    link = _link(evidence)
    unbound = link and link.ifname not in evidence.begun and not any(_bound_already(evidence))
    if link and unbound and _discovered(evidence):
        names = (evidence.tap, bridge_name(link.ifname), nic_name(link.ifname))
        taken = [other for name in names if (other := evidence.status.link(name))]
        seen = tuple(f"{other.ifname} is of kind {other.kind or 'hardware'}, MAC {other.mac}" for other in taken)
        yield from refused(free, seen)


def orphans(evidence: Evidence) -> Iterator[Finding]:
    """No bridge of ours stands without its facts."""
    ports = (f"{link.ifname} is a port of {link.controller}" for link in evidence.status.links if link.controller)
    yield from refused(lambda: refuse_orphans(evidence.status, evidence.interface, evidence.begun), tuple(ports))


def bound_elsewhere(evidence: Evidence) -> Iterator[Finding]:
    """No other program has bound it."""
    ports = tuple(
        f"{link.ifname} is a port of {link.controller}" for link in evidence.status.links if link.controller
    )
    seen = ports or tuple(f"{link.ifname} is of kind {link.kind}" for link in evidence.status.links if link.kind)
    yield from refused(lambda: refuse_bound_elsewhere(evidence.status, evidence.interface, evidence.begun), seen)


def duplicate_address(evidence: Evidence) -> Iterator[Finding]:
    """Its IPv6 addresses are its own."""
    link = _link(evidence)
    for probed in evidence.probed:
        if link is None or probed.ifname != link.ifname:
            continue
        if probed.failed:
            yield Finding(
                ERROR,
                f"another machine has {probed.address}: its traffic may go there, and a guest that detects "
                "the duplicate does not use it",
                (f"{probed.address} on {probed.ifname} is dadfailed",),
                "find out which machine it is (`ip -6 neighbour` on the node may show it) and which of the two "
                "should have the address; let the CNI give the other one another",
            )
        else:
            yield Finding(
                WARNING,
                f"{probed.address} is still being probed for duplicates: the pod cannot use it yet",
                (f"{probed.address} on {probed.ifname} is tentative",),
                "wait a second and look again",
            )


def runs_out(evidence: Evidence) -> Iterator[Finding]:
    """Its addresses are its own for good: the guest is told how long it has them once, by our own clock."""
    if evidence.journal is None:
        return
    limited = [
        address
        for address in evidence.journal.pod.addresses
        if address.valid_lifetime != FOREVER and address.scope == 0
    ]
    over = ran_out(evidence.journal.pod, evidence.status) if evidence.bound else ()
    for address in over:
        yield Finding(
            ERROR,
            f"{address.local} has expired: nothing renewed it while the VM had it",
            (f"{address.local} was valid for {address.valid_lifetime} s when the pod was bound",),
            "run `vmnet down`, and `vmnet up` when the pod has an address again; let the CNI assign addresses "
            "that do not expire",
        )
    lasting = [address for address in limited if address not in over]
    if lasting:
        yield Finding(
            WARNING,
            "the pod's addresses expire, and nothing renews them while the VM has them (before, a router or a "
            "DHCP client in the pod did)",
            tuple(f"{address.local} is valid for {address.valid_lifetime} s" for address in lasting),
            "let the CNI assign addresses that do not expire, or run `vmnet down` and `vmnet up` in time",
        )


def otherwise_refused(evidence: Evidence) -> Iterator[Finding]:
    """`up` would not be refused for any other reason."""
    told = {
        f"{finding.what}; {finding.remedy}"
        for check in (
            node_namespace,
            not_ready,
            unbridgeable,
            not_restorable,
            names_taken,
            orphans,
            bound_elsewhere,
        )
        for finding in check(evidence)
    }
    known = (not evidence.surroundings.nft, evidence.surroundings.is_host, evidence.refusal in told)
    if evidence.refusal and not any(known):
        cause, _, remedy = evidence.refusal.partition("; ")
        yield Finding(
            ERROR, cause, ("`vmnet up` with the same options would be refused",), remedy or "see the reason above"
        )


def _link(evidence: Evidence) -> Link | None:
    try:
        return pod_link(evidence.status, evidence.interface)
    except RefusedError:
        return None


def _discovered(evidence: Evidence) -> bool:
    return not any(finding for check in (not_ready, unbridgeable, not_restorable) for finding in check(evidence))


def _bound_already(evidence: Evidence) -> Iterator[Finding]:
    yield from orphans(evidence)
    yield from bound_elsewhere(evidence)
