"""Before and after as boxes and wires, whatever draws them: Journal → Picture. Pure.

as found             as `vmnet up` makes it

                     the VM
                       │
                     tap0 ┄┄ vmnet-server
                       │
eth0                 k6t-eth0
 │                     │
 │                   eth0-nic     eth0 (stand-in)
 │                     │
pod network          pod network
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmnet.bindings.bridge import bound
from vmnet.bindings.names import bridge_name, nic_name
from vmnet.lease.facts import Fact, lease_facts
from vmnet.model.links import describe
from vmnet.model.settings import DHCP_EXTERNAL, DHCP_OFF, ISOLATION_DHCP_ONLY
from vmnet.show.log import escape

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vmnet.model.links import FilterChain, LinkEntry, LinkSpec, Spec
    from vmnet.saved.schema import Journal

NETWORK, NIC, BRIDGE, TAP, VM, SERVER, STAND_IN = "network", "nic", "bridge", "tap", "vm", "server", "stand_in"
"""What a box stands for; within a panel each is there once."""

_SCOPE_LINK, _RTPROT_KERNEL = 253, 2
"""What the kernel makes by itself, and nobody has to be shown (linux/rtnetlink.h)."""


@dataclass(frozen=True, slots=True)
class Box:
    """A link, the VM, the server or the network: `kind` is one of the words above."""

    kind: str
    title: str
    note: str = ""
    """What it is, beside the title."""
    facts: tuple[Fact, ...] = ()
    locks: tuple[Fact, ...] = ()
    """The chains that stand here: their names, and what they keep apart."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One of the two halves."""

    title: str
    column: tuple[Box, ...]
    """From the guest's end to the pod network, each wired to the next. The last is outside of the pod."""
    beside: tuple[Box, ...] = ()
    """What is in the pod and on no wire; the server speaks at the tap."""


@dataclass(frozen=True, slots=True)
class Picture:
    """The whole drawing."""

    title: str
    before: Panel
    after: Panel
    locked: str
    """What the locks are."""


def picture(journal: Journal) -> Picture:
    """Draw the pod as it was found, and as the binding of these facts and settings makes it.

    Control characters are shown: names may come from anybody.
    """
    pod, settings = journal.pod, journal.settings
    spec = bound(pod, settings, ipv6_settable=True)
    network = Box(NETWORK, "pod network", "the node's end")
    return Picture(
        title=f"{escape(pod.ifname)} of the pod, before and after vmnet up",
        before=Panel("as found", (_found(journal), network)),
        after=Panel(
            "as vmnet up makes it",
            (
                _box(VM, "the VM", "what it is told", lease_facts(journal.leases)),
                _tap(journal, spec),
                _bridge(journal, spec),
                _nic(journal, spec),
                network,
            ),
            (_server(journal), _stand_in(journal, spec)),
        ),
        locked=f"chains of the nftables table {spec.table}" if spec.rulesets else "isolation is off: no filter",
    )


def _box(kind: str, title: str, note: str, facts: Iterable[Fact], locks: Iterable[Fact] = ()) -> Box:
    return Box(kind, escape(title), note, tuple((word, escape(phrase)) for word, phrase in facts), tuple(locks))


def _found(journal: Journal) -> Box:
    pod = journal.pod
    return _box(
        NIC,
        pod.ifname,
        "the pod's NIC",
        (
            *_entries("address", pod.ifname, (entry for entry in pod.addresses if entry.scope != _SCOPE_LINK)),
            ("MAC", pod.mac),
            *_entries("route", pod.ifname, (entry for entry in pod.routes if entry.protocol != _RTPROT_KERNEL)),
            *_entries("neighbour", pod.ifname, (entry for entry in pod.neighbours if entry.permanent)),
            ("MTU", str(pod.mtu)),
            *_resolver(journal),
        ),
    )


def _entries(word: str, ifname: str, entries: Iterable[LinkEntry]) -> list[Fact]:
    """Say what stands on the link, which need not be named again."""
    phrases = (describe(entry) for entry in entries)
    return [(word, phrase.removeprefix(f"{word} ").removesuffix(f" on {ifname}")) for phrase in phrases]


def _resolver(journal: Journal) -> list[Fact]:
    """Say what of the pod's resolv.conf the guest is told, unless it is told something else."""
    told, facts = journal.settings.told, lease_facts(journal.leases)
    kept = (("DNS", told.nameservers), ("search", told.domain_search))
    return [fact for word, value in kept if value is None for fact in facts if fact[0] == word]


def _tap(journal: Journal, spec: Spec) -> Box:
    link = _link(spec, journal.settings.tap)
    owner = "root alone" if link.owner is None else f"uid {link.owner}"
    facts = (("opened by", owner), *((("queues", "several"),) if link.multi_queue else ()))
    return _box(TAP, link.ifname, "QEMU's end", facts, _locks(journal, spec, link.ifname))


def _bridge(journal: Journal, spec: Spec) -> Box:
    link = _link(spec, bridge_name(journal.pod.ifname))
    return _box(BRIDGE, link.ifname, "bridge, no address", (), _locks(journal, spec, ""))


def _nic(journal: Journal, spec: Spec) -> Box:
    link = _link(spec, nic_name(journal.pod.ifname))
    facts = (("MAC", link.mac or ""),)
    return _box(NIC, link.ifname, "the pod's NIC, renamed", facts, _locks(journal, spec, link.ifname))


def _stand_in(journal: Journal, spec: Spec) -> Box:
    link = _link(spec, journal.pod.ifname)
    parked = [address for address in spec.addresses if address.ifname == link.ifname]
    facts = (*_entries("address", link.ifname, parked), ("MAC", link.mac or ""))
    return _box(STAND_IN, link.ifname, "stand-in, joined to nothing", facts)


def _link(spec: Spec, ifname: str) -> LinkSpec:
    return next(link for link in spec.links if link.ifname == ifname)


def _server(journal: Journal) -> Box:
    lease, lease6 = journal.lease, journal.lease6
    facts: list[Fact] = []
    if lease and lease.served:
        facts.append(("DHCP", lease.server_id))
    if lease6 and lease6.served:
        facts += [("RA", router.address) for router in lease6.routers]
        facts.append(("DHCPv6", lease6.server_address))
    unserved = {DHCP_OFF: "none", DHCP_EXTERNAL: "from the network"}
    if how := unserved.get(journal.settings.dhcp):
        facts.append(("DHCP", how))
    return _box(SERVER, "vmnet-server", "answers the VM alone", facts)


def _locks(journal: Journal, spec: Spec, device: str) -> tuple[Fact, ...]:
    """Say what the chains at that link keep apart: of the best ruleset, that most kernels take."""
    chains = spec.rulesets[0].chains if spec.rulesets else ()
    return tuple((chain.name, _kept(journal, chain)) for chain in chains if chain.device == device)


def _kept(journal: Journal, chain: FilterChain) -> str:
    """Say in one phrase what `plumbing.isolation` has the chain do."""
    external = journal.settings.dhcp == DHCP_EXTERNAL
    if chain.name == "guest":
        if journal.settings.isolation == ISOLATION_DHCP_ONLY:
            return "neither DHCP server nor router"
        return "only the VM's MAC and addresses"
    if chain.name == "network":
        return "no redirects" if external else "no other DHCP or router"
    return {
        "pod": "no way to the pod's own sockets",
        "server": "only looks for the gateway",
    }[chain.name]
