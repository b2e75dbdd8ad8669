"""6xx: what was left over, or got lost. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmnet.doctor.evidence import INFO, WARNING, Finding

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
            "remove these directories; they are never read. /run, the usual place, begins empty with each boot",
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
    bound = {evidence.journal.pod.ifname} if evidence.bound and evidence.journal else set()
    alone = [ifname for ifname in evidence.left.servers if ifname not in bound]
    if alone and not evidence.bound:
        yield Finding(
            WARNING,
            "a DHCP server is left from a binding that is gone: it holds no capability and hears nothing, but "
            "runs",
            tuple(f"a socket @vmnet/server/{ifname} is listened on" for ifname in alone),
            "`vmnet up` ends it and starts its own; or end the process: `ss -lxp` shows its pid",
        )


def lone_rules(evidence: Evidence) -> Iterator[Finding]:
    """No isolation rules stand without a binding."""
    tables = dict.fromkeys(f"{chain.family} {chain.table}" for chain in evidence.status.chains or ())
    if tables and not evidence.bound:
        yield Finding(
            WARNING,
            "isolation rules are left from a binding that is gone",
            tuple(f"table {table}" for table in tables),
            " ; ".join(f"nft delete table {table}" for table in tables),
        )
