"""`vmnet down` while a program has the tap open names it; a program whose tap is gone is found and named.

┌ pod ─────────────────────────────┐
│ eth0-nic ── k6t-eth0 ── tap0 ◀── a process that holds it
└──────────────────────────────────┘
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from testbed.netns import Background, background, wait_for_end
from tests.netns.tap_holder import HOLDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from testbed.agent import Agent
    from testbed.pods import Pod


def holding(agent: Agent, log: Path, tap: str = "tap0") -> AbstractContextManager[Background]:
    """With vmnet's own privileges: who has more can be seen by none that has less."""
    return background(agent.command(sys.executable, "-c", HOLDS, tap), log)


@pytest.fixture
def holder(ready_pod: Pod, agent: Agent, tmp_path: Path) -> Iterator[Background]:
    assert ready_pod
    with holding(agent, tmp_path / "holder.log") as held:
        held.wait_for("^held$")
        yield held


def refusal(agent: Agent, verb: str, *flags: str) -> str:
    done = agent.run(verb, *flags, check=False)
    assert done.returncode == 3, done.stderr
    return str(json.loads(done.stderr.splitlines()[-1])["message"])


def test_down_names_who_has_the_tap_open_and_takes_it_by_force_only(holder: Background, agent: Agent) -> None:
    said = refusal(agent, "down")
    assert f"tap0 is in use by python3 (pid {holder.process.pid})" in said or f"(pid {holder.process.pid})" in said
    assert "--force" in said
    assert agent.status()["state"] == "up"
    assert agent.run("down", "--force").returncode == 0
    assert agent.status()["state"] == "down"


def test_down_goes_once_the_vm_has_ended(holder: Background, agent: Agent) -> None:
    holder.process.send_signal(signal.SIGTERM)
    wait_for_end(holder.process.pid)
    agent.down()


def test_a_tap_that_is_set_down_is_in_use_all_the_same(holder: Background, ready_pod: Pod, agent: Agent) -> None:
    ready_pod.netns.ip_batch("link set tap0 down")
    assert f"(pid {holder.process.pid})" in refusal(agent, "down")


@pytest.mark.host_privileges("it goes into a process tree of its own")
def test_a_holder_that_cannot_be_seen_is_said_to_be_one(holder: Background, agent: Agent) -> None:
    """As from another container: its process is none of ours to see."""
    assert holder.process.pid
    words = agent.command("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    hidden = agent.argv("down")
    place = hidden.index("env")
    done = agent.netns.run(*words[len(agent.netns.command()) :], *hidden[place:], check=False)
    assert done.returncode == 3, done.stderr
    assert "tap0 is in use by a program that cannot be seen from here" in done.stderr


def test_a_program_whose_tap_is_gone_is_found_and_named(holder: Background, ready_pod: Pod, agent: Agent) -> None:
    ready_pod.netns.ip_batch("link delete tap0")
    agent.up()  # another tap0 is made, which the holder does not have
    done = agent.run("doctor", "--json", "--listen", "0", check=False)
    [found] = [one for one in json.loads(done.stdout)["findings"] if one["code"] == "VMN-310"]
    assert found["severity"] == "error"
    assert f"(pid {holder.process.pid})" in found["what"]
    waited = agent.run("wait", "--for", "bound", "--timeout", "0", "--json", check=False)
    cause = json.loads(waited.stdout)["cause"]
    assert (waited.returncode, cause["word"]) == (6, "tap-gone")
    assert f"(pid {holder.process.pid})" in cause["what"]
    agent.down()


def test_a_tap_in_use_by_another_is_named_and_never_to_be_deleted(pod: Pod, agent: Agent, tmp_path: Path) -> None:
    """As cloud-hypervisor's own tap0: the default goes around it, and whoever asks for it hears whose it is."""
    pod.netns.ip_batch("tuntap add tap0 mode tap")
    with holding(agent, tmp_path / "other.log") as other:
        other.wait_for("^held$")
        said = refusal(agent, "up", "--tap", "tap0")
        assert f"(pid {other.process.pid}) has open" in said
        assert "del" not in said.split()
        agent.up()
        assert agent.status()["settings"]["tap"] == "tap1"
        domain = agent.netns.run(*agent.argv("domain"), stdin="<domain><devices/></domain>").stdout
        assert "<target dev='tap1'" in domain.replace('"', "'")
        agent.down()
        assert [link["ifname"] for link in pod.netns.ip("link", "show", "dev", "tap0")] == ["tap0"]
    assert os.getpid()


def test_a_tap_that_took_the_name_of_ours_is_left_alone(ready_pod: Pod, agent: Agent, tmp_path: Path) -> None:
    """Ours was deleted, and another program has made its own: neither `up` nor `down` takes that away from it."""
    ready_pod.netns.ip_batch("link delete tap0", "tuntap add tap0 mode tap user 1234", "link set tap0 up")
    with holding(agent, tmp_path / "other.log") as other:
        other.wait_for("^held$")
        [theirs] = ready_pod.netns.ip("link", "show", "dev", "tap0")
        for verb in ("up", "plan"):
            said = refusal(agent, verb)
            assert said.startswith("tap0 is a tap that ")
            assert f"(pid {other.process.pid}) has open" in said
            assert "; run `vmnet down --state-dir" in said
            assert "both leave tap0 alone" in said
        told = agent.status()
        assert told["state"] == "drift"
        assert "eth0's own tap is gone" in told["drift"][0]
        assert not any("delete" in change for change in told["drift"])
        agent.down()
        agent.up()
        assert agent.status()["settings"]["tap"] == "tap1"
        agent.down()
        [left] = ready_pod.netns.ip("link", "show", "dev", "tap0")
        for fact in ("ifindex", "address", "flags"):
            assert left[fact] == theirs[fact]
        assert "master" not in left


def test_the_pods_only_nic_may_be_called_tap0(pod: Pod, agent: Agent) -> None:
    """As slirp4netns makes it."""
    pod.netns.ip_batch("link set eth0 down", "link set eth0 name tap0", "link set tap0 up")
    pod.netns.ip_batch(f"route add default via {pod.gateway} dev tap0")
    assert "tap0 is the pod's own NIC" in refusal(agent, "up", "--tap", "tap0", "--interface", "tap0")
    agent.up()
    told = agent.status()
    assert (told["state"], told["found"]["ifname"], told["settings"]["tap"]) == ("up", "tap0", "tap1")
    agent.down()
    assert agent.netns.ip("link", "show", "dev", "tap0")


def test_what_kubevirt_has_bound_is_its(pod: Pod, agent: Agent) -> None:
    pod.netns.ip_batch(
        "link set eth0 down",
        "link set eth0 name eth0-nic",
        "link add k6t-eth0 type bridge",
        "link set eth0-nic master k6t-eth0 up",
        "tuntap add tap0 mode tap",
        "link set tap0 master k6t-eth0 up",
        "link set k6t-eth0 up",
        "link add eth0 type bridge",  # a dummy on other kernels
        f"address add {pod.address}/24 dev eth0",
        "link set eth0 up",
    )
    done = agent.run("status", check=False)
    assert done.returncode == 11
    assert "KubeVirt has bound eth0 already" in " ".join(done.stdout.split())
    assert "KubeVirt has bound eth0 already" in agent.status()["elsewhere"][0]
    said = refusal(agent, "up")
    assert said.startswith("KubeVirt has bound eth0 already: k6t-eth0 joins eth0-nic and tap0")
    assert agent.run("down").returncode == 0
    xml = "<domain type='kvm'><name>vm</name><devices/></domain>"
    defined = agent.run("onDefineDomain", "--vmi", "{}", "--domain", xml, check=False)
    assert (defined.returncode, defined.stdout) == (0, xml)
    assert "KubeVirt has bound eth0 already" in defined.stderr
    assert [link["ifname"] for link in pod.netns.ip("link", "show", "master", "k6t-eth0")] == ["eth0-nic", "tap0"]
