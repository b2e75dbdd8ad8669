"""The server's life: it ends when it is told to, by whoever may; and a tap that comes back is served again.

┌ pod ─────────────────────────────┐
│ vmnet-server ◀─ SIGTERM, `down`  │   from a container that may not signal it, or does not even see it
│      └─ tap0    down and up      │
└──────────────────────────────────┘
"""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import sys
from contextlib import chdir, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from testbed.netns import background, entered, kill, run
from testbed.patience import PATIENCE
from testbed.snapshot import difference, snapshot
from testbed.tap_guest import raw_tap
from tests import figures
from tests.extent import amount
from tests.netns.forked import Forked
from tests.netns.test_up_down import wait_for_an_offer
from vmnet.control import call
from vmnet.kernel.inotify import watch_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.agent import Agent
    from testbed.netns import Background, Completed
    from testbed.pods import Pod

ROUNDS = amount(2, 9)
NOBODY = 65534
SERVER_NAME = "\0vmnet/server/eth0"
OTHER_CONTAINER = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
"""It shares the pod's network and not its processes, as the containers of a pod do."""


def _end(pid: int, number: int) -> None:
    handle = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(handle, number)
        assert select.select([handle], [], [], PATIENCE)[0], "it goes on"
    finally:
        os.close(handle)


def _run_in(agent: Agent, container: tuple[str, ...], verb: str) -> Completed:
    argv = agent.argv(verb)
    place = argv.index("env")
    return run([*argv[:place], *container, *argv[place:]], check=False)


def test_sigterm_ends_it(pod: Pod, agent: Agent) -> None:
    vmnet = Forked(agent)
    for _ in range(ROUNDS):
        vmnet.up()
        [server] = agent.servers()
        with figures.timed("SIGTERM ends it", at_most=0.2):
            _end(server, signal.SIGTERM)
    assert _servers(pod) == []


def test_whatever_its_starter_ignores_and_blocks(pod: Pod, agent: Agent) -> None:
    """`trap '' TERM` in a script, a launcher that waits for its signals: both are inherited."""

    def tamper() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())

    for number in (signal.SIGTERM, signal.SIGINT):
        Forked(agent).run("up", tamper=tamper).ok()
        [server] = agent.servers()
        _end(server, number)
    assert _servers(pod) == []


IN_ANOTHER = pytest.mark.host_privileges("it goes into a process tree of its own")


@pytest.mark.parametrize(
    "container",
    [pytest.param((), id="a process"), pytest.param(OTHER_CONTAINER, id="process 1", marks=IN_ANOTHER)],
)
@pytest.mark.parametrize("way", ["ignored", "blocked", "default"])
def test_served_in_the_foreground(
    container: tuple[str, ...], way: str, ready_pod: Pod, agent: Agent, tmp_path: Path
) -> None:
    """The kernel keeps from process 1 every signal that it has no handler for."""
    [server] = agent.servers()
    kill(server)
    argv = agent.argv("serve")
    place = argv.index("env") + 1
    signals = {"ignored": ["--ignore-signal=TERM"], "blocked": ["--block-signal=TERM"], "default": []}[way]
    words = [*argv[: place - 1], *container, "env", *signals, *argv[place:]]
    with background(words, tmp_path / "serve.log") as serving:
        serving.wait_for('"event":"serving"')
        [server] = _servers(ready_pod)
        _end(server, signal.SIGTERM)
        assert serving.wait() in (0, -signal.SIGTERM)


def _servers(pod: Pod) -> list[int]:
    """The servers that live in the pod, recorded or not; the compiler of their replies may outlive them."""
    return [pid for pid in pod.netns.processes() if _name(pid) == "vmnet-server"]


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="ascii").strip()
    except OSError:
        return ""


@pytest.mark.host_privileges("becoming nobody needs CAP_SETUID")
def test_down_where_nobody_may_be_signalled(pod: Pod, agent: Agent) -> None:
    """A container with SETUID and without KILL: the server became another user, whom root may not signal."""
    found = snapshot(pod)
    without_kill = ("setpriv", "--bounding-set", "-kill", "--inh-caps", "-kill")
    assert _run_in(agent, without_kill, "up").returncode == 0
    [server] = agent.servers()
    assert "\nUid:\t65525\t" in Path(f"/proc/{server}/status").read_text(encoding="ascii")
    done = _run_in(agent, without_kill, "down")
    assert done.returncode == 0, done.stderr
    assert difference(found, snapshot(pod)) == ""
    assert _servers(pod) == []


@pytest.mark.host_privileges("becoming nobody needs CAP_SETUID")
def test_down_where_a_server_that_hangs_may_not_be_signalled(pod: Pod, agent: Agent) -> None:
    found = snapshot(pod)
    agent.up()
    [server] = agent.servers()
    os.kill(server, signal.SIGSTOP)
    done = _run_in(agent, ("setpriv", "--bounding-set", "-kill", "--inh-caps", "-kill"), "down")
    assert done.returncode == 5
    assert f"end the DHCP server, process {server}: Operation not permitted; CAP_KILL is missing" in done.stderr
    assert re.search("run `vmnet down [^`]*` to finish", done.stderr)
    agent.down()
    assert difference(found, snapshot(pod)) == ""


@pytest.mark.parametrize("uid", [NOBODY, 0], ids=["nobody", "root"])
def test_nobody_else_can_end_it(ready_pod: Pod, agent: Agent, uid: int) -> None:
    """Root in another container of the pod need not have any right."""
    servers = agent.servers()
    with entered(ready_pod.netns):
        stranger = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with stranger:
        os.seteuid(uid)
        try:
            stranger.bind(f"\0vmnet/end/{uid}")
            stranger.connect(SERVER_NAME)
        finally:
            os.seteuid(0)
        assert stranger.recv(1) in (b"", b"{")  # it has been looked at, and let go
    assert agent.run("status").returncode == 0
    assert agent.servers() == servers


LISTENS = """
import contextlib, socket, sys
listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
listening.bind(sys.argv[1])
listening.listen()
print("listens", flush=True)
while True:
    caller, _ = listening.accept()
    with contextlib.suppress(OSError):
        caller.sendall(sys.argv[2].encode())
    caller.close()
"""
"""Root of the pod's, which may not do anything, at a name of ours."""


@contextmanager
def _squatter(pod: Pod, log: Path, says: str = "") -> Iterator[Background]:
    powerless = ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all")
    argv = pod.netns.command(*powerless, sys.executable, "-c", LISTENS, SERVER_NAME.replace("\0", "@"), says)
    argv[argv.index(LISTENS)] = LISTENS.replace("sys.argv[1]", 'sys.argv[1].replace("@", chr(0))')
    with background(argv, log) as squatter:
        squatter.wait_for("listens")
        yield squatter


def test_whoever_repeats_a_true_report_at_the_name_does_not_pass_for_the_server(
    ready_pod: Pod, agent: Agent, tmp_path: Path
) -> None:
    [server] = agent.servers()
    with entered(ready_pod.netns):
        asking = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with asking:
        asking.connect(SERVER_NAME)
        said = asking.recv(1 << 16).decode()
    _end(server, signal.SIGKILL)
    with _squatter(ready_pod, tmp_path / "squatter.log", said):
        assert agent.run("status", check=False).returncode == 7
        assert '"changed": true' in agent.up().stderr
        [another] = agent.servers()
        assert agent.status()["server"]["pid"] == another
        with raw_tap(ready_pod.netns) as tap:
            wait_for_an_offer(tap, ready_pod)


def test_no_process_that_is_not_a_server_of_ours_is_signalled(pod: Pod, agent: Agent, tmp_path: Path) -> None:
    """It took the name, or the kernel gives its pid for that of a listener which has died."""
    with _squatter(pod, tmp_path / "squatter.log") as squatter:
        agent.up()
        assert len(agent.servers()) == 1
        agent.down()
        assert squatter.process.poll() is None


@pytest.mark.parametrize("named", [True, False])
def test_where_the_kernel_gives_no_handle_of_a_peer(pod: Pod, agent: Agent, named: bool) -> None:
    """Before Linux 6.5: what is written down is what counts, and by its file the server ends as it is asked."""

    def tamper() -> None:
        call._peer_handle = lambda _: call.NO_HANDLE  # type: ignore[assignment]

    found = snapshot(pod)
    vmnet = Forked(agent)
    vmnet.run("up", tamper=tamper).ok()
    [server] = agent.servers()
    if named:
        [door] = agent.state_dir.glob("**/server.sock")
        door.unlink()
    assert '"changed": false' in vmnet.run("up", tamper=tamper).ok().stderr
    assert agent.servers() == [server]
    vmnet.run("down", tamper=tamper).ok()
    assert _servers(pod) == []
    assert difference(found, snapshot(pod)) == ""


@IN_ANOTHER
def test_a_server_of_another_container_and_state_directory_ends_with_the_binding(
    pod: Pod, agent: Agent, tmp_path: Path
) -> None:
    """It cannot be believed, nor does it believe us; with its tap gone it has nothing to serve."""
    found = snapshot(pod)
    agent.up()
    [server] = agent.servers()
    handle = os.pidfd_open(server)
    other = replace(agent, state_dir=tmp_path / "other")
    done = _run_in(other, OTHER_CONTAINER, "down")
    assert done.returncode == 0, done.stderr
    assert select.select([handle], [], [], PATIENCE)[0], "it goes on"
    os.close(handle)
    assert difference(found, snapshot(pod)) == ""


NONSENSE = {
    "half of it": b'{"state":"ser',
    "nothing in it": b"{}\n",
    "no object": b"[]\n",
    "no words": b'{"state":1,"lease":[],"reason":"","sandbox":{"on":true,"reached":[],"missed":{}}}\n',
    "half a sandbox": b'{"state":"serving","lease":"none","reason":"","sandbox":{"on":true}}\n',
    "an unknown state": b'{"state":"failed","lease":"none"}\n',
    "a number that is none": b'{"state":"serving","lease":"bound","uptime_seconds":NaN}\n',
    "too deep": b"[" * 4000 + b"\n",
}


@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE)
def test_an_answer_that_is_none(ready_pod: Pod, agent: Agent, answer: bytes) -> None:
    """As of a server that ends while it answers, or that a guest has taken over."""
    [server] = agent.servers()
    _end(server, signal.SIGKILL)
    [door] = agent.state_dir.glob("**/server.sock")
    door.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening, chdir(door.parent):
        listening.bind(door.name)
        listening.listen()
        asking = Forked(agent).start("status")
        answering, _ = listening.accept()
        answering.send(answer)
        answering.close()
        listening.close()
        ended = asking.wait()
    assert ended.code == 7, ended.stderr
    assert "start the DHCP server: it does not answer" in ended.stdout


@IN_ANOTHER
def test_another_container_of_the_pod_finds_the_server_and_ends_it(pod: Pod, agent: Agent) -> None:
    found = snapshot(pod)
    agent.up()
    servers = _servers(pod)
    assert _run_in(agent, OTHER_CONTAINER, "status").returncode == 0
    again = _run_in(agent, OTHER_CONTAINER, "up")
    assert (again.returncode, '"changed": false' in again.stderr) == (0, True), again.stderr
    assert _servers(pod) == servers == agent.servers()
    refused = _run_in(agent, OTHER_CONTAINER, "serve")
    assert (refused.returncode, "tap0 is served already" in refused.stderr) == (3, True), refused.stderr
    done = _run_in(agent, OTHER_CONTAINER, "down")
    assert done.returncode == 0, done.stderr
    assert difference(found, snapshot(pod)) == ""
    assert _servers(pod) == []


def test_a_link_that_was_down_is_served_again(ready_pod: Pod, agent: Agent) -> None:
    servers = agent.servers()
    with raw_tap(ready_pod.netns) as tap:
        ready_pod.netns.ip_batch("link set tap0 down", "link set tap0 up")
        with figures.timed("a link that was down is served again", at_most=1):
            wait_for_an_offer(tap, ready_pod)
    assert agent.servers() == servers
    assert agent.run("status").returncode == 0


@pytest.mark.parametrize("before", [(), ("link set eth0-nic down",)], ids=["up", "down"])
def test_it_hears_when_the_pod_s_nic_is_gone_and_not_when_it_is_down(
    ready_pod: Pod, agent: Agent, before: tuple[str, ...]
) -> None:
    """Of a deleted pod nobody tells it; a minute later it ends (tests/unit/server/test_loop.py)."""
    [log] = agent.logs()
    ready_pod.netns.ip_batch("link set eth0-nic down", "link set eth0-nic up")
    with raw_tap(ready_pod.netns) as tap:
        wait_for_an_offer(tap, ready_pod)
        assert "nic_gone" not in log.read_text(encoding="ascii")
        ready_pod.netns.ip_batch(*before)
        wait_for_an_offer(tap, ready_pod)
        grown = watch_file(str(log))
        ready_pod.netns.ip_batch("link delete eth0-nic")
        while '"event":"nic_gone"' not in log.read_text(encoding="ascii"):
            assert select.select([grown], [], [], PATIENCE)[0], "it has heard nothing"
            os.read(grown, 4096)
        os.close(grown)
        wait_for_an_offer(tap, ready_pod)
