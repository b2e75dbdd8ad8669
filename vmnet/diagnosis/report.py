"""Findings for people, as an outline, and for machines, as JSON. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from vmnet.diagnosis.evidence import ERROR, INFO, SEVERITIES, WARNING
from vmnet.diagnosis.table import CHECKS, asked, examine
from vmnet.show.outline import Node

if TYPE_CHECKING:
    from vmnet.diagnosis.evidence import Check, Evidence, Finding

SCHEMA = 1
_STYLES = {INFO: "", WARNING: "warning", ERROR: "bad"}


def outlines(evidences: tuple[Evidence, ...], *, every: bool) -> tuple[Node, ...]:
    """Draw what was found of each binding."""
    told = _told_once(evidences)
    each = zip(evidences, told, strict=True)
    return tuple(node for evidence, found in each for node in _outline(evidence, found, every=every))


def _told_once(evidences: tuple[Evidence, ...]) -> list[tuple[Finding, ...]]:
    """Return the findings of each; what is of the place is found with every binding, and told with the first."""
    told: dict[tuple[str, str, tuple[str, ...]], None] = {}
    each = []
    for evidence in evidences:
        found = {(one.code, one.what, one.evidence): one for one in examine(evidence)}
        each.append(tuple(one for key, one in found.items() if key not in told))
        told.update(dict.fromkeys(found))
    return each


def outline(evidence: Evidence, *, every: bool) -> tuple[Node, ...]:
    """Draw the findings with their evidence and remedies; with `every`, also the checks that found nothing."""
    return _outline(evidence, examine(evidence), every=every)


def _outline(evidence: Evidence, findings: tuple[Finding, ...], *, every: bool) -> tuple[Node, ...]:
    looked = Node(_place(evidence), "title", tuple(_lines(evidence, findings, every)))
    return (looked, _summary(evidence, findings))


def _lines(evidence: Evidence, findings: tuple[Finding, ...], every: bool) -> list[Node]:
    nodes = []
    for check in asked(evidence):
        found = [finding for finding in findings if finding.code == check.code]
        nodes += [_finding(finding, check) for finding in found]
        if every and not found:
            nodes.append(Node(f"ok      {check.code}  {check.title}", "good"))
    return nodes or [Node("nothing found", "good")]


def _finding(finding: Finding, check: Check) -> Node:
    return Node(
        f"{finding.severity:<8}{finding.code}  {finding.what}",
        _STYLES[finding.severity],
        (
            *(Node(f"seen: {line}", "dim") for line in finding.evidence),
            Node(f"do: {finding.remedy}"),
            Node(f"see: {check.page}", "dim"),
        ),
    )


def _place(evidence: Evidence) -> str:
    if evidence.surroundings.is_host:
        return "the host's network namespace"
    if evidence.journal is None:
        return f"{evidence.interface or 'the pod interface'}: not bound; `vmnet up` would be refused"
    pod = evidence.journal.pod
    state = f"bound to {evidence.journal.settings.tap}" if evidence.bound else "not bound yet"
    return f"{pod.ifname}: {state}"


def _summary(evidence: Evidence, findings: tuple[Finding, ...]) -> Node:
    counts = {severity: sum(finding.severity == severity for finding in findings) for severity in SEVERITIES}
    plural = {ERROR: "errors", WARNING: "warnings", INFO: "notes"}
    singular = {ERROR: "error", WARNING: "warning", INFO: "note"}
    said = [
        f"{counts[severity]} {(singular if counts[severity] == 1 else plural)[severity]}"
        for severity in reversed(SEVERITIES)
        if counts[severity]
    ]
    style = "bad" if counts[ERROR] else "warning" if counts[WARNING] else "good"
    ear = f", listened for {evidence.listened:g} s" if evidence.listened else ""
    return Node(f"{len(asked(evidence))} checks{ear}: {', '.join(said) or 'all is well'}", style)


def as_json(evidences: tuple[Evidence, ...]) -> str:
    """Return the findings, and what became of every check, as one JSON object; a check is as bad as its worst."""
    each = zip(evidences, _told_once(evidences), strict=True)
    found_of = [(_interface(evidence), finding) for evidence, findings in each for finding in findings]
    applied = {check.code for evidence in evidences for check in asked(evidence)}
    found = {finding.code for _, finding in found_of}
    pages = {check.code: check.page for check in CHECKS}
    interfaces = [_interface(evidence) for evidence in evidences]
    value = {
        "schema": SCHEMA,
        "interface": interfaces[0] if len(interfaces) == 1 else None,
        "interfaces": [ifname for ifname in interfaces if ifname],
        "bound": all(evidence.bound for evidence in evidences),
        "listened_seconds": sum(evidence.listened for evidence in evidences),
        "checks": [
            {"code": check.code, "title": check.title, "result": _result(check.code, applied, found)}
            for check in CHECKS
        ],
        "findings": [
            {
                "code": finding.code,
                "interface": ifname,
                "severity": finding.severity,
                "what": finding.what,
                "evidence": list(finding.evidence),
                "remedy": finding.remedy,
                "page": pages[finding.code],
            }
            for ifname, finding in found_of
        ],
    }
    return json.dumps(value, indent=2)


def _interface(evidence: Evidence) -> str | None:
    return evidence.journal.pod.ifname if evidence.journal else evidence.interface or None


def _result(code: str, applied: set[str], found: set[str]) -> str:
    if code not in applied:
        return "not-applicable"
    return "found" if code in found else "passed"
