"""A real Prometheus scrapes a real exporter, and is asked what the dashboard and the docs ask it."""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from testbed import pods
from testbed.netns import kill, run, wait_for_end
from testbed.patience import PATIENCE
from testbed.prometheus import Prometheus, prometheus
from testbed.tap_guest import raw_tap
from testbed.unpacked import PROMETHEUS, programs
from tests.netns import forked
from tests.netns.scraper import exporter
from tests.netns.test_up_down import discover, is_offer
from tests.unit.metrics.test_docs import PANELS, ROOT, expressions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.agent import Agent
    from testbed.pods import Pod

LAYOUTS = {"dual": "bridge-dual", "ipv4": "bridge", "dead": "ptp"}
ADDRESS = "127.0.0.1:9431"
VARIABLES = {"$interface": ".*", "$state_dir": ".*", "$__rate_interval": "1m"}
STRANGER = "02:00:00:00:00:99"
QUESTIONS = re.findall(
    r"^\| [^|]*\? \| `(.+)` \|$",
    (ROOT / "docs" / "operate" / "metrics.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)


@contextmanager
def bound(layout: str, directory: Path) -> Iterator[tuple[Pod, Agent]]:
    """A pod that was handed over."""
    directory.mkdir()
    with pods.pod(layout) as pod, forked.cleared(pod, directory) as agent:
        agent.up()
        agent.run("wait", "--for", "ready", "--timeout", str(PATIENCE / 2))
        yield pod, agent


@pytest.fixture(scope="module")
def bindings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Pod, Agent]]]:
    """Three pods that were handed over."""
    directory = tmp_path_factory.mktemp("bindings")
    with ExitStack() as undo:
        yield {name: undo.enter_context(bound(layout, directory / name)) for name, layout in LAYOUTS.items()}


@pytest.fixture(scope="module")
def scraping(
    bindings: dict[str, tuple[Pod, Agent]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """It has scraped them before and after a guest and a stranger asked in the first; the last has no server."""
    directory = tmp_path_factory.mktemp("prometheus")
    state_dirs = [agent.state_dir for _, agent in bindings.values()]
    pod, _ = bindings["dual"]
    _, dead = bindings["dead"]
    with (
        exporter(directory / "exporter.log", ADDRESS, *state_dirs) as node,
        prometheus(node.netns, ADDRESS, directory) as made,
    ):
        for server in dead.servers():
            kill(server)
            wait_for_end(server)
        made.wait_until("count(vmnet_up) == 3")
        with raw_tap(pod.netns) as tap:
            tap.send(discover(STRANGER, 6))
            tap.send(discover(pod.mac, 7))
            tap.receive(is_offer(7))
            made.wait_until('rate(vmnet_events_total{event="offer"}[1m]) > 0')
            made.wait_until("vmnet_foreign_macs > 0")
            yield made  # with the tap open: a server forgets the guest that has gone


def asked(expression: str) -> str:
    """An expression of the dashboard with its variables filled in."""
    for variable, meant in VARIABLES.items():
        expression = expression.replace(variable, meant)
    return expression


def shown(scraping: Prometheus, title: str) -> list[dict[tuple[tuple[str, str], ...], float]]:
    """What the panel of that title shows: of each of its expressions the values by their labels."""
    [panel] = [panel for panel in PANELS if panel["title"] == title]
    return [scraping.query(asked(target["expr"])) for target in panel["targets"]]


def states(title: str, scraping: Prometheus) -> dict[str, float]:
    [found] = shown(scraping, title)
    return {dict(labels)["vmnet_lease_state"]: number for labels, number in found.items() if number}


@pytest.mark.parametrize(
    ("title", "number"),
    [
        ("VMs", 3),
        ("Servers that do not answer", 1),
        ("Guests without their address", 3),
        ("Address conflicts", 0),
        ("Foreign MACs", 1),
    ],
)
def test_a_panel_of_one_number_shows_it(scraping: Prometheus, title: str, number: float) -> None:
    assert shown(scraping, title) == [{(): number}]


def test_what_the_sandboxes_missed_is_counted(
    scraping: Prometheus, bindings: dict[str, tuple[Pod, Agent]]
) -> None:
    """Nothing, where the agent may do all that root may."""
    missed = [len(bindings[name][1].status()["server"]["sandbox"]["missed"]) for name in ("dual", "ipv4")]
    assert shown(scraping, "Sandbox stages missed") == [{(): sum(missed)}]


def test_guests_are_counted_by_their_state(scraping: Prometheus) -> None:
    assert states("Guests by state, IPv4", scraping) == {"offered": 1, "silent": 1}
    assert states("Guests by state, IPv6", scraping) == {"silent": 1}


def test_the_first_event_of_its_kind_is_a_rise(scraping: Prometheus) -> None:
    [found] = shown(scraping, "Events")
    assert (("event", "offer"), ("family", "ipv4")) in found


def test_servers_and_their_sizes_are_there(scraping: Prometheus) -> None:
    [who] = shown(scraping, "Who is who")
    assert len(who) == 2
    [[median], [largest]] = (tuple(found.values()) for found in shown(scraping, "Memory of a server"))
    assert 4 << 20 < median <= largest < 32 << 20


@pytest.mark.parametrize("expression", [*(asked(one) for one in expressions()), *QUESTIONS])
def test_every_query_is_one(scraping: Prometheus, expression: str) -> None:
    """Those for values of a label are Grafana's own, which asks another path."""
    words = re.fullmatch(r"label_values\((\w+), (\w+)\)", expression)
    if words:
        assert scraping.ask(f"label/{words[2]}/values", **{"match[]": words[1]})
    else:
        scraping.query(expression.replace(r"\|", "|"))


def test_the_questions_are_answered(scraping: Prometheus) -> None:
    without, gone = QUESTIONS[0].replace(r"\|", "|"), QUESTIONS[2]
    assert sorted(dict(labels)["family"] for labels in scraping.query(without)) == ["ipv4", "ipv4", "ipv6"]
    assert len(scraping.query(gone)) == 1


def test_its_own_linter_finds_nothing(scraping: Prometheus) -> None:
    """`promtool check metrics` over what was scraped."""
    text = scraping.node.run("curl", "--silent", "--fail", f"http://{ADDRESS}/metrics").stdout
    assert "vmnet_up" in text
    done = run([programs(PROMETHEUS) / "promtool", "check", "metrics"], stdin=text)
    assert done.stdout + done.stderr == ""
