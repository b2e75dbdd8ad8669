"""Remedies followed to the letter on a crowded pod: they repair what they are for, and harm nobody who is well.

┌ pod ────────────────────────────────────────────────────────────┐
│ eth0 ⇢ k6t-eth0 ── tap0 ◀── a VM      net1 ⇢ k6t-net1 ── tap1 ◀── a VM │
│ k6t-net2 ── tap9 (KubeVirt's)         tap5 ◀── another program         │
└─────────────────────────────────────────────────────────────────┘

tests/unit/test_remedies.py collects them, and shows that what they name exists.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from testbed.netns import background
from tests.netns.tap_holder import HOLDS
from tests.netns.test_two_bindings import add_nic, doctor, status, wrong
from tests.unit.test_remedies import NOT_TYPED, PLACEHOLDERS, SAID, UNKNOWN

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.agent import Agent
    from testbed.pods import Pod

COMMAND = re.compile(r"`([^`]+)`")
CHANGES = ("up", "down")
"""The verbs of ours that a remedy names and that change something."""
PROGRAMS = ("nft", "ip", "bridge", "sysctl")
FOREIGN = ("tap5", "tap9", "k6t-net2")


def test_each_remedy_that_changes_something(pod: Pod, agent: Agent, tmp_path: Path) -> None:
    with ExitStack() as held:
        _crowd(pod, agent, tmp_path, held)
        healthy = status(agent)[1]["bindings"]
        for command in _typed():
            words = shlex.split(command)[1:]
            agent.run(*words, check=False)
            agent.run(*words, "--interface", "net1", check=False)
        _must_be_well(pod, agent, healthy)

        _trouble(pod)
        assert _codes(doctor(agent)[1]) >= {"VMN-306", "VMN-301", "VMN-605"}
        for finding in doctor(agent)[1]["findings"]:
            for command in (finding["remedy"], *COMMAND.findall(finding["remedy"])):
                _follow(pod, agent, command)
            assert _codes(doctor(agent)[1]).isdisjoint({"VMN-306", "VMN-301", "VMN-605"})
        _must_be_well(pod, agent, healthy)
        for ifname in ("eth0", "net1"):
            agent.run("down", "--force", "--interface", ifname)


def _crowd(pod: Pod, agent: Agent, tmp_path: Path, held: ExitStack) -> None:
    add_nic(pod, "net1", 7)
    pod.netns.ip_batch(
        "tuntap add tap5 mode tap",
        "tuntap add tap9 mode tap",
        "link add k6t-net2 type bridge",
        "link set tap9 master k6t-net2",
    )
    agent.up("--interface", "eth0", "--owner", "107")
    agent.up("--interface", "net1", "--owner", "107")
    for tap in ("tap0", "tap1", "tap5"):
        words = pod.netns.command(sys.executable, "-c", HOLDS, tap)
        held.enter_context(background(words, tmp_path / f"{tap}.log")).wait_for("^held$")


def _trouble(pod: Pod) -> None:
    pod.netns.ip_batch(
        "link set tap1 nomaster",
        "link add v1 type veth peer name v2",
        "link set v1 master k6t-eth0",
    )
    pod.netns.run("nft", "add table inet vmnet_gone; add chain inet vmnet_gone pod")


def _typed() -> list[str]:
    """Every command of ours in a message that changes something, as people type it; none forces."""
    commands = {command for _, text in SAID for command in COMMAND.findall(text) if command.startswith("vmnet ")}
    for placeholder, value in {UNKNOWN: "1", **PLACEHOLDERS}.items():
        commands = {command.replace(placeholder, value) for command in commands}
    return sorted(
        command
        for command in commands
        if command.split()[1] in CHANGES
        and "--force" not in command
        and not any(word in command for word in NOT_TYPED)
    )


def _follow(pod: Pod, agent: Agent, command: str) -> None:
    """Type what a remedy says, if it is a command that changes something."""
    for part in command.split(" ; "):
        words = shlex.split(part) if part.count("'") % 2 == 0 else [""]
        if words[0] in PROGRAMS and UNKNOWN not in part:
            pod.netns.run(*words, check=False)
        elif words[:1] == ["vmnet"] and words[1] in CHANGES:
            words = [PLACEHOLDERS.get(word, word) for word in words[2:]]
            agent.run(shlex.split(part)[1], *words, check=False)


def _codes(said: dict[str, Any]) -> set[str]:
    return {one["code"] for one in said["findings"]}


def _must_be_well(pod: Pod, agent: Agent, healthy: list[dict[str, Any]]) -> None:
    code, told = status(agent)
    assert (code, told["state"], told["drift"]) == (0, "up", [])
    for name in ("settings", "found", "lease"):
        assert [one[name] for one in told["bindings"]] == [one[name] for one in healthy]
    assert all(one["links"]["tap"]["carrier"] for one in told["bindings"])
    assert all(one["server"]["state"] == "serving" for one in told["bindings"])
    assert wrong(doctor(agent)[1]) == []
    there = {link["ifname"] for link in pod.netns.ip("link")}
    assert set(FOREIGN) <= there
    rules = json.loads(pod.netns.run("nft", "-j", "list", "tables").stdout)["nftables"]
    tables = {entry["table"]["name"] for entry in rules if "table" in entry}
    assert tables == {"vmnet_eth0", "vmnet_net1"}
