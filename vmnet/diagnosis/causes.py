"""Why what is waited for does not come: a cause in a word, what it was seen by, and what to do. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmnet.diagnosis.goals import HERE, READY, blocked
from vmnet.diagnosis.sight import IPV4, NAMES
from vmnet.server.lease_state import ASKED, DECLINED, FOREIGN_ADDRESS, OFFERED, RELEASED, SILENT
from vmnet.show.units import count, span

if TYPE_CHECKING:
    from vmnet.control.report import ServerReport
    from vmnet.diagnosis.goals import Way
    from vmnet.diagnosis.sight import Family, Sight


@dataclass(frozen=True, slots=True)
class Cause:
    """Why it does not come. The word is one of docs/watching.md."""

    word: str
    what: str
    evidence: tuple[str, ...]
    remedy: str


def cause(goal: str, sight: Sight, way: Way) -> Cause:
    """Say why it has not come."""
    return _of_binding(goal, sight) or _of_guest(goal, sight, way)


def _of_binding(goal: str, sight: Sight) -> Cause | None:
    """The reasons that are not the guest's."""
    drift = sight.drift
    if sight.report.journal is None:
        return Cause("not-up", "no binding is up here", ("`vmnet status` says `down`",), "run `vmnet up`")
    if sight.server is None:
        return Cause(
            "server-dead", "the DHCP server does not answer", drift, "run `vmnet up`, which starts another"
        )
    if not sight.server.serves:
        return _not_serving(sight.server)
    tap_is_gone = sight.link(sight.report.journal.settings.tap) is None
    if drift and (goal == READY or tap_is_gone):
        return Cause(
            *("drift", "the binding was changed or is incomplete", drift),
            "run `vmnet up`: it repairs the binding, or says what is in the way",
        )
    return None


def _not_serving(server: ServerReport) -> Cause:
    """One that has failed is replaced by `up`; one that is still starting is left alone."""
    what = "the DHCP server is not serving"
    if server.failed:
        reason = server.reason or "it says that it has failed"
        return Cause("not-serving", what, (reason,), "run `vmnet up`, which starts another")
    reason = "it is still starting (compiling its replies)"
    return Cause("not-serving", what, (reason,), "wait longer: the machine is slow or busy")


def _of_guest(goal: str, sight: Sight, way: Way) -> Cause:
    """The reasons that are the guest's, by the family with which it has come farthest."""
    heard = [family for family in sight.families if family.state != SILENT]
    for family in sorted(heard, key=lambda family: family.state in HERE, reverse=True):
        return _SPOKEN[family.state](family, sight, way)
    return _silent(sight, way)


def _silent(sight: Sight, way: Way) -> Cause:
    """Nothing was said that the server answers."""
    journal = sight.report.journal
    tap = journal.settings.tap if journal else ""
    state = sight.link_state(tap)
    frames = state.received if state else 0
    counted = f"{tap} has counted {count(frames, 'frame')} from the guest"
    lost = tuple(str(holder) for holder in way.holders if not holder.ifname)
    if state and not state.carrier and lost:
        return Cause(
            *("tap-gone", f"{' and '.join(lost)} has a deleted tap open, not the present {tap}"),
            (
                f"{tap} has no carrier",
                *(f"{one} has /dev/net/tun open without a link" for one in lost),
                counted,
            ),
            f"shut the VM down and start it again: QEMU opens {tap} when it starts",
        )
    if state and not state.carrier:
        return Cause(
            *("no-carrier", f"{tap} is not in use: the VM is off, or uses another tap"),
            (f"{tap} has no carrier", counted),
            f"start the VM; its domain must name {tap} (`vmnet domain` writes that), and QEMU's user must be its "
            "owner",
        )
    if not frames:
        return Cause(
            *("no-frames", f"the VM has {tap} open, but has sent no frame"),
            (f"{tap} has a carrier: a program has it open", counted),
            "the guest may be booting, halted, or lack a driver for the NIC's model: look at its console, try "
            "another model (nearly every system has a driver for e1000), set its link up",
        )
    macs = sight.server.foreign_macs if sight.server else ()
    if macs and journal:
        return Cause(
            *("other-mac", f"the guest asks from the MAC {', '.join(macs)} instead of {journal.vm_mac}"),
            (f"the VM's MAC is {journal.vm_mac}", *(f"DHCP was heard from {mac}" for mac in macs), counted),
            f"give the domain's interface the MAC {journal.vm_mac} (`vmnet domain` writes that), or "
            "shut the VM down and name the guest's own with `vmnet down`, then `vmnet up --mac MAC` with the "
            "other options as before",
        )
    return _no_discover(sight, counted)


def _no_discover(sight: Sight, counted: str) -> Cause:
    asks = "DISCOVER" if any(family.name == IPV4 for family in sight.families) else "DHCPv6 SOLICIT"
    ignored = sight.server.ignored if sight.server else {}
    seen = [counted, *(f"{count(number, 'frame')} ignored as {reason}" for reason, number in ignored.items())]
    for family in sight.families:
        seen += [f"{event}: {number}" for event, number in family.events.items()]
    if not all(family.served for family in sight.families):
        seen.append("vmnet's DHCP is switched off here (--dhcp)")
    return Cause(
        *(
            "no-discover",
            f"the guest sends frames, but no {asks}: it has a static configuration, or no DHCP client is running",
        ),
        tuple(seen),
        "turn DHCP on in the guest for this NIC, or write its configuration with `vmnet render`; `vmnet capture` "
        "shows what it says",
    )


def _offered(family: Family, sight: Sight, _way: Way) -> Cause:
    offers = family.events.get("offer", 0) + family.events.get("advertise", 0)
    return Cause(
        *("not-requested", f"the guest was offered {_told(family)} but has not requested it"),
        (f"{count(offers, 'offer')}, the last state change {span(family.seconds or 0)} ago", *_ignored(sight)),
        "possible reasons: it saw the address in use (`vmnet capture` shows its ARP), a firewall in the "
        "guest drops the offer, or the client requires an option that the offer lacks: see the client's log",
    )


def _asked(family: Family, sight: Sight, _way: Way) -> Cause:
    """Refused, or another server was chosen: by what was counted."""
    refusals = {
        event: number for event, number in family.events.items() if event.startswith(("nak", "not_on_link"))
    }
    if family.events.get("other_server") and not refusals:
        return Cause(
            *("other-server", "the guest chose another DHCP server"),
            (f"{count(family.events['other_server'], 'request')} for another server", *_ignored(sight)),
            "find out who else answers in the pod network: `vmnet doctor` listens for that",
        )
    return Cause(
        *("refused", f"the guest requested an address other than its own, {_told(family)}, and was refused"),
        tuple(f"{event}: {number}" for event, number in refusals.items()) or (f"its state is {family.state}",),
        "it should start over by itself; if not, delete the lease saved by its DHCP client",
    )


def _declined(family: Family, sight: Sight, _way: Way) -> Cause:
    return Cause(
        *("declined", f"ADDRESS CONFLICT: the guest found {_told(family)} in use by another machine"),
        sight.warnings or (f"{count(family.events.get('decline', 0), 'DECLINE')}",),
        "find out which of the two should have the address; if not this pod: `vmnet down`, give the pod another "
        "address, `vmnet up`",
    )


def _released(family: Family, _sight: Sight, _way: Way) -> Cause:
    return Cause(
        *("released", f"the guest gave {_told(family)} back: it shut its NIC down"),
        (f"{span(family.seconds or 0)} ago",),
        "set the NIC up in the guest, or boot it",
    )


def _foreign_address(family: Family, _sight: Sight, _way: Way) -> Cause:
    own = f"it was seen to use {family.uses}, too" if family.uses else f"it was never seen to use {_told(family)}"
    return Cause(
        *("foreign-address", f"the guest uses {family.uses_foreign} instead of its address {_told(family)}"),
        (f"ARP or neighbour discovery from {family.uses_foreign}", own),
        f"set the guest to DHCP, or to {_told(family)}: what the pod network sends to {family.uses_foreign} will "
        "not reach it",
    )


def _unreachable(family: Family, sight: Sight, way: Way) -> Cause:
    """The guest has its address, and does not answer for it, or is cut off."""
    address = _told(family).partition("/")[0]
    question = next((question for question in way.asked if question.address == address), None)
    evidence = [f"the guest's state is {family.state}"]
    if question:
        kind = "ARP" if family.name == IPV4 else "neighbour discovery"
        mac = way.answers.get(address)
        answer = f"{mac} answered" if mac else "nobody answered"
        evidence.append(
            f"{kind} for {address} on the tap, from {question.sender} at {question.sender_mac}: {answer}"
        )
    evidence += [
        f"br_netfilter shows its frames to chain {chain.family} {chain.table} {chain.name}, whose policy is drop"
        for chain in blocked(way, address)
    ]
    known = {entry.dst: entry.mac for entry in sight.report.journal.pod.neighbours} if sight.report.journal else {}
    routes = sight.report.journal.pod.routes if sight.report.journal else ()
    gateways = dict.fromkeys(route.gateway for route in routes if route.is_default and route.gateway)
    evidence += [f"gateway {gateway}: {known.get(gateway, 'its MAC is not known')}" for gateway in gateways]
    return Cause(
        *("unreachable", f"the guest has {_told(family)} over {NAMES[family.name]}, but cannot be reached at it"),
        tuple(evidence),
        _remedy(way, address),
    )


def _remedy(way: Way, address: str) -> str:
    if blocked(way, address):
        return (
            "stop br_netfilter from filtering bridged frames: `sysctl -w net.bridge.bridge-nf-call-iptables=0 "
            "net.bridge.bridge-nf-call-ip6tables=0` in the pod's network namespace; `vmnet doctor` says more"
        )
    return (
        "look in the guest: whether the address is on this NIC, the NIC is up, and no filter there drops ARP or "
        "neighbour discovery; a guest that is paused answers nothing"
    )


def _ignored(sight: Sight) -> tuple[str, ...]:
    ignored = sight.server.ignored if sight.server else {}
    return tuple(f"{count(number, 'frame')} ignored as {reason}" for reason, number in ignored.items())


def _told(family: Family) -> str:
    return ", ".join(family.told)


_SPOKEN = {
    OFFERED: _offered,
    ASKED: _asked,
    DECLINED: _declined,
    RELEASED: _released,
    FOREIGN_ADDRESS: _foreign_address,
    **dict.fromkeys(HERE, _unreachable),
}
"""By the state of a guest that was heard: why it has not got farther."""
