"""`vmnet exporter` and `vmnet metrics` over real pods, read by Prometheus' own parser.

┌ node, a namespace of its own ──┐      ┌ pod ───────────┐ ┌ pod ───────────┐ ┌ pod ────────────┐
│ vmnet exporter, no capability  │      │ vmnet-server   │ │ vmnet-server   │ │ (killed)        │
└───────┬────────────────────────┘      └──────┼─────────┘ └──────┼─────────┘ └─────────────────┘
        └─────────────────── STATE_DIR/netns-COOKIE/eth0/server.sock
"""

from __future__ import annotations

import os
import signal
import socket
import stat
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from testbed import pods
from testbed.agent import VMNET, Agent
from testbed.netns import entered, kill, run, wait_for_end
from testbed.tap_guest import raw_tap
from tests import figures
from tests.extent import amount
from tests.netns import forked
from tests.netns.scraper import NO_CAPABILITY, Exporter, Samples, crowd, exporter, parsed, value
from tests.netns.test_up_down import discover, is_offer
from vmnet.errors import UsageError
from vmnet.kernel.netns import cookie
from vmnet.metrics.exporter import listening

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.pods import Pod

AGENTS = amount(30, 100)
WITHIN = 1.0
"""Seconds that a scrape of them may take on a machine that does nothing else."""
LAYOUTS = {"dual": "bridge-dual", "ipv4": "bridge", "dead": "ptp"}
ADDRESSES = ("unix", "127.0.0.1:9431", "[::1]:9432")


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Pod, Agent]]]:
    """Three pods that were handed over; a guest asked in the first, the server of the third was killed."""
    made = {}
    with ExitStack() as undo:
        for name, layout in LAYOUTS.items():
            pod = undo.enter_context(pods.pod(layout))
            agent = forked.agent(pod, tmp_path_factory.mktemp(name))
            undo.callback(agent.clear)
            agent.up()
            made[name] = pod, agent
        pod = made["dual"][0]
        tap = undo.enter_context(raw_tap(pod.netns))  # once it is closed, the guest is forgotten
        tap.send(discover(pod.mac, 7))
        tap.receive(is_offer(7))
        for server in made["dead"][1].servers():
            kill(server)
            wait_for_end(server)
        yield made


def where(pod: Pod, agent: Agent) -> dict[str, object]:
    """The labels that say which binding it is."""
    with entered(pod.netns):
        return {"interface": pod.ifname, "netns": cookie(), "state_dir": agent.state_dir}


@contextmanager
def scraped(directory: Path, address: str, *state_dirs: Path | str) -> Iterator[Exporter]:
    """An exporter at that address, `unix` being a socket in the directory."""
    there = f"unix:{directory}/exporter.sock" if address == "unix" else address
    with exporter(directory / "exporter.log", there, *state_dirs) as running:
        yield running


@pytest.mark.parametrize("address", ADDRESSES)
def test_three_pods_one_of_them_dead(three: dict[str, tuple[Pod, Agent]], address: str, tmp_path: Path) -> None:
    with scraped(tmp_path, address, *(agent.state_dir for _, agent in three.values())) as node:
        found = node.scrape()
        assert node.get("/healthz") == b"ok\n"
        assert b'href="/metrics"' in node.get("/")
    dual, ipv4, dead = (where(*made) for made in three.values())
    assert [value(found, "vmnet_up", **one) for one in (dual, ipv4, dead)] == [1, 1, 0]
    assert value(found, "vmnet_exporter_bindings") == 3
    assert must_agree(found, *three["dual"], "ipv4", "ipv6") == "offered"
    assert must_agree(found, *three["ipv4"], "ipv4") == "silent"
    assert value(found, "vmnet_events_total", **dual, event="offer") == 1
    assert value(found, "vmnet_lease_state", **ipv4, family="ipv6", vmnet_lease_state="silent") is None
    assert {name for (name, labels) in found if ("netns", str(dead["netns"])) in labels} == {"vmnet_up"}


def must_agree(found: Samples, pod: Pod, agent: Agent, *families: str) -> str:
    """What is exported of a binding is what `status` says; gives the state of the first family."""
    server = agent.status()["server"]
    one = where(pod, agent)
    resident = value(found, "vmnet_server_resident_memory_bytes", **one)
    assert resident
    assert 4 << 20 < resident < 32 << 20
    assert value(found, "vmnet_info", **one, mac=pod.mac, version=server["version"]) == 1
    assert value(found, "vmnet_server_sandbox_stages", **one, result="missed") == len(server["sandbox"]["missed"])
    uptime = value(found, "vmnet_server_uptime_seconds", **one)
    assert uptime is not None
    assert 0 < uptime < server["uptime_seconds"]
    for family in families:
        lease = server if family == "ipv4" else server["ipv6"]
        assert value(found, "vmnet_lease_state", **one, family=family, vmnet_lease_state=lease["lease"]) == 1
    return str(server["lease"])


def test_metrics_of_the_pod_one_is_in(three: dict[str, tuple[Pod, Agent]]) -> None:
    pod, agent = three["dual"]
    found = parsed(agent.run("metrics").stdout)
    one = where(pod, agent)
    assert must_agree(found, pod, agent, "ipv4", "ipv6") == "offered"
    assert value(found, "vmnet_drift_changes", **one) == 0
    pod.netns.ip_batch("link set tap0 down")
    assert value(parsed(agent.run("metrics").stdout), "vmnet_drift_changes", **one) == 1
    agent.up()
    pod, agent = three["dead"]
    found = parsed(agent.run("metrics").stdout)
    assert value(found, "vmnet_up", **where(pod, agent)) == 0
    assert value(found, "vmnet_drift_changes", **where(pod, agent)) == 1


def test_no_binding_no_metric(agent: Agent, tmp_path: Path) -> None:
    assert agent.run("metrics").stdout == ""
    with scraped(tmp_path, "unix", tmp_path / "none", tmp_path / "*" / "none") as node:
        assert value(node.scrape(), "vmnet_exporter_bindings") == 0


def test_a_pod_that_comes_and_goes(pod: Pod, agent: Agent, tmp_path: Path) -> None:
    with scraped(tmp_path, "unix", agent.state_dir.parent / "*") as node:
        assert value(node.scrape(), "vmnet_exporter_bindings") == 0
        agent.up()
        assert value(node.scrape(), "vmnet_up", **{**where(pod, agent), "state_dir": agent.state_dir.name}) == 1
        agent.down()
        assert value(node.scrape(), "vmnet_exporter_bindings") == 0


REQUESTS = {
    "another path": (b"GET /etc/passwd HTTP/1.1\r\n\r\n", b"HTTP/1.1 404 "),
    "another method": (b"POST /metrics HTTP/1.1\r\nContent-Length: 9\r\n\r\n123456789", b"HTTP/1.1 501 "),
    "head only": (b"HEAD /healthz HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 "),
    "no HTTP": (b"\x16\x03\x01\x02\0\x01\0\r\n\r\n", b""),
    "another version": (b"GET / HTTP/9.9\r\n\r\n", b"<!DOCTYPE"),
    "a long line": (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", b""),
    "many headers": (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", b"HTTP/1.1 431 "),
    "an endless head": (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 5000, b""),
}


@pytest.mark.parametrize("address", ADDRESSES[:2])
def test_whoever_asks_breaks_nothing(three: dict[str, tuple[Pod, Agent]], address: str, tmp_path: Path) -> None:
    with scraped(tmp_path, address, three["ipv4"][1].state_dir) as node:
        for name, (request, beginning) in REQUESTS.items():
            answer = node.answer(request)
            assert answer.startswith(beginning), (name, answer)
            assert answer.count(b"Connection: close") <= 1
        before = node.scrape()
        with ExitStack() as idle:
            for _ in range(30):
                connection = idle.enter_context(node.connect())
                connection.sendall(b"GET /metrics HTTP/1.1\r\n")
            assert node.scrape().keys() == before.keys()  # there are places left
            assert connection.recv(1) == b""  # after 5 s each of them is let go
        assert node.scrape().keys() == before.keys()
        assert "request_failed" not in node.running.text


def test_a_socket_that_is_not_a_server_s(three: dict[str, tuple[Pod, Agent]], tmp_path: Path) -> None:
    """Of a pod whose root is hostile, or of a server that a guest has stopped."""
    pod, agent = three["ipv4"]
    [directory] = agent.state_dir.glob("netns-*/eth0")
    right = (directory / "server.sock").rename(tmp_path / "right.sock")
    dual = where(*three["dual"])
    one = where(pod, agent)
    door = directory / "server.sock"
    answers = {"silence": b"", "nonsense": b"{}\n", "too much": b"x" * 40_000 + b"\n"}
    with scraped(tmp_path, "unix", agent.state_dir, three["dual"][1].state_dir) as node:

        def must_be_down() -> None:
            with figures.timed("a scrape with one socket that is no server's", WITHIN):
                found = node.scrape()
            assert (value(found, "vmnet_up", **one), value(found, "vmnet_up", **dual)) == (0, 1)

        try:
            must_be_down()
            door.symlink_to(right)
            must_be_down()
            door.unlink()
            door.mkdir()
            must_be_down()
            door.rmdir()
            os.mkfifo(door)
            must_be_down()
            door.unlink()
            for name, answer in answers.items():
                with answering(door, answer if name != "silence" else None):
                    must_be_down()
                door.unlink()
            with answering(door, said_at(right), uid=65534):
                must_be_down()
            door.unlink()
            with answering(door, said_at(right)):
                assert value(node.scrape(), "vmnet_up", **one) == 1, "this shows nothing"
            door.unlink()
        finally:
            right.rename(door)
        assert value(node.scrape(), "vmnet_up", **one) == 1


def said_at(path: Path) -> bytes:
    """What a server says."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.connect(str(path))
        return asking.recv(1 << 16, socket.MSG_WAITALL)


@contextmanager
def answering(path: Path, answer: bytes | None, uid: int = 0) -> Iterator[None]:
    """Somebody listens there and sends this to whoever comes, or never comes to accept."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listens, say = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                os.setresuid(uid, uid, uid)
                listening.listen()
                os.write(say, b"1")
                while True:
                    if answer is None:
                        signal.pause()
                    connection, _ = listening.accept()
                    connection.send(answer or b"")
                    connection.close()
            finally:
                os._exit(0)
        os.close(say)
        try:
            assert os.read(listens, 1) == b"1"
            yield
        finally:
            os.close(listens)
            kill(pid)
            os.waitpid(pid, 0)


def test_its_socket_is_the_owner_s_and_does_not_outlive_it(tmp_path: Path) -> None:
    path = tmp_path / "exporter.sock"
    with scraped(tmp_path, "unix", tmp_path / "state") as node:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        again = run([VMNET, "exporter", "--listen", node.address], check=False)
        assert (again.returncode, "Address already in use" in again.stderr) == (2, True), again.stderr
        node.running.process.send_signal(signal.SIGKILL)
        node.running.wait()
    assert path.exists()
    for number in (signal.SIGTERM, signal.SIGINT):
        with scraped(tmp_path, "unix", tmp_path / "state") as node:
            node.get("/healthz")
            node.running.process.send_signal(number)
            assert node.running.wait() == 0
        assert not path.exists()


def test_it_needs_no_capability_but_to_own_the_directories() -> None:
    assert run([*NO_CAPABILITY, "grep", "CapEff", "/proc/self/status"]).stdout.split() == ["CapEff:", f"{0:016x}"]


def test_many_agents(tmp_path: Path) -> None:
    """The figure is how long a scrape takes; that those which hang keep no other from being seen is asserted."""
    with crowd(tmp_path / "state", AGENTS) as servers, scraped(tmp_path, "unix", tmp_path / "state") as node:
        with figures.timed(f"{AGENTS} agents scraped", WITHIN):
            text = node.get()
        found = parsed(text.decode())
        assert sum(number for (name, _), number in found.items() if name == "vmnet_up") == AGENTS
        figures.tell("its text", len(text) / 1024, "KiB")
        figures.tell("asking them", 1000 * (value(found, "vmnet_exporter_scrape_seconds") or 0), "ms")
        stopped = servers[::10]
        for server in stopped:
            os.kill(server, signal.SIGSTOP)
        with figures.timed(f"the same with {len(stopped)} that hang", WITHIN):
            found = node.scrape()
        for server in stopped:
            os.kill(server, signal.SIGCONT)
        assert sum(number for (name, _), number in found.items() if name == "vmnet_up") == AGENTS - len(stopped)


def test_a_file_that_stands_where_the_socket_shall_is_kept(tmp_path: Path) -> None:
    """The kernel says of it what it says of a socket whose exporter has died."""
    path = tmp_path / "file"
    path.write_bytes(b"kept")
    with pytest.raises(UsageError, match="cannot listen at"):
        listening(f"unix:{path}")
    assert path.read_bytes() == b"kept"
