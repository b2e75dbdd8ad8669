"""The installed hook with a real libvirtd in a pod: start, fail, restart, save, restore, end.

┌ node ───────┐     ┌ pod, between prepare and release ────────────────┐
│ peer        │     │ eth0-nic ─┐                    ┌ QEMU ─────────┐ │
│ the gateway ├─veth┤           ├ k6t-eth0 ── tap0 ──┤ eth0, udhcpc  │ │
└─────────────┘     │ eth0 (the stand-in)            └───────────────┘ │
                    │ libvirtd ── hooks/qemu.d/50-vmnet ── vmnet-server│
                    └──────────────────────────────────────────────────┘

libvirtd is root and QEMU is libvirt-qemu, as Debian has it. All tests share one libvirtd; each leaves the pod as
it was found, which the fixture `room` sees to.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from testbed import agent as agents
from testbed import libvirtd as libvirt
from testbed import pods
from testbed.agent import HOSTNAME, VMNET, Agent, lives
from testbed.facts import GuestFacts, differences, read_pod
from testbed.netns import kill, run, wait_for_file
from testbed.pods import must_answer
from testbed.qemu import MARK, understand
from testbed.snapshot import difference, snapshot
from tests import docs, figures
from tests.extent import chosen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.libvirtd import Console, Domain, Libvirtd
    from testbed.netns import Completed
    from testbed.pods import Pod

QEMU_USER = ("libvirt-qemu", "libvirt-qemu")
NAMESPACE = "urn:vmnet:domain:1"
HEAVY = ("pyroute2", "scapy", "libvirt", "msgspec", "yaml")
RECONNECTED = "reconnected"
"""Written by a hook that libvirt runs after ours, if ours has not failed."""


@dataclass(frozen=True, slots=True)
class Room:
    """The pod, its libvirtd and what the pod was before."""

    pod: Pod
    daemon: Libvirtd
    agent: Agent
    directory: Path
    facts: GuestFacts
    found: str

    def domain(self, name: str = "vm1", *, interface: str = "", network: str = "") -> Domain:
        """A domain; `network` are further attributes of its `<vmnet:network>`."""
        made = libvirt.domain(
            name, self.directory, interface or libvirt.interface(self.pod.mac), ping=self.pod.peer
        )
        kernel = replace(made.kernel, image=self.directory / "vmlinux")
        said = f"resolv-conf='{self.pod.resolv_conf}' hostname='{HOSTNAME}' {network}"
        return replace(made, kernel=kernel, metadata=f"<vmnet:network xmlns:vmnet='{NAMESPACE}' {said}/>")

    def create(self, made: Domain, *flags: str, check: bool = True) -> Completed:
        """`virsh create`: start a domain that is forgotten when it ends."""
        path = made.write(self.directory / f"{made.name}.xml")
        return self.daemon.virsh("create", path, *flags, check=check)

    @contextmanager
    def started(self, made: Domain) -> Iterator[Domain]:
        """Start a domain with its CPU stopped: QEMU holds the tap, nothing boots."""
        self.create(made, "--paused")
        try:
            yield made
        finally:
            self.daemon.virsh("destroy", made.name)

    def restored(self) -> None:
        """The pod is what it was, and nothing of ours runs."""
        assert difference(self.found, snapshot(self.pod)) == ""
        assert self.agent.servers() == []

    @contextmanager
    def reconnecting(self) -> Iterator[None]:
        """Restart libvirtd in the block; at its end all hooks have been run for the running guest."""
        done = self.directory / RECONNECTED
        done.unlink(missing_ok=True)
        yield
        wait_for_file(done)

    def clear(self) -> None:
        """Leave nothing to the next test, whatever a failed one left."""
        for domain in self.daemon.virsh("list", "--name", check=False).stdout.split():
            self.daemon.virsh("destroy", domain, check=False)
        if self.agent.status()["state"] != "down":
            self.agent.run("down", check=False)

    def tap(self) -> dict[str, object]:
        """What iproute2 says of tap0."""
        [link] = self.pod.netns.ip("link", "show", "dev", "tap0")
        return dict(link["linkinfo"]["info_data"]) | {"flags": link["flags"]}


@pytest.fixture(scope="module")
def shared(_room: None) -> Iterator[Room]:
    """Make the pod and its libvirtd, with the hook that the command put there."""
    with pods.pod("bridge") as pod, tempfile.TemporaryDirectory(prefix="vmnet-lv-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        shutil.copy(libvirt.domain("any", directory, "").kernel.image, directory / "vmlinux")
        hooks = directory / "lv" / "etc" / "hooks"
        hooks.mkdir(parents=True)
        install(hooks)
        after = hooks / "qemu.d" / "60-after"
        after.write_text(f'#!/bin/sh\n[ "$2" != reconnect ] || : >"{directory}/{RECONNECTED}"\n')
        after.chmod(0o755)
        user, group = QEMU_USER
        with libvirt.libvirtd(pod.netns, directory / "lv", user=user, group=group) as daemon:
            agent = replace(agents.agent(pod, directory), state_dir=daemon.directory / "run" / "vmnet")
            made = Room(pod, daemon, agent, directory, read_pod(pod), snapshot(pod))
            yield made
            made.clear()


@pytest.fixture
def pod(shared: Room) -> Pod:
    return shared.pod


@pytest.fixture
def agent(shared: Room) -> Agent:
    return shared.agent


@pytest.fixture(autouse=True)
def _shown_after_a_failure(pod: Pod, agent: Agent) -> None:
    """Leave the pod and its logs where the report of a failed test finds them."""
    del pod, agent


@pytest.fixture
def room(shared: Room) -> Iterator[Room]:
    try:
        yield shared
        shared.restored()
    finally:
        shared.clear()


def install(hooks: Path) -> None:
    run([VMNET, "hook", "install", "--dir", hooks])


def facts_of(console: Console) -> GuestFacts:
    """What the guest says of itself on its console."""
    console.wait_for(rf'^{MARK}{{"event": "facts"}}')
    lines = (line.removeprefix(MARK) for line in console.text.splitlines() if line.startswith(MARK))
    return understand([json.loads(line) for line in lines])


@dataclass(slots=True)
class Impatience:
    """How long each of many `virsh list` took."""

    seconds: list[float] = field(default_factory=list)


@contextmanager
def listing(daemon: Libvirtd) -> Iterator[Impatience]:
    """Ask libvirtd for its domains over and over until the block ends."""
    over = threading.Event()
    made = Impatience()

    def ask() -> None:
        while not over.is_set():
            began = time.monotonic()
            daemon.virsh("list", "--all")
            made.seconds.append(time.monotonic() - began)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield made
    finally:
        over.set()
        asking.join()


def test_guest_is_what_the_pod_was_start_after_start(room: Room) -> None:
    made = room.domain()
    room.daemon.virsh("define", made.write(room.directory / "vm1.xml"))
    for _ in range(2):
        with listing(room.daemon) as asked:
            room.daemon.virsh("start", "vm1")
        assert asked.seconds, "libvirtd answered nobody while the domain was starting"
        figures.tell(f"`virsh list`, of {len(asked.seconds)} the longest", max(asked.seconds), "s", at_most=2)
        guest = facts_of(made.console)
        room.daemon.virsh("destroy", "vm1")
        assert differences(room.facts, guest) == ""
        assert guest.hostname == HOSTNAME
        room.restored()
    room.daemon.virsh("undefine", "vm1")


@pytest.fixture(scope="class")
def running(shared: Room) -> Iterator[Domain]:
    """Start a guest for several tests."""
    made = shared.domain()
    shared.create(made)
    facts_of(made.console)
    try:
        yield made
        shared.daemon.virsh("destroy", made.name)
        shared.restored()
    finally:
        shared.clear()


class TestRunningGuest:
    """One guest for all of these."""

    def test_the_server_has_let_go_of_the_hooks_pipes(self, shared: Room, running: Domain) -> None:
        del running
        [pid] = shared.agent.servers()
        opened = {int(path.name): str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()}
        assert opened[0] == "/dev/null"
        assert [Path(opened[descriptor]).name for descriptor in (1, 2)] == ["server.log"] * 2
        assert [path for path in opened.values() if path.startswith("pipe:")] == []
        assert int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) != shared.daemon.pid

    @pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL", "its server dead too"])
    def test_libvirtd_restarted(self, shared: Room, running: Domain, how: str) -> None:
        [server] = shared.agent.servers()
        with shared.reconnecting():
            if how == "SIGTERM":
                shared.daemon.stop()
            else:
                shared.daemon.kill()
            if how == "its server dead too":
                kill(server)
            shared.daemon.start()
        assert "running" in shared.daemon.virsh("domstate", running.name).stdout
        [now] = shared.agent.servers()
        assert (now == server) is (how != "its server dead too")
        status = shared.agent.status()
        assert (status["state"], status["drift"]) == ("up", [])
        assert status["server"]["lease"] == "bound" or now != server
        assert running.console.ping(shared.pod.peer)
        must_answer(shared.pod.node, shared.pod.address)

    def test_reconnect_cannot_kill_the_guest(self, shared: Room, running: Domain) -> None:
        """Whatever is broken: the binding's facts, or even the interpreter."""
        [journal] = shared.agent.state_dir.glob("netns-*/eth0/journal.json")
        good, script = journal.read_bytes(), shared.daemon.hooks / "qemu.d" / "50-vmnet"
        try:
            journal.write_bytes(b"{")
            with shared.reconnecting():
                shared.daemon.restart()
            assert "running" in shared.daemon.virsh("domstate", running.name).stdout
            assert "reconnect" in (shared.agent.state_dir / "hook" / "log").read_text()
            script.write_text(script.read_text().replace("-I -c", "-I -c 'import none' "))
            with shared.reconnecting():
                shared.daemon.restart()
            assert "running" in shared.daemon.virsh("domstate", running.name).stdout
        finally:
            journal.write_bytes(good)
            install(shared.daemon.hooks)

    def test_a_second_domain_cannot_take_the_tap(self, shared: Room, running: Domain) -> None:
        uuid = shared.daemon.virsh("domuuid", running.name).stdout.strip()
        failed = shared.create(shared.domain("vm2"), check=False)
        assert failed.returncode != 0
        assert f"vmnet: error: domain vm2: prepare: tap0 is in use by domain {uuid}" in failed.stderr
        assert running.console.ping(shared.pod.peer)

    def test_saved_and_restored(self, shared: Room, running: Domain) -> None:
        image = shared.directory / "saved"
        shared.daemon.virsh("save", running.name, image)
        shared.restored()
        shared.daemon.virsh("restore", image)
        assert running.console.ping(shared.pod.peer)
        must_answer(shared.pod.node, shared.pod.address)
        [server] = shared.agent.servers()
        assert lives(server)


def test_a_domain_without_metadata_that_asks_for_tap0(room: Room) -> None:
    with room.started(replace(room.domain(), metadata="")):
        assert room.agent.status()["state"] == "up"


def test_a_domain_that_is_none_of_ours_is_left_alone(room: Room) -> None:
    record = room.agent.state_dir / "hook" / "log"
    before = record.read_text() if record.exists() else ""
    with room.started(replace(room.domain(interface="<interface type='user'/>"), metadata="")):
        assert difference(room.found, snapshot(room.pod)) == ""
    assert (record.read_text() if record.exists() else "") == before


@pytest.mark.parametrize(
    "interface",
    ["<interface type='user'/>", "<interface type='ethernet'><target dev='tap7' managed='no'/></interface>"],
    ids=["libvirts-network", "a-tap-of-its-own"],
)
def test_what_a_domain_costs_that_is_none_of_ours(room: Room, interface: str) -> None:
    """Little: nothing is imported that knows the kernel. How much is a figure."""
    script = room.daemon.hooks / "qemu.d" / "50-vmnet"
    xml = replace(room.domain(interface=interface), metadata="").xml

    def call(*step: str) -> None:
        done = run([script, "vm1", *step, "-"], stdin=xml)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    for step in (("prepare", "begin"), ("start", "begin"), ("restore", "begin"), ("release", "end")):
        cpu = figures.least_cpu(partial(call, *step))
        figures.tell(" ".join(step), 1000 * cpu, "ms of CPU", at_most=100)
    command = next(line for line in script.read_text().splitlines() if "-I -c" in line).replace(
        "-I", "-IX importtime"
    )
    shown = run(["sh", "-c", command.strip(), "sh", "vm1", "prepare", "begin", "-"], stdin=xml).stderr
    imported = {line.rpartition("|")[2].strip() for line in shown.splitlines() if line.startswith("import time:")}
    assert "vmnet.doors.libvirt.hook" in imported
    assert [name for name in imported if name.partition(".")[0] in HEAVY or name == "vmnet.agent.lifecycle"] == []


@pytest.mark.parametrize(
    ("network", "says"),
    [
        ("netns='vmnet-none'", "network namespace vmnet-none: No such file or directory"),
        ("netns='{node}'", "libvirt opens tap0 in its own network namespace, and {node} is another one"),
        ("interface='eth7'", "no interface eth7"),
        ("binding='masquerade'", "<vmnet:network binding='masquerade'>: unknown binding"),
    ],
)
def test_why_a_start_fails_is_in_virshs_error(room: Room, network: str, says: str) -> None:
    names = {"node": room.pod.node.name}
    failed = room.create(room.domain(network=network.format(**names)), check=False)
    assert failed.returncode != 0
    assert f"vmnet: error: domain vm1: prepare: {says.format(**names)}" in failed.stderr
    assert failed.stderr.count("vmnet: ") == 1
    assert "Traceback" not in failed.stderr


@pytest.mark.parametrize("capability", ["net_raw", "net_admin"])
def test_a_missing_capability_is_in_virshs_error(room: Room, capability: str) -> None:
    without = ("setpriv", "--bounding-set", f"-{capability}", "--inh-caps", f"-{capability}", "--")
    directory = room.directory / capability
    hooks = directory / "etc" / "hooks"
    hooks.mkdir(parents=True)
    install(hooks)
    with libvirt.libvirtd(room.pod.netns, directory, wrapper=without) as daemon:
        path = room.domain().write(room.directory / "vm1.xml")
        failed = daemon.virsh("create", path, check=False)
    assert failed.returncode != 0
    [line] = [line for line in failed.stderr.splitlines() if "vmnet: error: domain vm1: prepare:" in line]
    assert f"CAP_{capability.upper()}" in line
    assert "all changes were undone" in line


WRONG = {
    "missing": ("link delete tap0",),
    "down": ("link set tap0 down",),
    "of-another-uid": ("link delete tap0", "tuntap add dev tap0 mode tap user 4711"),
    "with-queues": ("link delete tap0", "tuntap add dev tap0 mode tap multi_queue"),
    "out-of-the-bridge": ("link set tap0 nomaster",),
}


@pytest.mark.parametrize("wrong", chosen(WRONG, ("missing", "with-queues").__contains__))
def test_a_wrong_tap_is_put_right_before_libvirt_opens_it(room: Room, wrong: str) -> None:
    room.agent.up("--owner", "0")
    room.pod.netns.ip_batch(*WRONG[wrong])
    with room.started(room.domain()):
        assert "UP" in room.tap()["flags"]  # type: ignore[operator] # JSON
        assert room.tap()["user"] == "root"
        assert room.tap()["multi_queue"] is False
        status = room.agent.status()
        assert (status["state"], status["drift"]) == ("up", [])


@pytest.mark.parametrize("queues", chosen([1, 4], (4).__eq__))
def test_the_tap_has_the_queues_that_the_domain_asks_for(room: Room, queues: int) -> None:
    """Up already with the other kind of tap, which libvirt would refuse with EINVAL."""
    room.agent.up("--queues", "1" if queues > 1 else "4")
    extra = f"<driver name='qemu' queues='{queues}'/>" if queues > 1 else ""
    with room.started(room.domain(interface=libvirt.interface(room.pod.mac, extra=extra))):
        assert room.tap()["multi_queue"] is (queues > 1)
        opened = sum(
            os.path.realpath(path) == "/dev/net/tun"
            for pid in room.daemon.guests()
            for path in Path(f"/proc/{pid}/fd").iterdir()
        )
        assert opened == queues


def test_a_tap_of_somebody_elses_is_named(room: Room) -> None:
    room.pod.netns.ip_batch("tuntap add dev tap0 mode tap user 4711")
    try:
        failed = room.create(room.domain(), check=False)
    finally:
        room.pod.netns.ip_batch("link delete tap0")
    assert failed.returncode != 0
    assert "vmnet: error: domain vm1: prepare: " in failed.stderr
    assert "tap0" in failed.stderr.partition("prepare: ")[2]


def test_a_tap_that_libvirtd_may_not_open_is_named(room: Room) -> None:
    """Up already, so that nothing needs a capability, but for a uid that libvirtd does not have."""
    room.agent.up("--owner", "4711")
    directory = room.directory / "owner"
    hooks = directory / "etc" / "hooks"
    hooks.mkdir(parents=True)
    run([VMNET, "hook", "install", "--dir", hooks, "--state-dir", room.agent.state_dir])
    without = ("setpriv", "--bounding-set", "-net_admin,-net_raw", "--inh-caps", "-net_admin,-net_raw", "--")
    try:
        with libvirt.libvirtd(room.pod.netns, directory, wrapper=without) as daemon:
            path = room.domain().write(room.directory / "vm1.xml")
            failed = daemon.virsh("create", path, check=False)
    finally:
        room.agent.down()
    assert "tap0 is for uid 4711, but libvirtd, which opens it for QEMU, has uid 0" in failed.stderr


def test_the_mac_and_mtu_are_the_domains_and_a_mismatch_is_said(room: Room) -> None:
    unlike = libvirt.interface("52:54:00:00:00:07", extra="<mtu size='1400'/>")
    with room.started(room.domain(interface=unlike)):
        status = room.agent.status()
        assert (status["lease"]["chaddr"], status["lease"]["interface_mtu"]) == ("52:54:00:00:00:07", 1400)
        assert status["drift"] == []
    said = (room.agent.state_dir / "hook" / "log").read_text()
    assert f"write <mac address='{room.pod.mac}'/>" in said
    assert "write <mtu size='1450'/>" in said


def test_release_gives_back_what_prepare_took_though_the_xml_has_changed(room: Room) -> None:
    made = room.domain()
    with room.started(made):
        other = "<network netns='vmnet-none' interface='eth9'/>"
        room.daemon.virsh("metadata", made.name, NAMESPACE, "--key", "vmnet", "--set", other, "--live")
        assert "eth9" in room.daemon.virsh("dumpxml", made.name).stdout


def test_the_walk_through(room: Room, tmp_path: Path) -> None:
    inside = ("nsenter", "--target", str(room.daemon.pid), "--mount", "--net", "--")
    try:
        docs.play(docs.page("guide/libvirt-hook.md"), lambda *words: [*inside, *words], tmp_path, {})
    finally:
        install(room.daemon.hooks)
