"""What a server says → Prometheus' text, read back by prometheus_client's own parser."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families

from tests.testlib.dhcp.frames import REPLIES, compiled, discover
from vmnet.control.report import read_report
from vmnet.metrics import text as metrics
from vmnet.metrics.labels import ALWAYS_COUNTED, OPERATIONS
from vmnet.metrics.text import Binding, Scrape, text
from vmnet.server.log import Log
from vmnet.server.service import Service

if TYPE_CHECKING:
    import pytest

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
WHERE = {"interface": "eth0", "netns": "7", "state_dir": "/run/vmnet"}
FULL: dict[str, Any] = {
    "version": "0.1.0",
    "state": "serving",
    "reason": "",
    "uptime_seconds": 90.5,
    "vm_mac": "02:00:00:00:00:01",
    "yiaddr": "10.244.1.5",
    "resident_bytes": 9 << 20,
    "last_xid": 7,
    "uses": "",
    "uses_foreign": "",
    "lease": "bound",
    "lease_seconds": 3.5,
    "reached": {"offered": 1.25, "bound": 87.0},
    "events": {"offer": 2, "ack_selecting": 1},
    "ignored": {"short": 4, "queue_full": 2},
    "errors": {"send: Network is down": 2, "send: No buffer space available": 1, "receive: Network is down": 5},
    "dropped_options": [119, 121],
    "foreign_macs": ["02:00:00:00:00:07"],
    "sandbox": {"on": True, "reached": ["user", "seccomp"], "missed": {"landlock": "the kernel has no Landlock"}},
    "ipv6": {
        "lease": "static",
        "lease_seconds": 1,
        "reached": {"static": 2},
        "events": {"router_advertisement": 3},
        "addresses": ["fd00::5", "fd00::6"],
    },
}


def samples(*bindings: Binding, scrape: Scrape | None = None) -> Samples:
    """All samples of the text, by name and labels; none is there twice."""
    found: Samples = {}
    for family in text_string_to_metric_families(text(bindings, scrape).decode()):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found
            found[key] = sample.value
    return found


def binding(said: object, **changed: Any) -> Binding:  # noqa: ANN401 # of any field
    """A binding whose server says that."""
    return Binding(
        **{
            "interface": "eth0",
            "netns": 7,
            "state_dir": "/run/vmnet",
            "report": read_report(json.dumps(said).encode() + b"\n"),
            **changed,
        }
    )


def value(found: Samples, name: str, **labels: str) -> float | None:
    return found.get((name, frozenset({**WHERE, **labels}.items())))


def test_all_that_a_server_says() -> None:
    found = samples(binding(FULL))
    expected: list[tuple[str, dict[str, str], float]] = [
        ("up", {}, 1),
        ("info", {"version": "0.1.0", "mac": "02:00:00:00:00:01", "addresses": "10.244.1.5,fd00::5,fd00::6"}, 1),
        ("server_state", {"vmnet_server_state": "serving"}, 1),
        ("server_state", {"vmnet_server_state": "failed"}, 0),
        ("server_uptime_seconds", {}, 90.5),
        ("server_resident_memory_bytes", {}, 9 << 20),
        ("server_sandbox_stages", {"result": "reached"}, 2),
        ("server_sandbox_stages", {"result": "missed"}, 1),
        ("foreign_macs", {}, 1),
        ("dropped_options", {}, 2),
        ("lease_state", {"family": "ipv4", "vmnet_lease_state": "bound"}, 1),
        ("lease_state", {"family": "ipv4", "vmnet_lease_state": "static"}, 0),
        ("lease_state", {"family": "ipv6", "vmnet_lease_state": "static"}, 1),
        ("lease_state_age_seconds", {"family": "ipv4"}, 3.5),
        ("lease_reached_seconds", {"family": "ipv4", "state": "offered"}, 1.25),
        ("lease_reached_seconds", {"family": "ipv6", "state": "static"}, 2),
        ("events_total", {"family": "ipv4", "event": "offer"}, 2),
        ("events_total", {"family": "ipv6", "event": "router_advertisement"}, 3),
        ("ignored_frames_total", {"reason": "short"}, 4),
        ("socket_errors_total", {"operation": "send"}, 3),
        ("socket_errors_total", {"operation": "receive"}, 5),
    ]
    for name, labels, number in expected:
        assert value(found, f"vmnet_{name}", **labels) == number, (name, labels)


def test_what_is_asked_for_most_is_zero_before_it_happens() -> None:
    fresh = {**FULL, "events": {}, "errors": {}, "ipv6": {**FULL["ipv6"], "events": {}}}
    found = samples(binding(fresh))
    for family, events in ALWAYS_COUNTED.items():
        for event in events:
            assert value(found, "vmnet_events_total", family=family, event=event) == 0
    assert {value(found, "vmnet_socket_errors_total", operation=operation) for operation in OPERATIONS} == {0}


def test_each_state_set_has_one_state() -> None:
    found = samples(binding(FULL))
    for name, sets in (("vmnet_server_state", 1), ("vmnet_lease_state", 2)):
        assert sum(number for (metric, _), number in found.items() if metric == name) == sets


def test_what_a_real_service_reports_is_understood() -> None:
    lines: list[bytes] = []
    served = Service(Log(lines.append), iter(range(1000)).__next__)
    served.load(compiled(REPLIES))
    served.frame(discover(), 0, 0)
    served.frame(b"short", 0, 0)
    found = samples(binding(served.report()))
    assert value(found, "vmnet_events_total", family="ipv4", event="offer") == 1
    assert value(found, "vmnet_ignored_frames_total", reason="short") == 1
    assert value(found, "vmnet_lease_state", family="ipv4", vmnet_lease_state="offered") == 1
    assert not [labels for (_, labels) in found if ("family", "ipv6") in labels]


def test_a_pod_of_ipv6_alone_has_no_ipv4() -> None:
    found = samples(binding({**FULL, "yiaddr": ""}))
    assert not [labels for (_, labels) in found if ("family", "ipv4") in labels]
    assert value(found, "vmnet_lease_state", family="ipv6", vmnet_lease_state="static") == 1


def test_one_that_does_not_answer_hides_no_other() -> None:
    found = samples(binding(FULL), binding(FULL, interface="net1", report=None), scrape=Scrape(0.25, 2, 1))
    assert value(found, "vmnet_up") == 1
    assert value(found, "vmnet_up", interface="net1") == 0
    assert [name for (name, labels) in found if ("interface", "net1") in labels] == ["vmnet_up"]
    assert found["vmnet_exporter_bindings", frozenset()] == 2
    assert found["vmnet_exporter_scrape_seconds", frozenset()] == 0.25
    assert found["vmnet_exporter_untrusted_dirs", frozenset()] == 2
    assert found["vmnet_exporter_crowded_state_dirs", frozenset()] == 1
    assert found["vmnet_exporter_left_out_bindings", frozenset()] == 0


def test_a_text_has_only_so_many_series(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first bindings are shown, and how many are left out is said."""
    monkeypatch.setattr(metrics, "_MOST_SERIES", 60)
    many = [binding(FULL, netns=number) for number in range(5)]
    found = samples(*many, scrape=Scrape(0.25, 0, 0, left_out=4))
    assert {dict(labels)["netns"] for (name, labels) in found if name == "vmnet_up"} == {"0", "1"}
    assert found["vmnet_exporter_bindings", frozenset()] == 2
    assert found["vmnet_exporter_left_out_bindings", frozenset()] == 4 + 3


def test_drift_is_said_where_somebody_looked() -> None:
    assert value(samples(binding(FULL, drift=0)), "vmnet_drift_changes") == 0
    assert value(samples(binding(FULL)), "vmnet_drift_changes") is None
    down = samples(binding(FULL, report=None, drift=3))
    assert (value(down, "vmnet_up"), value(down, "vmnet_drift_changes")) == (0, 3)


def test_words_of_a_server_s_own_making_are_one_series() -> None:
    """Else a guest that took it over could fill the store of whoever scrapes."""
    made_up = {f"word{number}": 1 for number in range(100)}
    found = samples(binding({**FULL, **dict.fromkeys(("events", "ignored", "errors"), made_up)}))
    assert len(found) < 80
    assert value(found, "vmnet_events_total", family="ipv4", event="other") == 100
    assert value(found, "vmnet_ignored_frames_total", reason="other") == 100
    assert value(found, "vmnet_socket_errors_total", operation="other") == 100
