"""3xx: the binding's links, ports and rules. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmnet.bindings.isolation import rulesets
from vmnet.bindings.names import bridge_name, nic_name, table_name
from vmnet.diagnosis.evidence import ERROR, INFO, WARNING, Finding
from vmnet.kernel.inspect import FORWARDING
from vmnet.model.links import is_link_name
from vmnet.model.settings import ISOLATION_OFF

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.diagnosis.evidence import Evidence
    from vmnet.model.links import Link
    from vmnet.saved.schema import Journal

_PORT_STATES = ("disabled", "listening", "learning", "forwarding", "blocking")
"""BR_STATE_* (linux/if_bridge.h)."""


def drift(evidence: Evidence) -> Iterator[Finding]:
    """All is as it shall be."""
    if evidence.drift:
        yield Finding(
            ERROR,
            "the binding was changed from outside, or `up` was interrupted",
            tuple(f"`vmnet up` would {change}" for change in evidence.drift),
            "run `vmnet up`, which does just that; find out which program changes the pod's links",
        )


def nic_gone(evidence: Evidence) -> Iterator[Finding]:
    """The pod's NIC is there."""
    journal = evidence.journal
    if journal and _nic(evidence) is None:
        yield Finding(
            ERROR,
            "the pod's NIC is gone for good: the guest has no network",
            (f"there is no link with the index {journal.pod.ifindex}, which was {journal.pod.ifname}",),
            "run `vmnet down`, and `vmnet up` when the CNI has created it again",
        )


def nic_carrier(evidence: Evidence) -> Iterator[Finding]:
    """The pod's NIC is connected."""
    link = _nic(evidence)
    state = link and evidence.link_state(link.ifname)
    if link and link.up and state and not state.carrier:
        yield Finding(
            ERROR,
            f"{link.ifname} has no carrier: its other end, on the node, is down",
            (f"{link.ifname} is up and has no carrier",),
            "on the node, set the other end up (`ip link set IFNAME up`); the CNI's log may say who set it down",
        )


def tap_unheld(evidence: Evidence) -> Iterator[Finding]:
    """The VM holds its tap."""
    tap = _tap(evidence)
    state = tap and evidence.link_state(tap.ifname)
    if tap and tap.up and state and not state.carrier:
        yield Finding(
            WARNING,
            f"no program has {tap.ifname} open: the VM is off, or uses another tap",
            (f"{tap.ifname} is up and has no carrier, so no program has it open",),
            f"start the VM with {tap.ifname} (`vmnet domain` writes it into a domain's XML)",
        )


def port_state(evidence: Evidence) -> Iterator[Finding]:
    """The bridge's ports forward."""
    journal = evidence.journal
    for link in _ports(evidence, journal) if journal else ():
        state = evidence.link_state(link.ifname)
        if state and state.carrier and state.port_state not in (FORWARDING, None):
            word = _PORT_STATES[state.port_state] if state.port_state < len(_PORT_STATES) else state.port_state
            yield Finding(
                ERROR,
                f"{link.ifname} does not forward: frames stop at the bridge",
                (f"{link.ifname}, a port of {link.controller}, has a carrier and is {word}",),
                f"`bridge link set dev {link.ifname} state 3`; find out who set it so: vmnet's bridge has no STP",
            )


def further_port(evidence: Evidence) -> Iterator[Finding]:
    """Nobody else is on the bridge."""
    journal = evidence.journal
    if journal is None:
        return
    ours = (journal.settings.tap, nic_name(journal.pod.ifname))
    for link in _ports(evidence, journal):
        if link.ifname not in ours:
            yield Finding(
                WARNING,
                f"{link.ifname} is a port of {link.controller}, but not vmnet's: it sees the guest's "
                "frames, and its own reach the guest past the isolation rules",
                (f"{link.ifname} is of kind {link.kind or 'hardware'}, MAC {link.mac}",),
                _taken_out(link),
            )


def _taken_out(link: Link) -> str:
    """Say how: a command only where a shell takes the name for nothing but a name."""
    how = "; then take it out of the bridge"
    if is_link_name(link.ifname):
        how = f"; `ip link set {link.ifname} nomaster` removes it from the bridge"
    return f"find out what put it there{how}"


def not_isolated(evidence: Evidence) -> Iterator[Finding]:
    """The guest is kept apart."""
    if evidence.told_settings.isolation == ISOLATION_OFF:
        yield Finding(
            WARNING,
            "the guest is not isolated: it can impersonate any machine on the pod network, and reach the "
            "pod's own sockets",
            ("isolation is off, by --isolation, VMNET_ISOLATION or the configuration file",),
            "`vmnet down`, then `vmnet up --isolation strict` with the other options as before; --allow-address "
            "and --allow-mac widen it",
        )


_OF_A_KERNEL = "nothing in the pod helps: use a node whose kernel has what is named, if this matters"
_OF_A_CAPABILITY = (
    "add BPF to the capabilities of vmnet's container (the kernel needs cls_bpf, too), shut the VM down, "
    "then run `vmnet down` and `vmnet up`"
)


def missing_hook(evidence: Evidence) -> Iterator[Finding]:
    """The kernel took the best of the rules."""
    journal = evidence.journal
    if journal is None or evidence.status.chains is None:
        return
    table = table_name(journal.pod.ifname)
    standing = {chain for chain in evidence.status.chains if chain.table == table}
    for ruleset in rulesets(journal.pod, journal.settings):
        if ruleset.warning and standing == set(ruleset.chains):
            hooks = sorted({f"{chain.family} {chain.hook}" for chain in standing if chain.hook})
            yield Finding(
                WARNING,
                ruleset.warning,
                (f"the rules that stand hook into: {', '.join(hooks)}",),
                _OF_A_KERNEL if ruleset.checks else _OF_A_CAPABILITY,
            )


def tap_owner(evidence: Evidence) -> Iterator[Finding]:
    """Whoever runs the VM may open the tap."""
    tap = _tap(evidence)
    state = tap and evidence.link_state(tap.ifname)
    if tap and not tap.owner and not tap.group and state and not state.carrier:
        yield Finding(
            INFO,
            f"only root may open {tap.ifname}: QEMU gets EPERM as any other user",
            (f"{tap.ifname} belongs to uid {tap.owner or 0}",),
            "if QEMU does not run as root: `vmnet down`, then `vmnet up --owner UID[:GID]` with the other options "
            "as before",
        )


def tap_gone(evidence: Evidence) -> Iterator[Finding]:
    """No program holds a tap that is gone."""
    tap = _tap(evidence)
    state = tap and evidence.link_state(tap.ifname)
    lost = tuple(str(holder) for holder in evidence.holders if not holder.ifname)
    if evidence.journal and lost and not (state and state.carrier):
        ifname = evidence.journal.settings.tap
        yield Finding(
            ERROR,
            f"{' and '.join(lost)} has a tap open that was deleted ({ifname}, or another one): its VM has no "
            "network, and does not open the new tap by itself",
            tuple(f"{holder} has /dev/net/tun open without a link" for holder in lost),
            "shut the VM down and start it again; find out what deletes the pod's links",
        )


def _nic(evidence: Evidence) -> Link | None:
    if evidence.journal:
        return evidence.status.link_of_index(evidence.journal.pod.ifindex)
    return None


def _tap(evidence: Evidence) -> Link | None:
    return evidence.status.link(evidence.journal.settings.tap) if evidence.journal else None


def _ports(evidence: Evidence, journal: Journal) -> Iterator[Link]:
    bridge = bridge_name(journal.pod.ifname)
    return (link for link in evidence.status.links if link.controller == bridge)
