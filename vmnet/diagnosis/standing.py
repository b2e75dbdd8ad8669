"""How a binding stands: what is not as it shall be, what its server says, what is not well."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vmnet.agent.recall import Known, begun_here, only_copy
from vmnet.agent.tap_in_use import anothers, whose
from vmnet.bindings.names import bridge_name
from vmnet.control import call, processes
from vmnet.diagnosis.conflict import conflict
from vmnet.kernel.read import read
from vmnet.model.links import Link, Spec, Status
from vmnet.model.settings import ISOLATION_OFF
from vmnet.plumbing.diff import diff, missing_links, standing_chains
from vmnet.plumbing.lifetimes import ran_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.control.report import ServerReport
    from vmnet.saved.schema import Journal
    from vmnet.settings.config import Config

from vmnet.agent.place import Place, at, recalled
from vmnet.agent.specs import bound_by

_NOTHING = Status(())


@dataclass(frozen=True, slots=True)
class Report:
    """How a binding stands. `drift` names, in words, everything that is not as it shall be."""

    journal: Journal | None
    drift: tuple[str, ...] = ()
    server: ServerReport | None = None
    """What the server says; None where it does not answer."""
    warnings: tuple[str, ...] = ()
    """In words, what is as it shall be and yet not well."""
    now: Status = _NOTHING
    """What it was read from."""


def status(config: Config) -> Report:
    """Compare what is there with what shall be there, and ask the server how the guest stands."""
    with at(config) as place:
        return report(place, config)


def report(place: Place, config: Config) -> Report:
    """The same in the namespace where we are already, as often as is liked."""
    now = read(place.netlink)
    return _report(place, recalled(place, config, now), now)


def reports(place: Place, config: Config) -> tuple[Report, ...]:
    """The same of each binding that is here; of the one that is named, where one is. One report where none is.

    Raises:
        RefusedError: the journal of one of them cannot be trusted.
    """
    now = read(place.netlink)
    ifnames = (config.interface,) if config.interface else tuple(begun_here(place.state, place.here, now)) or ("",)
    each = (recalled(place, replace(config, interface=ifname), now) for ifname in ifnames)
    return tuple(_report(place, known, now) for known in each)


def statuses(config: Config) -> list[Report]:
    """Return `status` of each binding here; of the one that is named, where one is."""
    with at(config) as place:
        return list(reports(place, config))


def _report(place: Place, known: Known | None, now: Status) -> Report:
    if known is None:
        return Report(None, now=now)
    spec = bound_by(known.journal, now)
    stranger = anothers(now, known.journal)
    differences = [whose(now, stranger, known.journal)] if stranger else []
    differences += [str(change) for change in diff(_without(now, stranger), spec)]
    differences += [
        f"link {name} is gone, and `vmnet up` cannot bring it back; run `vmnet down`, and `vmnet up` when the CNI "
        "has made it again"
        for name in missing_links(now, spec)
    ]
    if known.directory is None:
        lost = (*differences, "save the pod's configuration again: the journal is lost")
        return Report(known.journal, lost, now=now)
    said = call.ask_server(known.directory)
    trouble = processes.trouble(known.directory, said)
    if trouble:
        differences.append(f"start the DHCP server: {trouble}")
    warnings = _warnings(known.journal, spec, now, said)
    return Report(known.journal, tuple(differences), said, tuple(warnings), now)


def _without(now: Status, stranger: Link | None) -> Status:
    """Leave a link out that is none of the binding's: no change of ours is about it."""
    return replace(now, links=tuple(link for link in now.links if link is not stranger)) if stranger else now


def _warnings(journal: Journal, spec: Spec, now: Status, said: ServerReport | None) -> Iterator[str]:
    """Say whether the guest's address is somebody else's too, and what keeps it less apart than it could be."""
    yield from only_copy(journal)
    if declined := conflict(journal.pod, journal.lease, said):
        yield declined
    for address in ran_out(journal.pod, now):
        yield (
            f"{address.local} has expired: nothing renewed it while the VM had it, and the guest no longer gets "
            "it; run `vmnet down`, and `vmnet up` when the pod has an address again"
        )
    if journal.settings.isolation == ISOLATION_OFF:
        yield "the guest is not isolated from the pod network (--isolation off)"
        bridge = now.link(bridge_name(journal.pod.ifname))
        if bridge and bridge.accept_ra:
            yield (
                f"{bridge.ifname} accepts router advertisements, so the guest can give the pod addresses and "
                "routes; run the sysctl that `vmnet doctor` names (VMN-406), or use --isolation strict"
            )
    if now.chains is None:
        yield "the isolation rules were not checked: CAP_NET_ADMIN is missing"
    standing = standing_chains(now, spec)
    for ruleset in spec.rulesets:
        if ruleset.warning and standing == set(ruleset.chains):
            yield ruleset.warning
