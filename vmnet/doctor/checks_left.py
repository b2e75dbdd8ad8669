"""6xx: what was left over, or got lost. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmnet.doctor.evidence import INFO, WARNING, Finding
from vmnet.plumbing.names import bridge_name, table_name
from vmnet.plumbing.whose import VMNET, bound_elsewhere

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.doctor.evidence import Evidence


def stale_journals(evidence: Evidence) -> Iterator[Finding]:
    """The state directory holds no journals from before the last boot."""
    if evidence.left.stale:
        yield Finding(
            INFO,
            "there are journals from before the machine's last boot: their namespaces are gone",
            evidence.left.stale,
            "where no other machine keeps its state there, remove these directories: they are never read. /run, "
            "the usual place, begins empty with each boot",
        )


def begun(evidence: Evidence) -> Iterator[Finding]:
    """No journal speaks of a binding of which nothing stands."""
    if evidence.left.begun:
        yield Finding(
            INFO,
            "a bring-up was cut short before its first change, or a take-down after its last",
            (f"{evidence.left.begun} is there, and nothing of its binding stands",),
            "`vmnet down` tidies it away; `vmnet up` begins anew",
        )


def lost(evidence: Evidence) -> Iterator[Finding]:
    """The binding's journal is there."""
    if evidence.left.lost and evidence.journal:
        yield Finding(
            WARNING,
            "the binding's journal is lost, or another state directory was named: what the pod was like, only "
            "the note on its NIC says",
            (f"the NIC of {evidence.journal.pod.ifname} bears the note, --state-dir has no journal of it",),
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
            "a DHCP server is left from a binding that is gone: it holds no capability and hears nothing, but "
            "runs",
            tuple(f"a socket @vmnet/server/{ifname} is listened on" for ifname in alone),
            "find its process by that socket with `ss -lxp`, and end it; nothing, if the VM comes back there: the "
            "next bring-up of that interface ends it",
        )


def lone_rules(evidence: Evidence) -> Iterator[Finding]:
    """No isolation rules stand without a binding."""
    if any(one.who == VMNET for one in bound_elsewhere(evidence.status, evidence.known)):
        return  # they may well be the rules of that: no advice is safe before its facts are found
    used = {table_name(ifname) for ifname in evidence.known}
    links = {link.ifname for link in evidence.status.links}
    used |= {chain.table for chain in evidence.status.chains or () if chain.device in links}
    lone = (chain for chain in evidence.status.chains or () if chain.table not in used)
    tables = dict.fromkeys(f"{chain.family} {chain.table}" for chain in lone)
    if tables:
        yield Finding(
            WARNING,
            "isolation rules are left from a binding that is gone",
            tuple(f"table {table}" for table in tables),
            " ; ".join(f"nft delete table {table}" for table in tables),
        )
