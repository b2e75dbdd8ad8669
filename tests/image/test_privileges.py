"""The agent's image in a pod that the CNI made, with exactly the documented privileges, and without each of them.

┌ node ───────┐     ┌ pod ──────────────────────────────────────────┐        ┌ guest ─┐
│ the gateway ├─veth┤ container: drop ALL, NET_ADMIN, NET_RAW, tun, ├─ tap0 ─┤ udhcpc │
└─────────────┘     │ read-only root, no new privileges             │        └────────┘
                    └───────────────────────────────────────────────┘
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from testbed import clients
from testbed.facts import GuestFacts, differences
from testbed.pods import must_answer
from testbed.snapshot import difference, snapshot
from testbed.tap_guest import tap_guest

if TYPE_CHECKING:
    from testbed.netns import Netns
    from testbed.podman import Container, Running
    from testbed.pods import Pod

READY = r'"event": "ready"'
REFUSED, ROLLED_BACK = 3, 4


def status(running: Running) -> dict[str, object]:
    """What `vmnet status` says inside the container."""
    return dict(json.loads(running.exec("vmnet", "status", "--json", check=False).stdout))


def servers(namespace: Netns) -> list[int]:
    """The ids, as seen from outside, of the DHCP servers that live in a pod."""
    return [pid for pid in namespace.processes() if _comm(pid) == "vmnet-server"]


def _comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def test_guest_leases_and_the_pod_comes_back(
    container: Container, pod: Pod, before: GuestFacts, tmp_path: Path
) -> None:
    found = snapshot(pod)
    with container.running(tmp_path / "container.log", "run") as running:
        running.program.wait_for(READY)
        with tap_guest(pod.netns, pod.mac, tmp_path) as guest:
            leased = clients.lease("udhcpc", guest)
            assert differences(before, leased) == ""
            assert leased.hostname == container.hostname
            must_answer(guest.netns, pod.peer)
        assert status(running)["drift"] == []

        assert running.stop() == 0

    assert difference(found, snapshot(pod)) == ""
    must_answer(pod.netns, pod.peer)


@pytest.mark.parametrize(
    ("privilege", "code", "reason"),
    [
        ("NET_ADMIN", ROLLED_BACK, "CAP_NET_ADMIN is missing"),
        ("NET_RAW", ROLLED_BACK, "CAP_NET_RAW is missing"),
        ("/dev/net/tun", ROLLED_BACK, "give the container /dev/net/tun"),
        ("state", REFUSED, "/run/vmnet: Read-only file system"),
    ],
)
def test_one_line_names_the_missing_privilege(
    container: Container, pod: Pod, privilege: str, code: int, reason: str
) -> None:
    found = snapshot(pod)

    said = container.without(privilege).run("run", check=False)

    [line] = said.stderr.splitlines()
    assert reason in json.loads(line)["message"]
    assert said.returncode == code
    assert difference(found, snapshot(pod)) == ""
    assert servers(pod.netns) == []


def test_container_restarted_in_the_same_pod_resumes(
    container: Container, pod: Pod, before: GuestFacts, tmp_path: Path
) -> None:
    found = snapshot(pod)
    with container.running(tmp_path / "first.log", "run") as first:
        first.program.wait_for(READY)
        with tap_guest(pod.netns, pod.mac, tmp_path) as guest:
            clients.lease("udhcpc", guest)
        [served] = servers(pod.netns)
    assert servers(pod.netns) == []
    [record] = container_record(container)
    assert difference(found, snapshot(pod)) != ""

    with container.running(tmp_path / "second.log", "run") as second:
        second.program.wait_for(READY)
        [serves] = servers(pod.netns)
        assert serves != served
        assert container_record(container) != [record]
        assert status(second)["drift"] == []
        with tap_guest(pod.netns, pod.mac, tmp_path) as guest:
            assert differences(before, clients.lease("udhcpc", guest)) == ""
        assert second.stop() == 0

    assert difference(found, snapshot(pod)) == ""


def container_record(container: Container) -> list[str]:
    """What the state directory says of the server: its id inside the container, and when it began."""
    assert container.state
    return [path.read_text(encoding="ascii") for path in container.state.glob("netns-*/*/server.pid")]


def test_the_record_of_another_container_is_not_believed(container: Container, pod: Pod, tmp_path: Path) -> None:
    """Ids begin anew in each container: the dead server's is taken by somebody else, here by process 1."""
    with container.running(tmp_path / "first.log", "run", "--keep") as first:
        first.program.wait_for(READY)
        assert first.stop() == 0
    assert container.state
    [record] = container.state.glob("netns-*/*/server.pid")
    _, began = record.read_text(encoding="ascii").split()
    record.write_text(f"1 {began}\n", encoding="ascii")

    with container.running(tmp_path / "second.log", "run") as second:
        second.program.wait_for(READY)
        assert len(servers(pod.netns)) == 1
        assert status(second)["drift"] == []
        assert second.stop() == 0
