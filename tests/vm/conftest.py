"""A real guest in a real pod.

pod      a node and a pod of one layout (`@pytest.mark.parametrize("layout", …)`)
agent    vmnet in that pod, nothing done yet
before   what the pod has before vmnet comes
guest    QEMU's guest on the tap after `vmnet up`; it has leased and said its facts
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from testbed import agent as agents
from testbed import pods, qemu
from testbed.facts import GuestFacts, read_pod
from tests.failure import sections
from tests.require import require

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from testbed.agent import Agent
    from testbed.pods import Pod
    from testbed.qemu import Guest


@pytest.fixture(scope="session", autouse=True)
def _room() -> None:
    require("vm")


@pytest.fixture
def pod(layout: str) -> Iterator[Pod]:
    with pods.pod(layout) as made:
        yield made


@pytest.fixture
def agent(pod: Pod, tmp_path: Path) -> Iterator[Agent]:
    made = agents.agent(pod, tmp_path)
    yield made
    made.clear()


@pytest.fixture
def before(pod: Pod) -> GuestFacts:
    """Read what the pod has before vmnet comes: what the guest shall have."""
    return read_pod(pod)


@pytest.fixture
def guest(pod: Pod, before: GuestFacts, agent: Agent, tmp_path: Path) -> Iterator[Guest]:
    del before  # read first
    agent.up()
    with qemu.guest(pod, tmp_path) as booted:
        yield booted


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the namespaces, the agent's log and the console while they are still there."""
    report = yield
    if report.failed and call.when in ("setup", "call"):
        fixtures: dict[str, Any] = getattr(item, "funcargs", {})
        report.sections.extend(sections(fixtures))
    return report
