"""Whoever opens the tap after it was closed is another guest: it is not bound because the one before it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from testbed import clients
from testbed.netns import background, run
from testbed.tap_guest import tap_guest
from tests.netns.test_run import argv

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.agent import Agent
    from testbed.pods import Pod


def state(agent: Agent) -> str:
    """How the guest stands by `vmnet status`."""
    return str(agent.status()["guest"]["families"]["ipv4"]["state"])


def test_the_guest_is_gone_with_qemu_and_the_next_one_begins_anew(
    ready_pod: Pod, agent: Agent, tmp_path: Path
) -> None:
    [log] = agent.state_dir.glob("netns-*/*/server.log")
    with background(["tail", "-n", "+1", "-F", log], tmp_path / "tail.log") as server:
        with tap_guest(ready_pod.netns, ready_pod.mac, tmp_path) as guest:
            clients.lease("udhcpc", guest)
            assert state(agent) == "bound"
        server.wait_for("guest-gone")
        assert state(agent) == "silent"
        with tap_guest(ready_pod.netns, ready_pod.mac, tmp_path) as guest:
            assert state(agent) == "silent"
            clients.lease("udhcpc", guest)
            assert state(agent) == "bound"


def test_a_server_that_starts_while_nobody_holds_the_tap_remembers_nobody(
    pod: Pod, agent: Agent, tmp_path: Path
) -> None:
    """A container that was killed took QEMU and the server along: nobody saw the tap being closed."""
    with background(argv(agent, (), "--keep"), tmp_path / "first.log") as first:
        first.wait_for('"event": "ready"')
        with tap_guest(pod.netns, pod.mac, tmp_path) as guest:
            clients.lease("udhcpc", guest)
            [server] = agent.servers()
            first.process.kill()
            run(["kill", "-KILL", str(server)])
    agent.up()
    assert state(agent) == "silent"


def test_a_server_that_starts_while_the_guest_holds_on_remembers_it(
    ready_pod: Pod, agent: Agent, tmp_path: Path
) -> None:
    with tap_guest(ready_pod.netns, ready_pod.mac, tmp_path) as guest:
        clients.lease("udhcpc", guest)
        [server] = agent.servers()
        run(["kill", "-KILL", str(server)])
        agent.up()
        assert state(agent) == "bound"
