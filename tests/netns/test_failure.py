"""What is left of the pod when something `up` needs is missing: always what was found.

┌ pod ──┐
│ eth0  │   up is refused half-way
└───────┘

SIGKILL is the matter of `test_crash`, errors of the kernel that of `test_faults`.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from testbed.netns import run
from testbed.snapshot import difference, snapshot
from tests.netns.test_run import wait_for_serving

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.agent import Agent
    from testbed.netns import Completed
    from testbed.pods import Pod


def _message(done: Completed) -> str:
    (line,) = (line for line in done.stderr.splitlines() if '"error"' in line)
    return str(json.loads(line)["message"])


@pytest.mark.host_privileges("it takes away another one")
@pytest.mark.parametrize(
    ("capability", "says"),
    [
        ("net_admin", "add note of the pod's facts on eth0: Operation not permitted; CAP_NET_ADMIN is missing"),
        ("net_raw", "open a packet socket on tap0: Operation not permitted; CAP_NET_RAW is missing"),
    ],
)
def test_a_missing_capability_is_named_and_the_pod_given_back(
    capability: str, says: str, pod: Pod, agent: Agent, tmp_path: Path
) -> None:
    found = snapshot(pod)
    argv = agent.argv("up")
    done = run(
        [*argv[:3], "setpriv", "--bounding-set", f"-{capability}", "--inh-caps", f"-{capability}", *argv[3:]],
        check=False,
    )
    assert done.returncode == 4, done.stderr
    assert says in _message(done)
    assert "all changes were undone" in _message(done)
    assert difference(found, snapshot(pod)) == ""
    assert list((tmp_path / "state").iterdir()) == []


def test_no_tun_device_is_named_and_the_pod_given_back(pod: Pod, agent: Agent) -> None:
    found = snapshot(pod)
    argv = agent.argv("up")
    hidden = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev/net && exec "$@"', "sh"]
    done = run([*argv[:3], *hidden, *argv[3:]], check=False)
    assert done.returncode == 4, done.stderr
    assert "open /dev/net/tun: No such file or directory" in _message(done)
    assert difference(found, snapshot(pod)) == ""


_COMPILES_NOTHING = """
import os, sys
from vmnet.cli import main as cli
from vmnet.control import processes
def start_compiler(lease, log):
    read_end, write_end = os.pipe()
    os.close(write_end)
    return processes.Compiler(0, read_end)
processes.start_compiler = start_compiler
sys.exit(cli.main())
"""
"""vmnet, whose compiler of the replies dies when `up` has returned."""


def test_replies_that_never_come_are_told_by_status_and_the_log_and_mended_by_up(pod: Pod, agent: Agent) -> None:
    run(_patched(agent, _COMPILES_NOTHING))
    done = agent.run("status", "--json", check=False)
    assert done.returncode == 7, done.stdout
    [drift] = json.loads(done.stdout)["drift"]
    assert drift.startswith("start the DHCP server: it does not answer; last line of its log: ")
    assert "the guest gets no DHCP: no compiled replies came" in drift
    [log] = agent.logs()
    assert "the guest gets no DHCP: no compiled replies came" in log.read_text()
    waited = agent.run("wait", "--for", "ready", "--timeout", "0", "--json", check=False)
    cause = json.loads(waited.stdout)["cause"]
    assert (waited.returncode, cause["word"], cause["evidence"]) == (6, "server-dead", [drift])

    agent.up()
    wait_for_serving(agent)  # READY is before that
    assert agent.run("status").returncode == 0
    assert pod.address in agent.status()["server"]["yiaddr"]


def _patched(agent: Agent, program: str, *arguments: str) -> list[str]:
    """Put a program in vmnet's place that changes one thing and then is vmnet."""
    up = agent.argv("up")
    at = up.index("up")
    return [*up[: at - 1], sys.executable, "-c", program, *arguments, *up[at:]]
