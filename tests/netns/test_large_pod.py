"""A pod of many routes and neighbours: handed over and given back whole, without a second copy of its facts.

300 routes and 800 neighbours    what the field has; facts that a note on the NIC cannot carry
5,000 routes                     what a router in a pod has (`make test-all`)

More than is kept: tests/unit/agent/test_begin.py.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from testbed.netns import run
from testbed.snapshot import difference, snapshot
from tests.extent import ALL

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from testbed.agent import Agent
    from testbed.pods import Pod

ONLY_COPY = "too many for a second copy on the NIC: the state directory holds the only one; keep it"


def _batch(pod: Pod, directory: Path, lines: Iterable[str]) -> None:
    file = directory / "batch"
    file.write_text("\n".join(lines), encoding="ascii")
    run(pod.netns.command("ip", "-batch", str(file)))


def _routes(pod: Pod, directory: Path, count: int) -> None:
    """Scattered, as no compression likes them."""
    numbers = ((number * 2654435761) % 2**24 for number in range(count))
    _batch(
        pod,
        directory,
        (
            f"route replace 11.{number >> 16}.{number >> 8 & 255}.{number & 255}/32 via {pod.gateway} "
            f"dev eth0 metric {at % 977}"
            for at, number in enumerate(numbers)
        ),
    )


def _neighbours(pod: Pod, directory: Path, count: int, state: str) -> None:
    _batch(
        pod,
        directory,
        (
            f"neigh replace 10.244.{at >> 8}.{at & 255} lladdr 02:00:{at % 251:02x}:00:{at >> 8:x}:{at & 255:02x}"
            f" nud {state} dev eth0"
            for at in range(256, 256 + count)
        ),
    )


def _sorted(lines: str) -> str:
    """So many neighbours the kernel lists in the order of a table that grows."""
    return "\n".join(sorted(lines.splitlines()))


@pytest.mark.parametrize(("routes", "neighbours"), [(300, 800), *([(5_000, 0)] if ALL else [])])
def test_it_is_handed_over_and_given_back_whole(
    routes: int, neighbours: int, pod: Pod, agent: Agent, tmp_path: Path
) -> None:
    _routes(pod, tmp_path, routes)
    _neighbours(pod, tmp_path, neighbours, "permanent")
    found = snapshot(pod)
    assert ONLY_COPY in agent.run("plan").stdout
    assert ONLY_COPY in agent.up().stderr
    status = agent.run("status", "--json")
    assert any(ONLY_COPY in warning for warning in json.loads(status.stdout)["warnings"])
    [server] = agent.servers()
    agent.up("--resume")
    assert agent.servers() == [server]
    agent.down()
    given_back = snapshot(pod)
    assert difference(_sorted(found), _sorted(given_back)) == ""


def test_of_what_neighbours_filled_in_only_the_gateways_entry_is_kept(
    pod: Pod, agent: Agent, tmp_path: Path
) -> None:
    """As 800 ARP requests under 800 addresses leave them: anybody on the pod's link can send these."""
    _neighbours(pod, tmp_path, 800, "stale")
    run(pod.netns.command("ip", "neigh", "replace", "10.244.1.1", "lladdr", "02:00:00:00:00:99", "dev", "eth0"))
    agent.up()
    [journal] = agent.state_dir.glob("**/journal.json")
    kept = [entry["dst"] for entry in json.loads(journal.read_bytes())["pod"]["neighbours"]]
    assert kept == [pod.gateway]
    agent.run("status")
