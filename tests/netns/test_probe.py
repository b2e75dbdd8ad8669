"""`vmnet probe` asks real servers, and whoever sits in a server's place."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from testbed import clients
from testbed.netns import run
from testbed.tap_guest import tap_guest

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.agent import Agent
    from testbed.netns import Completed
    from testbed.pods import Pod

LISTENERS = 4


def probed(agent: Agent, *flags: str) -> Completed:
    return agent.run("probe", *flags, check=False)


def test_ready_is_the_server_and_bound_is_the_guest(pod: Pod, agent: Agent, tmp_path: Path) -> None:
    none = probed(agent)
    up = f"`vmnet up --state-dir {agent.state_dir}`"
    assert (none.returncode, none.stderr) == (1, f"not ready: no binding is up here; run {up} first\n")
    agent.up()
    agent.run("wait", "--for", "ready")
    assert (probed(agent).returncode, probed(agent).stdout) == (0, "ready: eth0, the guest is silent\n")
    silent = probed(agent, "--for", "bound")
    assert (silent.returncode, silent.stderr) == (1, "not bound: the guest on eth0 is silent\n")
    with tap_guest(pod.netns, pod.mac, tmp_path) as guest:
        clients.lease("udhcpc", guest)
        assert (probed(agent, "--for", "bound").stdout) == "bound: eth0, the guest is bound\n"
    [server] = agent.servers()
    run(["kill", "-KILL", str(server)])
    gone = probed(agent, "--interface", "eth0")
    assert (gone.returncode, gone.stdout) == (1, "")
    agent.up()
    agent.run("wait", "--for", "ready")
    assert probed(agent).returncode == 0
    agent.down()
    assert probed(agent, "--for=bound").returncode == 1


def test_who_listens_and_says_nothing_is_waited_for_a_second(ready_pod: Pod, agent: Agent) -> None:
    """A process of root's, in the place of a server that is gone."""
    del ready_pod
    [server], [file] = agent.servers(), agent.state_dir.glob("netns-*/eth0/server.sock")
    run(["kill", "-KILL", str(server)])
    file.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(file))
        listening.listen(LISTENERS)
        said = probed(agent)
    assert (said.returncode, said.stderr) == (1, "not ready: the DHCP server of eth0 does not answer\n")


def test_a_link_leads_to_no_other_server(ready_pod: Pod, agent: Agent, tmp_path: Path) -> None:
    del ready_pod
    [file] = agent.state_dir.glob("netns-*/eth0/server.sock")
    agent.run("wait", "--for", "ready")
    assert probed(agent).returncode == 0
    file.rename(tmp_path / "others.sock")
    file.symlink_to(tmp_path / "others.sock")
    said = probed(agent)
    assert (said.returncode, said.stderr) == (1, "not ready: the DHCP server of eth0 does not answer\n")


@pytest.mark.parametrize("steps", [1, 2])
def test_a_directory_that_is_not_ours_alone_is_not_believed(steps: int, ready_pod: Pod, agent: Agent) -> None:
    del ready_pod
    [file] = agent.state_dir.glob("netns-*/eth0/server.sock")
    file.parents[steps - 1].chmod(0o777)
    said = probed(agent)
    assert (said.returncode, said.stderr.endswith(" is open to others\n")) == (1, True), said.stderr


@pytest.mark.parametrize("flags", [("--for", "alive"), ("--for",), ("--frobnicate",)])
def test_what_nobody_can_mean_is_a_usage_error(agent: Agent, flags: tuple[str, ...]) -> None:
    assert probed(agent, *flags).returncode == 2
