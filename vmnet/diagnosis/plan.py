"""Plans as text for people and as JSON for machines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from vmnet.lease.facts import lease_facts
from vmnet.model.codec import plain
from vmnet.model.links import describe
from vmnet.model.traffic import table_words
from vmnet.show.outline import Node

if TYPE_CHECKING:
    from vmnet.agent.lifecycle import Plan
    from vmnet.model.lease import Leases

_PLAN_SCHEMA = 1


def plan_json(plan: Plan) -> str:
    """Return the plan as one JSON object."""
    return _json(
        {
            "schema": _PLAN_SCHEMA,
            "already_up": plan.already_up,
            "found": plain(plan.journal.pod),
            "changes": [str(change) for change in plan.changes],
            "lease": plain(plan.journal.lease),
            "lease6": plain(plan.journal.lease6),
        }
    )


def plan_outline(plan: Plan) -> tuple[Node, ...]:
    """Return the plan as people read it."""
    pod = plan.journal.pod
    found = [f"{pod.ifname}  MAC {pod.mac}  MTU {pod.mtu}"]
    found += [describe(address) for address in pod.addresses]
    found += [describe(route) for route in pod.routes]
    found += [describe(neighbour) for neighbour in pod.neighbours if neighbour.permanent]
    found += [describe(proxy) for proxy in pod.proxies]
    found += filter(None, [table_words(pod)])
    changes = [str(change) for change in plan.changes] or ["nothing to do"]
    sections = (
        ("the pod was found with" if plan.already_up else "the pod has", found, ""),
        ("`vmnet up` will", changes, ""),
        ("the guest will be told", lease_lines(plan.journal.leases), ""),
        ("what it cannot be told", list(plan.journal.leases.warnings), "warning"),
        ("how the facts will be kept", list(plan.warnings), "warning"),
    )
    return tuple(_section(*section) for section in sections if section[1])


def _section(title: str, lines: list[str], style: str) -> Node:
    return Node(title, "title", tuple(Node(line, style) for line in lines))


def lease_lines(leases: Leases) -> list[str]:
    """Return what the leases say, one fact a line."""
    return [f"{word:<10}{phrase}" for word, phrase in lease_facts(leases)]


def _json(value: object) -> str:
    return json.dumps(value, indent=2)
