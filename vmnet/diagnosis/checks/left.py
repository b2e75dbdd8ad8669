"""6xx: what was left over, or got lost. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmnet.bindings.names import bridge_name, is_table_name, table_name
from vmnet.bindings.whose import VMNET, bound_elsewhere
from vmnet.diagnosis.evidence import INFO, WARNING, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.diagnosis.evidence import Evidence


def stale_journals(evidence: Evidence) -> Iterator[Finding]:
    """The state directory holds no journals from before the last boot."""
    if evidence.left.stale:
        yield Finding(
            INFO,
            "there are journals from before the machine's last boot: their namespaces are gone",
            evidence.left.stale,
            "if no other machine keeps its state there, delete these directories; they are never read. /run, "
            "the usual place, is empty after each boot",
        )


def begun(evidence: Evidence) -> Iterator[Finding]:
    """No journal speaks of a binding of which nothing stands."""
    if evidence.left.begun:
        yield Finding(
            INFO,
            "`up` was interrupted before its first change, or `down` after its last",
            (f"{evidence.left.begun} exists, but nothing of its binding",),
            "`vmnet down` removes it; `vmnet up` starts over",
        )


def lost(evidence: Evidence) -> Iterator[Finding]:
    """The binding's journal is there."""
    if evidence.left.lost and evidence.journal:
        yield Finding(
            WARNING,
            "the binding's journal is lost, or --state-dir names another directory: the note on the NIC has the "
            "only copy of the pod's configuration",
            (f"the NIC of {evidence.journal.pod.ifname} has the note, the state directory has no journal of it",),
            "`vmnet up` saves the journal again; keep the state directory on a volume that outlives the container",
        )


def lone_servers(evidence: Evidence) -> Iterator[Finding]:
    """No server serves what is not bound."""
    bridges = {link.ifname for link in evidence.status.links}
    alone = [
        ifname
        for ifname in evidence.left.servers
        if ifname not in evidence.known and bridge_name(ifname) not in bridges
    ]
    if alone:
        yield Finding(
            WARNING,
            "a DHCP server is still running for a binding that is gone: it has no capability and receives nothing",
            tuple(f"it listens on the socket @vmnet/server/{ifname}" for ifname in alone),
            "find its process with `ss -lxp` and end it; or do nothing, if that interface will be bound again: "
            "`up` replaces the server",
        )


def lone_rules(evidence: Evidence) -> Iterator[Finding]:
    """No isolation rules stand without a binding."""
    if any(one.who == VMNET for one in bound_elsewhere(evidence.status, evidence.known)):
        return  # they may well be the rules of that: no advice is safe before its facts are found
    used = {table_name(ifname) for ifname in evidence.known}
    links = {link.ifname for link in evidence.status.links}
    used |= {chain.table for chain in evidence.status.chains or () if chain.device in links}
    ours = (chain for chain in evidence.status.chains or () if is_table_name(chain.table))
    lone = (chain for chain in ours if chain.table not in used)
    tables = dict.fromkeys(f"{chain.family} {chain.table}" for chain in lone)
    if tables:
        yield Finding(
            WARNING,
            "isolation rules are left from a binding that is gone",
            tuple(f"table {table}" for table in tables),
            " ; ".join(f"nft delete table {table}" for table in tables),
        )
