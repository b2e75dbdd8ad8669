"""Two healthy bindings in one namespace: all of them are shown, and nobody is accused.

┌ pod ─────────────────────────────────────────────┐
│ eth0 ⇢ k6t-eth0 ── tap0      net1 ⇢ k6t-net1 ── tap1 │
└──────────────────────────────────────────────────┘
"""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from testbed import pods
from testbed.netns import background, kill
from tests.netns import forked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.agent import Agent
    from testbed.netns import Completed
    from testbed.pods import Pod

SCHEMA = json.loads((Path(__file__).parents[2] / "deploy" / "status.schema.json").read_text(encoding="utf-8"))
ACCUSATIONS = {"VMN-205", "VMN-208", "VMN-604", "VMN-605"}


def add_nic(pod: Pod, ifname: str, subnet: int) -> None:
    """Give the pod a further NIC, as a second CNI network does."""
    pod.netns.ip_batch(
        f"link add {ifname} type veth peer name of-{ifname} netns {pod.node.name}",
        f"address add 10.9.{subnet}.2/24 dev {ifname}",
        f"link set {ifname} up",
    )
    pod.node.ip_batch(f"link set of-{ifname} up")


@pytest.fixture
def two(pod: Pod, agent: Agent) -> Iterator[Agent]:
    """Both NICs of a pod handed over, the second with the tap that vmnet chooses."""
    add_nic(pod, "net1", 7)
    agent.up("--interface", "eth0")
    agent.up("--interface", "net1")
    yield agent
    for ifname in ("eth0", "net1"):
        agent.run("down", "--interface", ifname, check=False)


def doctor(agent: Agent, *flags: str) -> tuple[int, dict[str, Any]]:
    done = agent.run("doctor", "--json", "--listen", "0", *flags, check=False)
    return done.returncode, dict(json.loads(done.stdout))


def status(agent: Agent) -> tuple[int, dict[str, Any]]:
    done = agent.run("status", "--json", check=False)
    told = dict(json.loads(done.stdout))
    jsonschema.validate(told, SCHEMA)
    return done.returncode, told


def wrong(said: dict[str, Any]) -> list[str]:
    return [f"{one['code']} {one['what']}" for one in said["findings"] if one["severity"] == "error"]


def test_both_are_shown_and_examined(two: Agent, tmp_path: Path) -> None:
    code, told = status(two)
    assert (code, told["state"], told["drift"]) == (0, "up", [])
    assert [(one["found"]["ifname"], one["settings"]["tap"]) for one in told["bindings"]] == [
        ("eth0", "tap0"),
        ("net1", "tap1"),
    ]
    text = two.run("status").stdout
    assert "up: eth0 → tap0" in text
    assert "up: net1 → tap1" in text

    code, said = doctor(two)
    assert wrong(said) == []
    assert {one["code"] for one in said["findings"]} & ACCUSATIONS == set()
    assert said["interfaces"] == ["eth0", "net1"]
    assert {one["interface"] for one in said["findings"]} == {"eth0", "net1"}
    assert "cannot be handed over" not in two.run("doctor", "--listen", "0", check=False).stdout
    _, of_one = doctor(two, "--interface", "net1")
    assert of_one["interfaces"] == ["net1"]

    _what_is_of_one_names_them_all(two, tmp_path)
    _one_that_drifts_is_told_and_its_remedy_is_the_right_one(two, tmp_path)


def _one_that_drifts_is_told_and_its_remedy_is_the_right_one(two: Agent, tmp_path: Path) -> None:
    with background(two.argv("status", "--watch", "--json"), tmp_path / "watch.log") as watching:
        watching.wait_for('"state": "up"')
        two.netns.ip_batch("link set tap1 down")
        watching.wait_for('"state": "drift"')
        watching.process.send_signal(signal.SIGINT)
        assert watching.wait() == 7
    code, told = status(two)
    assert (code, told["state"], told["drift"]) == (7, "drift", ["net1: set tap1 up=True"])
    code, said = doctor(two)
    [found] = [one for one in said["findings"] if one["code"] == "VMN-301"]
    assert (code, found["interface"]) == (7, "net1")
    assert "`vmnet up --interface net1" in found["remedy"]
    two.up("--interface", "net1")
    assert status(two)[0] == 0


def _what_is_of_one_names_them_all(two: Agent, tmp_path: Path) -> None:
    flags = {"wait": ("--for", "ready"), "support-bundle": ("--output", str(tmp_path / "bundle.tar"))}
    for verb in ("wait", "capture", "support-bundle", "down", "up", "plan", "serve"):
        done = two.run(verb, *flags.get(verb, ()), check=False)
        assert _refused(done) == "several interfaces are bound here (eth0, net1); name one with --interface"
    assert status(two)[0] == 0


def _refused(done: Completed) -> str:
    assert done.returncode == 3
    return str(json.loads(done.stderr)["message"])


def test_who_is_not_bound_accuses_none_of_those_that_are(pod: Pod, two: Agent) -> None:
    add_nic(pod, "net2", 8)
    _, said = doctor(two, "--interface", "net2")
    assert wrong(said) == []
    assert {one["code"] for one in said["findings"]} & ACCUSATIONS == set()
    two.run("up", "--interface", "net2")
    assert [one["settings"]["tap"] for one in status(two)[1]["bindings"]] == ["tap0", "tap1", "tap2"]
    two.run("down", "--interface", "net2")


def test_a_journal_that_cannot_be_read_accuses_not_the_other(two: Agent) -> None:
    [journal] = two.state_dir.glob("netns-*/net1/journal.json")
    journal.write_text("{", encoding="ascii")
    note = [name for link in two.netns.ip("link", "show", "dev", "net1-nic") for name in link["altnames"]]
    two.netns.ip_batch(*(f"link property del dev net1-nic altname {name}" for name in note))
    _, said = doctor(two)
    assert {(one["interface"], one["code"]) for one in said["findings"] if one["severity"] == "error"} == {
        ("net1", "VMN-208")
    }
    assert {one["code"] for one in said["findings"]} & {"VMN-604", "VMN-605"} == set()


def test_a_killed_server_of_one_is_that_ones(two: Agent) -> None:
    [pid] = [int(path.read_text().split()[0]) for path in two.state_dir.glob("netns-*/net1/server.pid")]
    kill(pid)
    code, said = doctor(two)
    assert code == 7
    assert {(one["interface"], one["code"]) for one in said["findings"] if one["severity"] == "error"} >= {
        ("net1", "VMN-504")
    }
    assert "eth0" not in {one["interface"] for one in said["findings"] if one["severity"] == "error"}


def test_with_one_all_is_as_it_was(ready_pod: Pod, agent: Agent) -> None:
    assert ready_pod
    code, told = status(agent)
    assert code == 0
    assert "bindings" not in told
    assert told["found"]["ifname"] == "eth0"


def test_nothing_bound_has_an_exit_code_of_its_own(tmp_path: Path) -> None:
    with pods.pod("bridge") as pod, forked.cleared(pod, tmp_path) as agent:
        done = agent.run("status", check=False)
        assert (done.returncode, done.stdout) == (11, "down: nothing is bound here\n")
        assert status(agent)[0] == 11
        agent.up()
        agent.down()
        assert status(agent)[0] == 11
