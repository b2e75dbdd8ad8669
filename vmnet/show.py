"""Plans and reports as text for people and as JSON for machines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from vmnet.codec import plain
from vmnet.config import SANDBOX_OFF
from vmnet.lease_facts import lease_facts
from vmnet.log import escape
from vmnet.model import describe
from vmnet.outline import Node

if TYPE_CHECKING:
    from vmnet.agent import Plan, Report
    from vmnet.model import Leases, Settings

_PLAN_SCHEMA = _STATUS_SCHEMA = 1


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
    changes = [str(change) for change in plan.changes] or ["nothing: all is as it shall be"]
    sections = (
        ("the pod was found with" if plan.already_up else "the pod has", found, ""),
        ("`vmnet up` will", changes, ""),
        ("the guest will be told", lease_lines(plan.journal.leases), ""),
        ("what it cannot be told", list(plan.journal.leases.warnings), "warning"),
    )
    return tuple(_section(*section) for section in sections if section[1])


def _section(title: str, lines: list[str], style: str) -> Node:
    return Node(title, "title", tuple(Node(line, style) for line in lines))


def lease_lines(leases: Leases) -> list[str]:
    """Return what the leases say, one fact a line."""
    return [f"{word:<10}{phrase}" for word, phrase in lease_facts(leases)]


def status_json(report: Report) -> str:
    """Return the report as one JSON object."""
    journal = report.journal
    return _json(
        {
            "schema": _STATUS_SCHEMA,
            "state": _state(report),
            "drift": list(report.drift),
            "warnings": list(report.warnings),
            "server": _server(report) or None,
            "found": plain(journal.pod) if journal else None,
            "settings": plain(journal.settings) if journal else None,
            "lease": plain(journal.lease) if journal else None,
            "lease6": plain(journal.lease6) if journal else None,
        }
    )


def status_text(report: Report) -> str:
    """Return the report as people read it."""
    journal = report.journal
    if journal is None:
        return "down: nothing is bound here"
    server = _server(report)
    guest = server.get("lease", "unknown")
    lines = [
        f"{_state(report)}: {journal.pod.ifname} → {journal.settings.tap}",
        f"guest: {guest}",
        *(f"  {line}" for line in lease_lines(journal.leases)),
        f"isolation: {_isolation(journal.settings)}",
        *_sandbox_lines(server.get("sandbox")),
    ]
    if report.warnings:
        lines += ["warnings:", *(f"  {line}" for line in report.warnings)]
    if report.drift:
        lines += ["to be put right by `vmnet up`:", *(f"  {line}" for line in report.drift)]
    return escape_lines(lines)


def escape_lines(lines: list[str]) -> str:
    """Join lines, with control characters shown instead of sent."""
    return "\n".join(escape(line) for line in lines)


def _state(report: Report) -> str:
    if report.journal is None:
        return "down"
    return "drift" if report.drift else "up"


def _server(report: Report) -> dict[str, Any]:
    try:
        answer = json.loads(report.server) if report.server else {}
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _isolation(settings: Settings) -> str:
    """Say how the guest is kept apart, and what it may use besides its own."""
    also = ", ".join((*settings.allow_macs, *settings.allow_addresses))
    return f"{settings.isolation}; also allowed: {also}" if also else settings.isolation


def _sandbox_lines(sandbox: dict[str, Any] | None) -> list[str]:
    """Return which stages the server reached, and the others with why not."""
    if not sandbox:
        return []
    if not sandbox["on"]:
        return [f"sandbox: OFF: {SANDBOX_OFF}"]
    missed = [f"  not reached: {stage}: {reason}" for stage, reason in sandbox["missed"].items()]
    return [f"sandbox: {', '.join(sandbox['reached'])}", *missed]


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
