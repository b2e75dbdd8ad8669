"""docs/operate/metrics.md and the dashboard speak of the metrics that there are, all of them and no others."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.metrics.test_text import FULL, WHERE, binding
from vmnet.metrics.text import Scrape, text

ROOT = Path(__file__).parents[3]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana" / "vmnet.json").read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
COLUMNS = 24
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
OF_THE_SCRAPER = {"job", "instance", "endpoint", "container", "pod", "namespace", "node"}


def metrics() -> dict[str, tuple[str, frozenset[str]]]:
    """Of each metric its type, and its labels but those that all have."""
    found = {}
    exposition = text([replace(binding(FULL), drift=1)], Scrape(1, 0, 0)).decode()
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            found[sample.name] = family.type, frozenset(sample.labels) - frozenset(WHERE)
    return found


def test_the_table_is_the_code_s() -> None:
    page = (ROOT / "docs" / "operate" / "metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(vmnet_\w+)` \| (\w+) \|([^|]*)\|", page, re.MULTILINE)
    assert len(rows) == len({name for name, _, _ in rows})
    table = {name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert table == metrics()


def test_names_are_as_prometheus_wants_them() -> None:
    for name, (kind, _) in metrics().items():
        assert re.fullmatch(r"vmnet_[a-z_]+", name)
        assert name.endswith("_total") is (kind == "counter")


def expressions() -> list[str]:
    """All queries of the dashboard: of its panels and of its variables."""
    variables = [variable["query"] for variable in DASHBOARD["templating"]["list"] if variable["type"] == "query"]
    return [target["expr"] for panel in PANELS for target in panel["targets"]] + [
        query["query"] for query in variables
    ]


@pytest.mark.parametrize("expression", expressions())
def test_queries_ask_for_what_there_is(expression: str) -> None:
    known = metrics()
    asked = re.findall(r"\b(vmnet_\w+)(?=[\[{)\s,]|$)(?!\s*=)", re.sub(r"(by|without) \([^)]*\)", "", expression))
    assert asked
    assert set(asked) <= known.keys()
    for name, matchers in re.findall(r"\b(vmnet_\w+)\{([^}]*)\}", expression):
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
        assert labels <= known[name][1] | WHERE.keys(), name
    for grouped in re.findall(r"by \(([^)]*)\)", expression):
        assert set(grouped.split(", ")) <= set().union(*(known[name][1] for name in asked))
    assert expression.count("(") == expression.count(")")


def test_every_metric_of_the_exporter_is_looked_at_or_left_out_on_purpose() -> None:
    text_ = " ".join(expressions())
    unseen = {name for name in metrics() if name not in text_}
    assert unseen == {
        *("vmnet_drift_changes", "vmnet_dropped_options", "vmnet_server_state", "vmnet_server_uptime_seconds"),
        *("vmnet_lease_state_age_seconds", "vmnet_lease_reached_seconds"),
        *("vmnet_exporter_bindings", "vmnet_exporter_untrusted_dirs", "vmnet_exporter_crowded_state_dirs"),
        "vmnet_exporter_left_out_bindings",
    }


def test_legends_name_labels_of_the_query() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                assert re.search(rf"by \([^)]*\b{label}\b", target["expr"]), panel["title"]


def test_panels_do_not_overlap() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in PANELS:
        at = panel["gridPos"]
        assert 0 <= at["x"] < at["x"] + at["w"] <= COLUMNS
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
    assert len(taken) == COLUMNS * (max(y for _, y in taken) + 1), "there are holes"


def test_it_is_a_dashboard() -> None:
    assert re.fullmatch(r"[\w-]{1,40}", DASHBOARD["uid"])
    assert DASHBOARD["title"]
    assert DASHBOARD["schemaVersion"] >= 39
    assert "id" not in DASHBOARD, "that is for the database it is imported into"
    assert len({panel["id"] for panel in PANELS}) == len({panel["title"] for panel in PANELS}) == len(PANELS)
    [datasource] = [one for one in DASHBOARD["templating"]["list"] if one["type"] == "datasource"]
    assert (datasource["name"], datasource["query"]) == ("datasource", "prometheus")


def test_every_query_asks_the_chosen_data_source_and_every_panel_says_what_it_is() -> None:
    for panel in PANELS:
        assert panel["datasource"] == DATASOURCE
        assert panel["description"].endswith((".", "?"))
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert [target["refId"] for target in panel["targets"]] == list("ABCDEFG"[: len(panel["targets"])])
        for target in panel["targets"]:
            assert target["datasource"] == DATASOURCE
    variables = {one["name"] for one in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", " ".join(expressions()))) - {"__rate_interval"}
    assert used | {"datasource"} == variables


def test_the_table_shows_who_is_who() -> None:
    [table] = [panel for panel in PANELS if panel["type"] == "table"]
    [organize] = table["transformations"]
    hidden = set(organize["options"]["excludeByName"])
    assert hidden - OF_THE_SCRAPER == {"Time", "Value", "__name__"}
    assert not hidden & (metrics()["vmnet_info"][1] | WHERE.keys())
