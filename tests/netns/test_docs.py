"""The commands of docs/ that need no more than a pod, as a reader would type them there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from testbed.qemu import QEMU
from testbed.snapshot import difference, snapshot
from tests import docs
from tests.docs import Block, DocumentError, Page
from tests.need import need

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.agent import Agent
    from testbed.pods import Pod


def environment(agent: Agent) -> dict[str, str | Path]:
    """What keeps a page to itself."""
    return {"VMNET_STATE_DIR": agent.state_dir, "VMNET_RESOLV_CONF": agent.resolv_conf}


def test_run(pod: Pod, agent: Agent, tmp_path: Path) -> None:
    need(QEMU, "qemu-system-x86")
    found = snapshot(pod)
    docs.play(docs.page("guide/run.md"), agent.command, tmp_path, environment(agent))
    assert difference(found, snapshot(pod)) == ""
    assert '"schema": 1' in (tmp_path / "lease.json").read_text(encoding="utf-8")


def test_security(pod: Pod, agent: Agent, tmp_path: Path) -> None:
    found = snapshot(pod)
    docs.play(docs.page("security.md"), agent.command, tmp_path, environment(agent))
    assert difference(found, snapshot(pod)) == ""


def test_first_steps(pod: Pod, agent: Agent, tmp_path: Path) -> None:
    found = snapshot(pod)
    docs.play(docs.page("guide/first-steps.md"), agent.command, tmp_path, environment(agent))
    assert difference(found, snapshot(pod)) == ""


def test_configuration(pod: Pod, agent: Agent, tmp_path: Path) -> None:
    found = snapshot(pod)
    docs.play(docs.page("guide/configuration.md"), agent.command, tmp_path, environment(agent))
    assert difference(found, snapshot(pod)) == ""


def test_watching(pod: Pod, agent: Agent, tmp_path: Path) -> None:
    found = snapshot(pod)
    docs.play(docs.page("watching.md"), agent.command, tmp_path, environment(agent))
    assert difference(found, snapshot(pod)) == ""


def test_metrics(pod: Pod, agent: Agent, tmp_path: Path) -> None:
    need("curl", "curl")
    found = snapshot(pod)
    docs.play(docs.page("operate/metrics.md"), agent.command, tmp_path, environment(agent))
    assert difference(found, snapshot(pod)) == ""


@pytest.mark.parametrize("layout", ["bridge-dual"])
def test_ipv6(pod: Pod, agent: Agent, tmp_path: Path) -> None:
    found = snapshot(pod)
    docs.play(docs.page("ipv6.md"), agent.command, tmp_path, environment(agent))
    assert difference(found, snapshot(pod)) == ""


def test_doctor(pod: Pod, agent: Agent, tmp_path: Path) -> None:
    found = snapshot(pod)
    docs.play(docs.page("doctor.md"), agent.command, tmp_path, environment(agent))
    assert difference(found, snapshot(pod)) == ""


GOOD = Block(3, "true\n", marked=True, run=True)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (replace(GOOD, text="echo said; false\ntrue\n"), "exit code 1"),
        (replace(GOOD, text="echo $unset\n"), "unset"),
        (replace(GOOD, exit_code=3, text="exit 4\n"), "exit code 4, not 3"),
        (replace(GOOD, exit_code=3), "exit code 0, not 3"),
        (replace(GOOD, text="echo this\n", prints=("this", "that")), "'that' is not in"),
        (replace(GOOD, text="no-such-command\n"), "exit code 127"),
    ],
)
def test_a_page_that_is_wrong_fails(pod: Pod, tmp_path: Path, wrong: Block, why: str) -> None:
    with pytest.raises(DocumentError, match=why):
        docs.play(Page(tmp_path / "x.md", (replace(GOOD, line=1), wrong)), pod.netns.command, tmp_path, {})


def test_blocks_share_variables_and_background_jobs(pod: Pod, tmp_path: Path) -> None:
    first = replace(GOOD, line=1, text="word=$(vmnet --version)\nsleep 600 &\n")
    second = replace(GOOD, line=5, text='echo "$word"; kill %1; ip -br link\n', prints=("vmnet ", "eth0"))
    docs.play(Page(tmp_path / "x.md", (first, second)), pod.netns.command, tmp_path, {})
