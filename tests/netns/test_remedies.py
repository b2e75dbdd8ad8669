"""Remedies followed to the letter on a crowded pod: they repair what they are for, and harm nobody who is well.

┌ pod ─────────────────────────────────────────────────────────────────┐
│ eth0 ⇢ k6t-eth0 ── tap1 ◀── a guest    net1 ⇢ k6t-net1 ── tap2 ◀── a VM │
│ KubeVirt's: net2-nic ── k6t-net2 ── tap9 ◀── a VM                      │
│ others': tap0 ◀── a VM; net3, which stays the pod's; a table of rules  │
└──────────────────────────────────────────────────────────────────────┘

tests/unit/test_remedies.py collects them, and shows that what they name exists.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from testbed import tap_guest
from testbed.netns import Background, background, kill, run, wait_for_end
from testbed.watch import RTMGRP_LINK, wait_for_ip
from tests.netns.raw_client import RawClient
from tests.netns.tap_holder import HOLDS
from tests.netns.test_two_bindings import add_nic, doctor, status, wrong
from tests.unit.test_remedies import NOT_TYPED, PLACEHOLDERS, SAID, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.agent import Agent
    from testbed.pods import Pod

COMMAND = re.compile(r"`([^`]+)`")
CHANGES = ("up", "down")
"""The verbs of ours that a remedy names and that change something."""
PROGRAMS = ("nft", "ip", "bridge", "sysctl")
LOOKS = ("ip -6 neighbour", "ip netns")
"""What only shows something."""
ON_THE_NODE = "IFNAME"
"""The NIC's other end, which only people know."""
FOREIGN = ("tap0", "tap9", "k6t-net2", "net2-nic", "net3")
TROUBLES = {"VMN-301", "VMN-303", "VMN-305", "VMN-306", "VMN-405", "VMN-406", "VMN-504", "VMN-604", "VMN-605"}
LISTENS = """
import signal, socket, sys
lone = socket.socket(socket.AF_UNIX)
lone.bind("\\0vmnet/server/" + sys.argv[1])
lone.listen()
print("held", flush=True)
signal.pause()
"""
"""As a server whose binding is gone."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """The pod, what is well in it, and which commands of other programs were typed."""

    pod: Pod
    agent: Agent
    guest: RawClient
    healthy: list[dict[str, Any]]
    foreign: dict[str, tuple[Any, ...]]
    typed: list[str] = field(default_factory=list)


@pytest.fixture
def crowd(pod: Pod, agent: Agent, tmp_path: Path) -> Iterator[Crowd]:
    with ExitStack() as held:
        for number, ifname in enumerate(("net1", "net2", "net3"), start=7):
            add_nic(pod, ifname, number)
        pod.netns.ip_batch(
            "tuntap add tap0 mode tap",
            "link set tap0 up",
            "tuntap add tap9 mode tap",
            "link add k6t-net2 type bridge",
            "link set net2 down",
            "link set net2 name net2-nic",
            *(f"link set {port} master k6t-net2" for port in ("net2-nic", "tap9")),
            *(f"link set {ifname} up" for ifname in ("net2-nic", "tap9", "k6t-net2")),
        )
        pod.netns.run("nft", "add table inet somebody")
        for ifname in ("eth0", "net1"):
            agent.up("--interface", ifname, "--owner", "107")
        for tap in ("tap0", "tap2", "tap9"):
            _hold(held, pod, tmp_path / f"{tap}.log", HOLDS, tap)
        mac = bytes.fromhex(pod.mac.replace(":", ""))
        guest = RawClient(held.enter_context(tap_guest.raw_tap(pod.netns, "tap1")), mac, pod.address)
        yield Crowd(pod, agent, guest, status(agent)[1]["bindings"], _foreign(pod))


def _hold(held: ExitStack, pod: Pod, log: Path, script: str, name: str) -> Background:
    made = held.enter_context(background(pod.netns.command(sys.executable, "-c", script, name), log))
    made.wait_for("^held$")
    return made


def test_no_command_in_a_message_harms_who_is_well(crowd: Crowd) -> None:
    """Each is typed as it stands, and for the one binding as people do where several are there."""
    typed = _in_messages()
    assert {"vmnet up", "vmnet down"} <= set(typed)
    for command in typed:
        words = shlex.split(command)
        if words[0] == "vmnet":
            if len(words) == len(("vmnet", "up")):
                crowd.agent.run(words[1], check=False)
            crowd.agent.run(*words[1:], "--interface", "net1", check=False)
        else:
            crowd.pod.netns.run(*words, check=False)
    _must_be_well(crowd)

    for ifname in ("eth0", "net1"):
        crowd.agent.run("down", "--force", "--interface", ifname)
    assert _foreign(crowd.pod) == crowd.foreign
    assert _tables(crowd.pod) == {"somebody"}
    assert _link(crowd.pod, "eth0")["address"] == crowd.pod.mac
    assert crowd.pod.address in {entry["local"] for entry in _link(crowd.pod, "eth0")["addr_info"]}


def test_the_commands_that_doctor_names_repair(crowd: Crowd, tmp_path: Path) -> None:
    with ExitStack() as held:
        lone = _hold(held, crowd.pod, tmp_path / "lone.log", LISTENS, "net3")
        _trouble(crowd)
        found = doctor(crowd.agent)[1]
        assert _codes(found) >= TROUBLES
        for finding in found["findings"]:
            for command in (finding["remedy"], *COMMAND.findall(finding["remedy"])):
                _follow(crowd, command, lone)
    wait_for_ip(
        crowd.pod.netns, RTMGRP_LINK, "link show dev net1-nic", lambda links: links[0]["operstate"] == "UP"
    )
    assert _codes(doctor(crowd.agent)[1]) & TROUBLES == set()
    _must_be_well(crowd)
    untried = [one for one in _of_other_programs() if not any(_is(one, typed) for typed in crowd.typed)]
    assert untried == []


def _trouble(crowd: Crowd) -> None:
    pod, agent = crowd.pod, crowd.agent
    pod.netns.ip_batch(
        "link set tap2 nomaster",
        "link add v1 type veth peer name v2",
        "link set v1 master k6t-eth0",
    )
    pod.netns.run("bridge", "link", "set", "dev", "eth0-nic", "state", "0")
    pod.netns.run("nft", "add table inet vmnet_gone; add chain inet vmnet_gone pod")
    pod.netns.sysctl("bridge/bridge-nf-call-iptables", 1)
    pod.netns.sysctl("ipv6/conf/k6t-eth0/accept_ra", 1)
    pod.node.ip_batch("link set of-net1 down")
    [recorded] = agent.state_dir.glob("*/eth0/server.pid")
    server = int(recorded.read_text(encoding="ascii").split()[0])
    kill(server)
    wait_for_end(server)


def _in_messages() -> list[str]:
    """Every whole command in a message that changes something in the pod; none forces."""
    commands = {command for _, text in SAID for command in COMMAND.findall(text)}
    for placeholder, value in PLACEHOLDERS.items():
        commands = {command.replace(placeholder, value) for command in commands}
    ours = {one.replace(UNKNOWN, "1") for one in commands if one.startswith(tuple(f"vmnet {v}" for v in CHANGES))}
    ours = {one for one in ours if "--force" not in one and not any(word in one for word in NOT_TYPED)}
    return sorted(ours | {one for one in _of_other_programs() if UNKNOWN not in one and ON_THE_NODE not in one})


def _of_other_programs() -> list[str]:
    """Every command of another program that changes something in the pod, with what an f-string fills in open."""
    said = {text for _, text in SAID if text.startswith("nft delete ")}
    said |= {command for _, text in SAID for command in COMMAND.findall(text)}
    return sorted(one for one in said if one.split()[:1] and one.split()[0] in PROGRAMS and one not in LOOKS)


def _is(said: str, typed: str) -> bool:
    pattern = re.escape(said).replace(re.escape(UNKNOWN), r"\S+").replace(ON_THE_NODE, r"\S+")
    return re.search(pattern, typed) is not None


def _follow(crowd: Crowd, remedy: str, lone: Background) -> None:
    """Type what a remedy says, where it is a command: on the node, in the pod or of ours; end whom it names."""
    pod = crowd.pod
    for command in remedy.split(" ; "):
        words = shlex.split(command) if command.count("'") % 2 == 0 else []
        if not words:
            continue
        if ON_THE_NODE in words:
            pod.node.run(*(word.replace(ON_THE_NODE, "of-net1") for word in words))
        elif words[0] == "nsenter":
            run(command.replace("PID", str(pod.netns.processes()[0])).split())
        elif words[0] in PROGRAMS and command not in LOOKS:
            pod.netns.run(*words)
        elif words[0] == "ss":
            [user] = [line for line in pod.netns.run(*words).stdout.splitlines() if "@vmnet/server/net3" in line]
            assert f"pid={lone.process.pid}," in user
            lone.process.terminate()
            lone.wait()
        elif words[0] == "vmnet" and words[1] in CHANGES:
            words = [PLACEHOLDERS.get(word, word) for word in words]
            crowd.agent.run(*words[1:], check=False)
        crowd.typed.append(command)


def _codes(said: dict[str, Any]) -> set[str]:
    return {one["code"] for one in said["findings"]}


def _link(pod: Pod, ifname: str) -> dict[str, Any]:
    return dict(next(link for link in pod.netns.ip("address") if link["ifname"] == ifname))


def _foreign(pod: Pod) -> dict[str, tuple[Any, ...]]:
    """What others have made: which links they are, what they are joined to and hold, and whether a VM has them."""
    return {
        link["ifname"]: (
            link["ifindex"],
            link["address"],
            link.get("master"),
            {"UP", "LOWER_UP"} <= set(link["flags"]),
            [entry["local"] for entry in link["addr_info"] if entry["family"] == "inet"],
        )
        for link in pod.netns.ip("address")
        if link["ifname"] in FOREIGN
    }


def _tables(pod: Pod) -> set[str]:
    listed = json.loads(pod.netns.run("nft", "-j", "list", "tables").stdout)["nftables"]
    return {entry["table"]["name"] for entry in listed if "table" in entry}


def _must_be_well(crowd: Crowd) -> None:
    code, told = status(crowd.agent)
    assert (code, told["state"], told["drift"]) == (0, "up", [])
    for name in ("settings", "found", "lease"):
        assert [one[name] for one in told["bindings"]] == [one[name] for one in crowd.healthy]
    assert all(one["links"]["tap"]["carrier"] for one in told["bindings"])
    assert all(one["server"]["state"] == "serving" for one in told["bindings"])
    assert wrong(doctor(crowd.agent)[1]) == []
    assert _foreign(crowd.pod) == crowd.foreign
    assert set(crowd.foreign) == set(FOREIGN)
    assert _tables(crowd.pod) == {"vmnet_eth0", "vmnet_net1", "somebody"}
    crowd.guest.exchange()
