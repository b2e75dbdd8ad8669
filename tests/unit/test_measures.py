"""Tests do not assert on what differs from machine to machine: what reads a clock or a share is a short list.

A clock may guard against hanging (testbed/patience.py), give a figure that is printed (tests/figures.py), or be
part of what is tested. Each file that reads one, or what a process has used, stands here with its reason. Whoever
has another reason adds a line, and says there what is asserted instead.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

REPOSITORY = Path(__file__).parents[2]
CALLS = frozenset(
    {
        *("monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time", "process_time_ns"),
        *("thread_time", "thread_time_ns", "getrusage", "times", "wait3", "wait4", "getloadavg"),
    }
)
"""Of the modules time, os and resource."""
MODULES = frozenset({"time", "os", "resource"})
WORDS = (
    "VmRSS",
    "VmHWM",
    "smaps",
    "statm",
    "schedstat",
    "loadavg",
    "SC_CLK_TCK",
    "cpu.stat",
    "/usr/bin/time",
    "rss=",
    "%cpu",
    "pcpu",
    "monotonic()",
    "perf_counter()",
)
"""Of /proc, ps(1) and programs that tests write."""
REASONS = {
    "testbed/demo.py": "the demo says how long its steps took",
    "testbed/eavesdrop.py": "guards against hanging",
    "testbed/flooder.py": "keeps to a rate, and says which it was",
    "testbed/libvirt_guest.py": "guards against hanging",
    "testbed/libvirtd.py": "guards against hanging",
    "testbed/netns.py": "guards against hanging",
    "testbed/patience.py": "the guard against hanging",
    "testbed/prometheus.py": "guards against hanging",
    "testbed/qemu.py": "the demo says how long a boot took",
    "testbed/snapshot.py": "guards against hanging: a pod that does not settle is compared as it is",
    "testbed/steady_traffic.py": "keeps to a rate, and says how long it did",
    "testbed/tap_guest.py": "guards against hanging",
    "testbed/watch.py": "guards against hanging",
    "tests/bench/bench.py": "what it is for",
    "tests/figures.py": "figures, and what `make soak` holds them against",
    "tests/netns/raw_client.py": "latencies that are printed; what a server of the test's own has grown by",
    "tests/netns/raw_client6.py": "latencies that are printed",
    "tests/netns/test_flood.py": "shares that are printed",
    "tests/netns/test_flood6.py": "shares that are printed; how often others were asked in the time that passed",
    "tests/netns/test_run.py": "guards against hanging; what processes of the test's own hold in memory",
    "tests/readers/terminal.py": "guards against hanging",
    "tests/unit/doors/libvirt/test_inbox.py": "deadlines that are handed over",
    "tests/testlib/mutations.py": "times that are printed",
    "tests/unit/server/test_loop.py": "a clock and a file of the test's own in place of the kernel's",
    "tests/unit/test_measures.py": "this list",
    "tests/vm/test_hook.py": "times that are printed",
}


def measures(source: str) -> set[str]:
    """What of a source reads a clock, or what a process has used."""
    if not any(word in source for word in (*CALLS, *WORDS)):
        return set()
    nodes = list(ast.walk(ast.parse(source)))
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in MODULES:
            found |= {node.attr} & CALLS
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            found |= {alias.name for alias in node.names} & CALLS
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            found |= {word for word in WORDS if word in node.value}
    return found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import time\nassert time.monotonic() < 5", {"monotonic"}),
        ("from time import perf_counter as now\nnow()", {"perf_counter"}),
        ("import resource\nresource.getrusage(0)", {"getrusage"}),
        ("import os\nclock = os.times", {"times"}),
        ("text.partition('VmRSS:')", {"VmRSS"}),
        ("f'/proc/{pid}/schedstat'", {"schedstat"}),
        ("run(['ps', '-o', 'rss='])", {"rss="}),
        ("PROGRAM = 'import time; print(time.monotonic())'", {"monotonic()"}),
        ('"""It says VmRSS in words."""\nimport os\nos.kill(1, 0)', set()),
    ],
)
def test_what_measures_is_seen(source: str, found: set[str]) -> None:
    assert measures(source) == found


def test_no_property_is_held_to_a_clock() -> None:
    assert settings().deadline is None
    assert HealthCheck.too_slow in settings().suppress_health_check


def test_only_these_files_measure_and_each_says_why() -> None:
    files = [path for room in ("tests", "testbed") for path in sorted((REPOSITORY / room).rglob("*.py"))]
    found = {str(path.relative_to(REPOSITORY)): measures(path.read_text(encoding="utf-8")) for path in files}
    assert {name: words for name, words in found.items() if words and name not in REASONS} == {}
    assert {name for name in REASONS if not found.get(name)} == set(), "these measure nothing any more"
