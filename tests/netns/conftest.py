"""Pods, the agent in them and guests on their taps.

pod         a node and a pod of one layout (`@pytest.mark.parametrize("layout", …)`; bridge unless told)
agent       vmnet in that pod, nothing done yet; nothing of it is left running afterwards
ready_pod   the same pod after `vmnet up`
guest       a guest namespace plugged into the ready pod's tap, its traffic captured
raw_tap     the ready pod's tap, held as a guest's driver holds it
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from testbed import pods, tap_guest
from testbed.facts import GuestFacts, read_pod
from testbed.netns import background
from tests.failure import sections
from tests.netns import forked
from tests.require import require

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from testbed.agent import Agent
    from testbed.pods import Pod
    from testbed.tap_guest import RawTap, TapGuest


@pytest.fixture(scope="session", autouse=True)
def _room() -> None:
    require("netns")


@pytest.fixture
def layout() -> str:
    """Name the layout; a test that wants others parametrizes it."""
    return "bridge"


@pytest.fixture
def pod(layout: str) -> Iterator[Pod]:
    with pods.pod(layout) as made:
        yield made


@pytest.fixture
def agent(pod: Pod, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Agent]:
    made = forked.agent(pod, tmp_path)
    if request.node.get_closest_marker("host_privileges"):
        made = replace(made, confined=False)
    yield made
    made.clear()


@pytest.fixture
def before(pod: Pod) -> GuestFacts:
    """Read what the pod has before vmnet comes: what the guest shall have."""
    return read_pod(pod)


@pytest.fixture
def ready_pod(pod: Pod, agent: Agent, request: pytest.FixtureRequest) -> Pod:
    if "before" in request.fixturenames:
        request.getfixturevalue("before")  # read first
    agent.up()
    return pod


@pytest.fixture
def guest(ready_pod: Pod, tmp_path: Path) -> Iterator[TapGuest]:
    with tap_guest.tap_guest(ready_pod.netns, ready_pod.mac, tmp_path) as plugged:
        capture = tmp_path / "tap.pcap"
        tcpdump: list[str | Path] = ["tcpdump", "-i", plugged.ifname, "-U", "-w", capture, "-Z", "root"]
        with background(plugged.netns.command(*tcpdump), tmp_path / "tcpdump.log") as running:
            running.wait_for("listening on")
            yield plugged


@pytest.fixture
def raw_tap(ready_pod: Pod) -> Iterator[RawTap]:
    with tap_guest.raw_tap(ready_pod.netns) as held:
        yield held


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the namespaces while they are still there; keep the capture of a failure only."""
    report = yield
    fixtures: dict[str, Any] = getattr(item, "funcargs", {})
    if report.failed and call.when in ("setup", "call"):
        report.sections.extend(sections(fixtures))
    elif call.when == "call" and "guest" in fixtures:
        (fixtures["guest"].directory / "tap.pcap").unlink(missing_ok=True)
    return report
