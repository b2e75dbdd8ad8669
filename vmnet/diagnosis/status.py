"""`vmnet status`: a sight as an outline for people, and as JSON for machines. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vmnet.control.report import as_json
from vmnet.diagnosis.plan import lease_lines
from vmnet.diagnosis.sight import IPV6, NAMES, UNKNOWN, ours
from vmnet.errors import DriftError, NotBoundError
from vmnet.kernel.inspect import FORWARDING
from vmnet.model.codec import plain
from vmnet.server.lease_state import DECLINED, FOREIGN_ADDRESS, HOLDING, SILENT, STATIC
from vmnet.settings.advice import at_this_place
from vmnet.settings.config import SANDBOX_OFF
from vmnet.show.outline import Node
from vmnet.show.units import count, span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.control.report import RouterReport
    from vmnet.diagnosis.sight import Family, Sight
    from vmnet.model.links import Link
    from vmnet.model.pod import PodInterface
    from vmnet.model.settings import Settings
    from vmnet.saved.schema import Journal

SCHEMA = 2
"""Of the JSON, described in deploy/status.schema.json. Raised when a member goes or means something else."""
_MOVING = frozenset(
    {"seconds", "lease_seconds", "uptime_seconds", "received", "sent", "events", "ignored", "last_xid"}
)
"""What goes on changing while nothing happens."""
_STYLES = {DECLINED: "bad", FOREIGN_ADDRESS: "warning", SILENT: "warning", UNKNOWN: "bad"}
_ROOT = 0


def exit_code(sights: tuple[Sight, ...]) -> int:
    """Return the worst of them: drift, nothing bound, or all well."""
    if any(sight.report.drift for sight in sights):
        return DriftError.exit_code
    return 0 if all(sight.report.journal for sight in sights) else NotBoundError.exit_code


def values(sights: tuple[Sight, ...]) -> dict[str, Any]:
    """Return all of it as JSON has it: of one binding its members, of several what they share, and each whole."""
    first, *others = sights
    if not others:
        return value(first)
    drifts = any(sight.report.drift for sight in sights)
    shared = {
        "schema": SCHEMA,
        "state": "drift" if drifts else "up",
        "drift": [f"{sight.ifname}: {text}" for sight in sights for text in sight.drift],
        "warnings": [f"{sight.ifname}: {text}" for sight in sights for text in sight.warnings],
    }
    nobodys = dict.fromkeys(("guest", "links", "server", "found", "settings", "lease", "lease6"))
    return {**shared, **nobodys, "bindings": [value(sight) for sight in sights]}


def outlines(sights: tuple[Sight, ...]) -> tuple[Node, ...]:
    """Draw each of them."""
    return tuple(node for sight in sights for node in outline(sight))


def value(sight: Sight) -> dict[str, Any]:
    """Return what is of one binding as JSON has it."""
    journal = sight.report.journal
    elsewhere = {"elsewhere": list(sight.elsewhere)} if sight.elsewhere else {}
    return {
        "schema": SCHEMA,
        "state": sight.state,
        "drift": list(sight.drift),
        "warnings": list(sight.warnings),
        "guest": _guest_value(sight, journal) if journal else None,
        "links": _links_value(sight, journal) if journal else None,
        "server": sight.server and as_json(sight.server),
        "found": plain(journal.pod) if journal else None,
        "settings": plain(journal.settings) if journal else None,
        "lease": plain(journal.lease) if journal else None,
        "lease6": plain(journal.lease6) if journal else None,
        **elsewhere,
    }


def standing(told: Any) -> Any:  # noqa: ANN401 # JSON is of any type
    """Return of a `value` what changes only when something happens."""
    if isinstance(told, dict):
        return {name: standing(member) for name, member in told.items() if name not in _MOVING}
    return [standing(member) for member in told] if isinstance(told, list) else told


def _guest_value(sight: Sight, journal: Journal) -> dict[str, Any]:
    return {
        "mac": journal.vm_mac,
        "families": {
            family.name: {
                "state": family.state,
                "seconds": family.seconds,
                "reached": dict(family.reached),
                "told": list(family.told),
                "uses": family.uses or None,
                "uses_foreign": family.uses_foreign or None,
                **({"left_out": list(family.left_out)} if family.left_out else {}),
            }
            for family in sight.families
        },
        "foreign_macs": list(sight.server.foreign_macs if sight.server else ()),
    }


def _links_value(sight: Sight, journal: Journal) -> dict[str, Any]:
    parts = ours(journal.pod.ifname, journal.settings.tap)
    return {part: _link_value(sight, ifname) for part, ifname in parts.items()}


def _link_value(sight: Sight, ifname: str) -> dict[str, Any] | None:
    link, state = sight.link(ifname), sight.link_state(ifname)
    if link is None or state is None:
        return None
    return {
        "ifname": ifname,
        "mac": link.mac,
        "mtu": link.mtu,
        "up": link.up,
        "carrier": state.carrier,
        "forwarding": None if state.port_state is None else state.port_state == FORWARDING,
        "owner": link.owner,
        "group": link.group,
        "multi_queue": link.multi_queue,
        "received": state.received,
        "sent": state.sent,
    }


def outline(sight: Sight) -> tuple[Node, ...]:
    """Draw the way from the pod network to the guest, and what is to be said of it."""
    journal = sight.report.journal
    if journal is None:
        others = tuple(Node(f"not by vmnet: {text}", "warning") for text in sight.elsewhere)
        return (Node("down: nothing is bound here", "title", others),)
    settings = journal.settings
    parts = (
        _network(sight, journal),
        Node("the guest is told", "title", tuple(Node(line) for line in lease_lines(journal.leases))),
        Node(f"isolation: {_isolation(settings)}", "" if settings.isolation == "strict" else "warning"),
        *_server(sight),
    )
    head = f"{sight.state}: {journal.pod.ifname} → {settings.tap}"
    nodes = [Node(head, "warning" if sight.drift else "good", parts)]
    if sight.warnings:
        nodes.append(Node("warnings:", "title", tuple(Node(text, "warning") for text in sight.warnings)))
    if sight.drift:
        changed = "changed since `up`; `vmnet up` repairs it, or says what to do instead:"
        title = at_this_place(changed, sight.flags)
        nodes.append(Node(title, "title", tuple(Node(text, "bad") for text in sight.drift)))
    return tuple(nodes)


def _network(sight: Sight, journal: Journal) -> Node:
    """Draw the links, each below the one that is nearer to the pod network."""
    pod, settings = journal.pod, journal.settings
    names = ours(pod.ifname, settings.tap)
    guest = Node(f"guest {journal.vm_mac}", "title", tuple(_family(family, sight) for family in sight.families))
    tap = Node(*_tap(sight, settings), (guest, *_others(sight)))
    bridge = Node(*_link(sight, names["bridge"], "bridge"), (tap,))
    nic = Node(*_link(sight, names["nic"], "the pod's NIC"), (bridge,))
    return Node(f"pod network: {_found(pod)}", "title", (nic,))


def _found(pod: PodInterface) -> str:
    addresses = [f"{address.local}/{address.prefixlen}" for address in pod.addresses if address.scope == 0]
    gateways = dict.fromkeys(route.gateway for route in pod.routes if route.is_default and route.gateway)
    via = f", gateway {', '.join(gateways)}" if gateways else ", no gateway"
    return f"{', '.join(addresses)}{via}"


def _link(sight: Sight, ifname: str, what: str) -> tuple[str, str]:
    """Say how a link is doing, and in which style."""
    link = sight.link(ifname)
    if link is None:
        return f"{ifname}: gone", "bad"
    faults = tuple(_faults(sight, link))
    said = ", ".join((what, f"MAC {link.mac}", f"MTU {link.mtu}", *faults))
    return f"{ifname}: {said}", "warning" if faults else ""


def _faults(sight: Sight, link: Link) -> Iterator[str]:
    state = sight.link_state(link.ifname)
    if not link.up:
        yield "DOWN"
    elif state and not state.carrier:
        yield "no carrier"
    if state and state.port_state is not None and state.port_state != FORWARDING and state.carrier:
        yield "its port does not forward"


def _tap(sight: Sight, settings: Settings) -> tuple[str, str]:
    tap, state = sight.link(settings.tap), sight.link_state(settings.tap)
    if tap is None or state is None:
        return f"{settings.tap}: gone", "bad"
    queues = "several queues" if tap.multi_queue else "one queue"
    opened = "in use by the VM" if state.carrier else "not in use (no VM attached)"
    frames = f"{count(state.received, 'frame')} from the guest, {state.sent} to it"
    said = ", ".join((f"tap of {_owner(tap)}", queues, opened, frames, *(() if tap.up else ("DOWN",))))
    return f"{settings.tap}: {said}", "" if state.carrier and tap.up else "warning"


def _owner(tap: Link) -> str:
    if tap.owner is None:
        return "anybody"
    user = "root" if tap.owner == _ROOT else f"uid {tap.owner}"
    return user if tap.group is None else f"{user}, gid {tap.group}"


def _family(family: Family, sight: Sight) -> Node:
    """Say how the guest stands: its state, when it came to it, and which addresses it was seen to use."""
    moved = family.seconds is not None and family.state != SILENT
    age = f" for {span(family.seconds or 0)}" if moved else ""
    title = f"{NAMES[family.name]} {', '.join(family.told)}: {family.state}{age}"
    style = "good" if family.state in (*HOLDING, STATIC) else _STYLES.get(family.state, "")
    return Node(title, style, tuple(_details(family, sight)))


def _details(family: Family, sight: Sight) -> Iterator[Node]:
    if not family.served:
        yield Node("vmnet does not answer its DHCP (see --dhcp)", "dim")
    if family.reached:
        steps = ", ".join(f"{state} at {span(at)}" for state, at in family.reached)
        yield Node(f"{steps} after READY", "dim")
    if family.uses:
        yield Node(f"uses {family.uses}")
    if family.uses_foreign:
        yield Node(f"uses {family.uses_foreign}, which is not its own", "warning")
    for sentence in family.left_out:
        yield Node(f"{sentence}: the guest's largest message has no room for more", "warning")
    ipv6 = sight.server.ipv6 if sight.server and family.name == IPV6 else None
    for router in ipv6.routers if ipv6 else ():
        yield _router(router)


def _router(router: RouterReport) -> Node:
    gateway, silent = router.gateway, router.silent_seconds
    if not gateway:
        return Node(f"router {router.address}: no default route, it only announces the other settings", "dim")
    behind = f" for {gateway}" if gateway != router.address else ""
    where = f"at {router.mac}" if router.mac else "whose MAC is not known yet"
    now = f", which has not answered the guest for {span(silent)}" if silent else ""
    return Node(f"router {router.address}{behind} {where}{now}", "" if router.mac and not silent else "warning")


def _others(sight: Sight) -> Iterator[Node]:
    macs = sight.server.foreign_macs if sight.server else ()
    if macs:
        yield Node(f"DHCP requests from other MACs, ignored: {', '.join(macs)}", "warning")


def _isolation(settings: Settings) -> str:
    """Say how the guest is kept apart, and what it may use besides its own."""
    also = ", ".join((*settings.allow_macs, *settings.allow_addresses))
    return f"{settings.isolation}; also allowed: {also}" if also else settings.isolation


def _server(sight: Sight) -> Iterator[Node]:
    """Say what the server has given up, and of what it could not, why."""
    said = sight.server
    if not said:
        return
    if said.compiles:
        yield Node("the DHCP server is starting; the guest's requests are queued", "warning")
    sandbox = said.sandbox
    if sandbox and not sandbox.on:
        yield Node(f"sandbox: OFF: {SANDBOX_OFF}", "bad")
    elif sandbox:
        missed = sandbox.missed.items()
        nodes = tuple(Node(f"not reached: {stage}: {reason}", "warning") for stage, reason in missed)
        yield Node(f"sandbox: {', '.join(sandbox.reached)}", "", nodes)
