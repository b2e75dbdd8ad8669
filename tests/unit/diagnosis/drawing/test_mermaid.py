"""The flowchart holds to a strict part of Mermaid's grammar; tests/readers has Mermaid itself read it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.testlib import layouts
from tests.testlib.journals import IPV6_ONLY, journal, of_pod
from vmnet.diagnosis.drawing.mermaid import mermaid
from vmnet.diagnosis.drawing.picture import picture
from vmnet.plumbing.discover import discover

NAME = r"[a-z]+(?:_[a-z]+)*"
LABEL = r'"(?:[^"#`&<>%]|#(?:\d+|[a-z]+);|</?b>|<br/>)+"'
LINES = {
    "begin": re.compile(r"flowchart LR"),
    "title": re.compile(r"accTitle: (?:[^#;]|#(?:\d+|[a-z]+);)+"),
    "subgraph": re.compile(rf"subgraph (?P<name>{NAME})\[{LABEL}\]"),
    "direction": re.compile(r"  direction TB"),
    "node": re.compile(rf"  (?P<name>{NAME})(?:\[{LABEL}\]|\(\[{LABEL}\]\)):::(?P<class>[a-z]+)"),
    "edge": re.compile(rf"  (?P<one>{NAME}) (?:---|-\.-) (?P<other>{NAME})"),
    "end": re.compile(r"end"),
    "class": re.compile(r"classDef (?P<name>[a-z]+) [a-z]+:#[0-9a-f]{6}(?:,[a-z]+:#[0-9a-f]{6})*"),
}
RESERVED = frozenset({"end", "graph", "subgraph", "default", "class", "style", "click", "call", "href"})


def read(text: str) -> list[tuple[str, re.Match[str]]]:
    """Say what each line is; one that is nothing is an error."""
    found = []
    for line in text.removesuffix("\n").split("\n"):
        matches = [(kind, match) for kind, form in LINES.items() if (match := form.fullmatch(line))]
        assert len(matches) == 1, line
        found += matches
    return found


def named(lines: list[tuple[str, re.Match[str]]], kind: str, group: str) -> list[str]:
    return [match[group] for found, match in lines if found == kind]


@pytest.mark.parametrize("layout", [*layouts.NAMES, IPV6_ONLY])
def test_every_line_is_one_of_the_grammar(layout: str) -> None:
    lines = read(mermaid(picture(journal(layout))))
    kinds = [kind for kind, _ in lines]
    assert kinds[0] == "begin"
    assert kinds.count("subgraph") == kinds.count("end") == 2
    nodes = named(lines, "node", "name")
    assert len(nodes) == len(set(nodes))
    assert not RESERVED & {word for name in nodes for word in (name, name.split("_")[0])}
    assert {*named(lines, "edge", "one"), *named(lines, "edge", "other")} <= set(nodes)
    assert set(named(lines, "node", "class")) <= set(named(lines, "class", "name"))


def test_what_means_something_to_mermaid_is_written_as_an_entity() -> None:
    pod = replace(discover(layouts.status("bridge")), ifname='<b>"`#&%')
    text = mermaid(picture(of_pod(pod)))
    read(text)
    assert "<b>#lt;b#gt;#quot;#96;#35;#amp;#37;</b> the pod's NIC" in text
