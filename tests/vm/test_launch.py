"""`vmnet launch` with a real libvirtd and a real guest.

┌ node ───────┐     ┌ pod, while the domain runs ──────────────────────┐
│ peer        │     │ eth0-nic ─┐                    ┌ QEMU ─────────┐ │
│ the gateway ├─veth┤           ├ k6t-eth0 ── tap0 ──┤ eth0, udhcpc  │ │
└─────────────┘     │ eth0 (the stand-in)            └───────────────┘ │
                    │ vmnet launch ── libvirtd, vmnet-server           │
                    └──────────────────────────────────────────────────┘

All tests but those in a container share one pod and one libvirtd, whose QEMU is libvirt-qemu as Debian has it.
"""

from __future__ import annotations

import json
import os
import pwd
import shlex
import shutil
import signal
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from testbed import agent as agents
from testbed import libvirtd as libvirt
from testbed import pods
from testbed.agent import HOSTNAME, VMNET
from testbed.facts import GuestFacts, differences, read_pod
from testbed.libvirtd import QEMU_CONF, recall_capabilities
from testbed.netns import background, kill, run
from testbed.pods import must_answer
from testbed.power_button import with_power_button
from testbed.privileges import CONFINED
from testbed.qemu import MARK, understand
from testbed.snapshot import difference, snapshot
from tests import docs, figures
from tests.netns.mounts import read_only

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.agent import Agent
    from testbed.libvirtd import Console, Domain, Libvirtd
    from testbed.netns import Background
    from testbed.pods import Pod

QEMU_USER = ("libvirt-qemu", "kvm")
PROGRESS = ["plumbed", "serving", "domain-started", "guest-asked", "lease-bound"]
REPOSITORY = Path(__file__).parents[2]
DOMAINS = REPOSITORY / "tests" / "data" / "domains"
SCREEN = 100
"""Columns."""


def marked_with_queues(count: int) -> str:
    """An interface of another kind that is marked to become ours."""
    queues = f"<driver name='qemu' queues='{count}'/>"
    return f"<interface type='user'><alias name='ua-vmnet-eth0'/><model type='virtio'/>{queues}</interface>"


@dataclass(frozen=True, slots=True)
class Room:
    """The pod, its libvirtd and what the pod was before."""

    pod: Pod
    daemon: Libvirtd
    agent: Agent
    directory: Path
    facts: GuestFacts
    found: str

    def domain(self, name: str) -> Domain:
        """A domain without any interface: that is what `launch` is for."""
        made = libvirt.domain(name, self.directory, "", ping=self.pod.peer)
        return replace(made, kernel=replace(made.kernel, image=self.directory / "vmlinux"))

    def bootless(self, name: str) -> Domain:
        """The same for tests that ask nothing of the guest: nothing boots in it."""
        return replace(self.domain(name), boots=False)

    def argv(self, made: Domain, *flags: str) -> list[str]:
        """The command."""
        place = ("--connect", self.daemon.uri, "--resolv-conf", str(self.pod.resolv_conf), "--hostname", HOSTNAME)
        return self.agent.argv("launch", *place, *flags, made.write(self.directory / f"{made.name}.xml"))

    @contextmanager
    def launched(self, made: Domain, *flags: str) -> Iterator[Background]:
        """Run `vmnet launch` until the block ends."""
        with background(self.argv(made, *flags), self.directory / f"{made.name}.launch") as launch:
            yield launch

    def restored(self) -> None:
        """The pod is what it was, and nothing of ours runs."""
        assert difference(self.found, snapshot(self.pod)) == ""
        assert self.agent.servers() == []
        assert self.daemon.guests() == []
        assert self.daemon.virsh("list", "--all", "--name").stdout.split() == []


@pytest.fixture(scope="module")
def shared(_room: None) -> Iterator[Room]:
    with pods.pod("bridge") as pod, tempfile.TemporaryDirectory(prefix="vmnet-lv-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        shutil.copy(libvirt.domain("any", directory, "").kernel.image, directory / "vmlinux")
        user, group = QEMU_USER
        with libvirt.libvirtd(pod.netns, directory / "lv", user=user, group=group) as daemon:
            agent = agents.agent(pod, directory)
            yield Room(pod, daemon, agent, directory, read_pod(pod), snapshot(pod))
            agent.clear()


@pytest.fixture
def room(shared: Room) -> Iterator[Room]:
    yield shared
    for name in shared.daemon.virsh("list", "--name").stdout.split():
        shared.daemon.virsh("destroy", name)
    shared.agent.clear()


def said(launch: Background) -> list[dict[str, Any]]:
    """The events, each of which is one JSON object."""
    return [json.loads(line) for line in launch.text.splitlines()]


def happened(launch: Background) -> list[str]:
    return [str(event["event"]) for event in said(launch)]


def facts_of(console: Console) -> GuestFacts:
    """What the guest says of itself on its console."""
    console.wait_for(rf'^{MARK}{{"event": "facts"}}')
    lines = (line.removeprefix(MARK) for line in console.text.splitlines() if line.startswith(MARK))
    return understand([json.loads(line) for line in lines])


def the_error(launch: Background) -> dict[str, Any]:
    [error] = [event for event in said(launch) if event["level"] == "error"]
    return error


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def test_guest_is_what_the_pod_was_and_sigterm_ends_it_cleanly(room: Room) -> None:
    """QEMU is an unprivileged user, and so is the tap's owner."""
    owner = pwd.getpwnam(QEMU_USER[0]).pw_uid
    made = with_power_button(room.domain("vm1"))
    with room.launched(made, "--owner", str(owner)) as launch:
        launch.wait_for("lease-bound")
        guest = facts_of(made.console)
        assert differences(room.facts, guest) == ""
        assert guest.hostname == HOSTNAME
        must_answer(room.pod.node, room.pod.address)
        [qemu] = room.daemon.guests()
        assert Path(f"/proc/{qemu}").stat().st_uid == owner
        launch.process.send_signal(signal.SIGTERM)
        assert launch.wait() == 0
    assert '"power button"' in made.console.text
    assert happened(launch) == [*PROGRESS, "ending", "domain-ended", "down"]
    room.restored()


def test_deaf_guest_is_destroyed_after_the_grace_period_and_people_see_the_progress(room: Room) -> None:
    argv = [*room.argv(room.bootless("vm2"), "--grace", "1")]
    terminal = ["script", "--quiet", "--flush", "--return", "--command", f"exec {shlex.join(argv)}", "/dev/null"]
    with background(terminal, room.directory / "vm2.launch") as launch:
        launch.wait_for("^vmnet: domain vm2 is started")
        [pid] = children(launch.process.pid)
        os.kill(pid, signal.SIGTERM)
        assert launch.wait() == 0
    lines = [line.rstrip() for line in launch.text.splitlines()]
    assert [line for line in lines if "the guest " not in line or "will be" in line or "stopping" in line] == [
        "vmnet: eth0 is handed over to tap0",
        f"vmnet: the guest will be {room.pod.address}/24, MAC {room.pod.mac}",
        "vmnet: domain vm2 is started",
        "vmnet: stopping: the guest has 1 s to shut down",
        "vmnet: warning: domain vm2 has not shut down: destroying it",
        "vmnet: warning: domain vm2 is destroyed",
        "vmnet: eth0 is as it was found",
    ]
    assert max(map(len, lines)) <= SCREEN
    room.restored()


def test_libvirtd_killed_and_back_the_guest_went_on(room: Room) -> None:
    made = with_power_button(room.domain("vm3"))
    with room.launched(made) as launch:
        launch.wait_for("lease-bound")
        facts_of(made.console)
        before = room.daemon.guests()
        room.daemon.kill()
        launch.wait_for("libvirt-lost")
        assert made.console.ping(room.pod.peer)
        room.daemon.start()
        launch.wait_for("libvirt-back")
        assert room.daemon.guests() == before
        launch.process.send_signal(signal.SIGTERM)
        assert launch.wait() == 0
    assert happened(launch)[-5:] == ["libvirt-lost", "libvirt-back", "ending", "domain-ended", "down"]
    room.restored()


def test_libvirtd_gone_for_good_is_one_line_and_the_guest_keeps_its_network(room: Room) -> None:
    with room.launched(room.bootless("vm4"), "--grace", "0.5") as launch:
        launch.wait_for("domain-started")
        room.daemon.kill()
        try:
            launch.wait_for("libvirt-lost")
            launch.process.send_signal(signal.SIGTERM)
            assert launch.wait() == 8
        finally:
            room.daemon.start()
    assert the_error(launch)["event"] == "LibvirtError"
    assert "which may still be running: its tap stays" in the_error(launch)["message"]
    assert len(room.daemon.guests()) == 1
    assert room.agent.status()["state"] == "up"
    room.daemon.virsh("destroy", "vm4")
    room.agent.down()
    room.restored()


def test_crash_is_10_and_the_pod_is_given_back(room: Room) -> None:
    with room.launched(room.bootless("vm5")) as launch:
        launch.wait_for("domain-started")
        [qemu] = room.daemon.guests()
        kill(qemu)
        assert launch.wait() == 10
    assert the_error(launch)["event"] == "DomainCrashedError"
    assert the_error(launch)["message"].startswith("domain vm5 crashed: QEMU ended by itself")
    room.restored()


def test_crash_while_libvirtd_is_away_is_10_too(room: Room) -> None:
    with room.launched(room.bootless("vm6")) as launch:
        launch.wait_for("domain-started")
        [qemu] = room.daemon.guests()
        room.daemon.kill()
        kill(qemu)
        room.daemon.start()
        assert launch.wait() == 10
    assert the_error(launch)["event"] == "DomainCrashedError"
    room.restored()


def test_domain_that_somebody_destroys_has_not_crashed(room: Room) -> None:
    """Launched from outside the pod, besides."""
    entering = len(room.pod.netns.command())
    argv = [*room.argv(room.bootless("vm7"))[entering:], "--netns", room.pod.netns.name]
    with background(argv, room.directory / "vm7.launch") as launch:
        launch.wait_for("domain-started")
        room.daemon.virsh("destroy", "vm7")
        assert launch.wait() == 0
    assert [event["message"] for event in said(launch)][-2:] == [
        "domain vm7 was destroyed by another libvirt client",
        "eth0 is as it was found",
    ]
    room.restored()


def test_dead_dhcp_server_is_replaced_and_a_second_launch_refused(room: Room) -> None:
    made = room.bootless("vm8")
    with room.launched(made) as launch:
        launch.wait_for("domain-started")
        [server] = room.agent.servers()
        kill(server)
        with figures.timed("a killed server is replaced", at_most=1):
            launch.wait_for("server-back")
        [other] = room.agent.servers()
        assert other != server
        with background(room.argv(made), room.directory / "second.launch") as second:
            assert second.wait() == 9
        assert the_error(second)["message"].startswith("domain vm8 is already running; ")
        assert happened(second) == ["DomainRefusedError"]
        assert room.agent.servers() == [other]
        assert len(room.daemon.guests()) == 1
        room.daemon.virsh("destroy", "vm8")
        assert launch.wait() == 0
    room.restored()


@pytest.mark.skipif(CONFINED, reason="a confined vmnet does not see what is mounted later")
def test_a_state_directory_that_became_read_only_is_waited_for_and_left_up(room: Room) -> None:
    """As after an error of the disk: the guest goes on, and what cannot be given back is told at the end."""
    with room.launched(room.bootless("vm8")) as launch:
        launch.wait_for("domain-started")
        with read_only(room.agent.state_dir):
            kill(*room.agent.servers())
            launch.wait_for("Read-only file system; name another place with --state-dir: starting another")
        launch.wait_for("server-back")
        with read_only(room.agent.state_dir):
            room.daemon.virsh("destroy", "vm8")
            assert launch.wait() == 3
        [said] = [line for line in map(json.loads, launch.text.splitlines()) if line["event"] == "left-up"]
        assert said["message"].endswith("Read-only file system; name another place with --state-dir")
        assert room.agent.status()["state"] == "up"
    room.agent.down()
    room.restored()


def test_binding_stays_with_keep(room: Room) -> None:
    """And a NIC with several queues gets a tap with several."""
    made = replace(room.bootless("vm9"), interface=marked_with_queues(2))
    with room.launched(made, "--keep") as launch:
        launch.wait_for("domain-started")
        [tap] = room.pod.netns.ip("link", "show", "dev", "tap0")
        queues = tap["linkinfo"]["info_data"]
        assert queues["numqueues"] + queues["numdisabled"] == 2  # the guest has not asked for the second yet
        room.daemon.virsh("destroy", "vm9")
        assert launch.wait() == 0
    assert room.agent.status()["state"] == "up"
    room.agent.down()
    room.restored()


REFUSED = {
    "what libvirt cannot read": ("<vcpu>1</vcpu>", "<vcpu>many</vcpu>", 9, "DomainRefusedError"),
    "what QEMU does not take": ("machine='q35'", "machine='no-such'", 9, "DomainRefusedError"),
    "an initramfs that is not there": (".initramfs<", ".gone<", 9, "DomainRefusedError"),
    "more queues than the NIC may have": (
        "<devices>",
        f"<devices>{marked_with_queues(300)}",
        9,
        "DomainRefusedError",
    ),
    "what vmnet does not read": ("<domain", "<!DOCTYPE domain><domain", 2, "UsageError"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_start_is_one_line_and_the_pod_is_given_back(room: Room, case: str) -> None:
    good, bad, code, kind = REFUSED[case]
    made = room.domain("bad")
    argv = room.argv(made)
    path = Path(argv[-1])
    path.write_text(path.read_text(encoding="utf-8").replace(good, bad, 1), encoding="utf-8")
    with background(argv, room.directory / "bad.launch") as launch:
        assert launch.wait() == code
    assert the_error(launch)["event"] == kind
    assert "\\n" not in the_error(launch)["message"]
    room.restored()


def test_nobody_at_the_uri_is_8_before_anything_is_touched(room: Room) -> None:
    argv = room.argv(room.domain("vm10"))
    argv[argv.index(room.daemon.uri)] = "qemu:///system?socket=/nowhere"
    with background(argv, room.directory / "nowhere.launch") as launch:
        assert launch.wait() == 8
    assert happened(launch) == ["LibvirtError"]
    assert the_error(launch)["message"].startswith("cannot connect to qemu:///system?socket=/nowhere: ")
    room.restored()


@pytest.fixture
def container(room: Room) -> Iterator[tuple[str, ...]]:
    """What runs a command as process 1 of a container in which nobody has started libvirtd; QEMU is root there."""
    inside = room.directory / "container"
    conf = inside / "etc" / "libvirt" / "qemu.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text(QEMU_CONF.format(user="root", group="root"), encoding="ascii")
    recall_capabilities(inside / "var" / "cache" / "libvirt")
    yield f"PYTHONPATH={REPOSITORY}", sys.executable, "-m", "testbed.container", str(inside)
    shutil.rmtree(inside)


def contained(room: Room, made: Domain, *before: str) -> list[str]:
    """The command with its default connection, behind other words."""
    words = room.argv(made)
    connect = words.index("--connect")
    del words[connect : connect + 2]
    at = words.index(str(VMNET))
    return [*words[:at], *before, *words[at:]]


def zombies_of(pid: int) -> list[str]:
    stats = (Path(f"/proc/{child}/stat").read_text(encoding="utf-8") for child in children(pid))
    return [stat for stat in stats if stat.rpartition(")")[2].split()[0] == "Z"]


def test_process_1_of_a_container_starts_libvirtd_and_reaps_orphans(
    room: Room, container: tuple[str, ...]
) -> None:
    made = with_power_button(room.domain("vm11"))
    with background(contained(room, made, *container), room.directory / "container.launch") as launch:
        launch.wait_for("domain-started")
        [process_1] = children(launch.process.pid)
        run(["nsenter", "--pid", "--target", str(process_1), "--", "sh", "-c", "sh -c : & exec true"])
        launch.wait_for("lease-bound")
        facts_of(made.console)
        assert zombies_of(process_1) == []
        launch.process.send_signal(signal.SIGTERM)
        assert launch.wait() == 0
    assert [name for name in happened(launch) if name != "libvirtd"] == [
        "libvirtd-started",
        *PROGRESS,
        "ending",
        "domain-ended",
        "down",
    ]
    assert '"power button"' in made.console.text
    room.restored()


def test_libvirtd_of_our_own_ends_with_us(room: Room, container: tuple[str, ...]) -> None:
    made = replace(room.domain("vm12"), attributes="<sysinfo type='no-such'/>")
    shell = ("sh", "-c", '"$@"; echo "code: $?"; cat /proc/[0-9]*/comm', "sh")
    with background(contained(room, made, *container, *shell), room.directory / "container.launch") as launch:
        assert launch.wait() == 0
    assert "libvirtd-started" in launch.text
    left = set(launch.text.partition("code: 9\n")[2].split())
    assert "sh" in left
    assert left.isdisjoint({"libvirtd", "vmnet-server"})
    room.restored()


@pytest.mark.parametrize("name", sorted(path.name.split(".")[0] for path in DOMAINS.glob("*.after.xml")))
def test_libvirt_takes_what_the_filter_makes(shared: Room, name: str) -> None:
    """Against libvirt's schema and by QEMU's driver."""
    path = DOMAINS / f"{name}.after.xml"
    shared.daemon.virsh("define", "--validate", path)
    domain = shared.daemon.virsh("list", "--all", "--name").stdout.split()[0]
    shared.daemon.virsh("undefine", domain)


def test_filter_speaks_of_the_binding(room: Room) -> None:
    """What is planned and what is up give the same interface; so does KubeVirt's way of asking."""
    xml = "<domain type='qemu'><devices/></domain>"
    planned = run(room.agent.argv("domain"), stdin=xml).stdout
    room.agent.up()
    assert run(room.agent.argv("domain"), stdin=xml).stdout == planned
    asked = room.agent.argv("onDefineDomain", "--vmi", "{}", "--domain", xml)
    assert run(asked).stdout == planned
    by_name = [word.replace(str(VMNET), str(VMNET.with_name("onDefineDomain"))) for word in asked]
    by_name.remove("onDefineDomain")
    assert run(by_name).stdout == planned
    assert f"<mac address='{room.pod.mac}'/><target dev='tap0' managed='no'/>" in planned
    assert f"<mtu size='{room.facts.mtu}'/>" in planned
    room.agent.down()


def test_page_launch(room: Room, tmp_path: Path) -> None:
    environment: dict[str, str | Path] = {
        "VMNET_STATE_DIR": room.agent.state_dir,
        "VMNET_RESOLV_CONF": room.pod.resolv_conf,
        "VMNET_CONNECT": room.daemon.uri,
        "PATH": f"{VMNET.parent}:{os.environ['PATH']}",  # onDefineDomain is beside vmnet
    }
    docs.play(docs.page("guide/launch.md"), room.pod.netns.command, tmp_path, environment)
    room.restored()
