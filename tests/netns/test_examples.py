"""The examples in each verb's help, run as a reader would type them.

What is not run here is parsed, as all are, by tests/unit/cli/test_verbs.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from testbed.snapshot import difference, snapshot
from tests import docs
from tests.docs import Block, Page
from vmnet.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.agent import Agent
    from testbed.pods import Pod

BEFORE = ("plan", "render", "doctor", "domain", "onDefineDomain", "run", "up")
"""The verbs whose examples are for a pod that is not handed over; what brings a binding up is taken down again."""
WHILE_UP = ("status", "probe", "wait", "capture", "support-bundle", "metrics", "down")
NOT_RUN = {
    "vmnet run --owner 107 --keep -- ./start-qemu": "there is no such program",
    "vmnet run --qmp qmp.sock --grace 60 -- ./start-qemu": "there is no such program",
    "vmnet power-button --qmp qmp.sock --grace 60 -- ./start-qemu": "the same",
    "vmnet probe --for bound": "a guest is needed: tests/netns/test_probe.py",
    "vmnet launch vm.xml": "a guest is needed: tests/vm/test_launch.py",
    "vmnet launch --grace 60 --connect qemu:///system vm.xml": "a guest is needed: tests/vm/test_launch.py",
    "vmnet serve": "until it is ended: tests/netns/test_server_life.py",
    "vmnet status --watch": "until Ctrl-C",
    "vmnet capture --follow": "until Ctrl-C",
    "vmnet wait --for bound --timeout 30": "a guest is needed",
    "vmnet exporter": "until it is ended: tests/netns/test_exporter.py",
    "vmnet exporter --listen unix:/run/vmnet.sock --state-dir '/pods/*/vmnet'": "the same",
    "vmnet hook install": "it is the machine's libvirt that this changes: tests/vm/test_hook.py",
    "vmnet hook uninstall": "it is the machine's libvirt that this changes: tests/vm/test_hook.py",
}
"""An example, and why it is not run here, or where instead."""
DOMAIN = "<domain type='kvm'><name>vm</name><devices></devices></domain>"
EXIT_CODES = {"vmnet doctor --listen 0 --json": (0, 7), "vmnet doctor --all": (0, 7)}
"""Of examples that may well find something here."""


def examples(*names: str) -> list[str]:
    """What is run of these verbs' examples, in the order of the names."""
    of = {verb.name: verb.examples for verb in main.VERBS}
    return [example for name in names for example in of[name] if example not in NOT_RUN]


def blocks(commands: list[str]) -> tuple[Block, ...]:
    return tuple(
        Block(number, f"{_tolerant(command)}\n", marked=True, run=True) for number, command in enumerate(commands)
    )


def _tolerant(command: str) -> str:
    """Let a command end with the other codes it may."""
    if command not in EXIT_CODES:
        return command
    allowed = " || ".join(f"[ $code = {code} ]" for code in EXIT_CODES[command])
    return f"code=0; {command} || code=$?; {allowed}"


def test_every_example_is_run_here_or_says_why_not() -> None:
    every = {example for verb in main.VERBS for example in verb.examples}
    assert set(NOT_RUN) <= every, "an example that nobody gives"
    played = {*examples(*BEFORE), *examples(*WHILE_UP)}
    assert every - played - set(NOT_RUN) == set(), "say in BEFORE, WHILE_UP or NOT_RUN what becomes of it"


@pytest.mark.parametrize("names", [BEFORE, WHILE_UP], ids=["before", "while-up"])
@pytest.mark.parametrize("layout", ["bridge-dual"])
def test_examples(names: tuple[str, ...], pod: Pod, agent: Agent, tmp_path: Path) -> None:
    found = snapshot(pod)
    (tmp_path / "vm.xml").write_text(DOMAIN, encoding="utf-8")
    commands = examples(*names)
    if names is WHILE_UP:
        commands = ["vmnet up", *commands]
    else:
        commands = [f"{command}\nvmnet down" if "vmnet up" in command else command for command in commands]
    environment = {"VMNET_STATE_DIR": agent.state_dir, "VMNET_RESOLV_CONF": agent.resolv_conf}
    docs.play(Page(tmp_path / "examples", blocks(commands)), agent.command, tmp_path, environment)
    assert difference(found, snapshot(pod)) == ""
    if names is BEFORE:
        drawing = (tmp_path / "pod.svg").read_text(encoding="utf-8")
        assert drawing.startswith("<svg ")
        assert pod.address in drawing
        assert "<target dev='tap0'" in (tmp_path / "vm-in-pod.xml").read_text(encoding="utf-8")
