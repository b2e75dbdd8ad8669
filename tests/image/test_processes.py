"""What each process of each manifest may do, seen from outside while a guest has its lease.

The manifests are run as they are: users, groups, capabilities, variables, arguments, volumes. What is found is the
table in docs/guide/containers.md, and nothing more.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from testbed.netns import background
from tests import docs
from tests.image import manifests
from tests.image.manifests import Volumes, as_user, capabilities
from tests.image.test_privileges import READY

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from testbed.netns import Background
    from testbed.podman import Container, Podman
    from testbed.pods import Pod

CAPABILITIES = {
    "CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "KILL": 5, "SETGID": 6, "SETUID": 7, "SETPCAP": 8,
    "NET_ADMIN": 12, "NET_RAW": 13, "BPF": 39,
}  # fmt: skip
"""linux/capability.h."""
ROW = re.compile(r"^\| `(?P<container>[a-z ,]+)` \| `(?P<process>[\w-]+)` \|(?P<rest>.*)\|$", re.MULTILINE)
LIKE_BASE = ("overlays/device-plugin", "overlays/network-policy")
"""Kustomizations whose container is base's, but for the devices."""
DISK = "disk.qcow2"
KILLS = 3


@dataclass(frozen=True, slots=True)
class Process:
    """What a process may."""

    user: str
    """All its uids and gids."""
    groups: str
    permitted: frozenset[str]
    bounding: frozenset[str]
    no_new_privs: bool
    seccomp: bool


def documented(container: str, given: frozenset[str]) -> dict[str, Process]:
    """What the page says of the processes of a container that is given these capabilities."""
    found = {}
    for row in ROW.finditer((docs.DOCS / "guide" / "containers.md").read_text(encoding="utf-8")):
        if row["container"] == container:
            user, groups, permitted, bounding = (cell.strip() for cell in row["rest"].split("|"))
            sets = {"none": frozenset[str](), "all": given}
            found[row["process"]] = Process(
                user, groups, sets[permitted], sets[bounding], no_new_privs=True, seccomp=True
            )
    return found


def found_in(pod: Pod) -> dict[str, Process]:
    """What the processes in a pod may, by their names."""
    found = {}
    for pid in pod.netns.processes():
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
        said = {name: text.strip() for name, _, text in (line.partition(":") for line in lines)}
        found[said["Name"]] = process(said)
    return found


def process(said: dict[str, str]) -> Process:
    """Understand a /proc/PID/status."""
    held = {name: capability_names(int(said[name], 16)) for name in ("CapPrm", "CapEff", "CapBnd")}
    assert held["CapEff"] == held["CapPrm"]
    assert int(said["CapAmb"], 16) == int(said["CapInh"], 16) == 0
    uids, gids = set(said["Uid"].split()), set(said["Gid"].split())
    return Process(
        user=f"{'/'.join(sorted(uids))}:{'/'.join(sorted(gids))}",
        groups=" ".join(said["Groups"].split()) or "none",
        permitted=held["CapPrm"],
        bounding=held["CapBnd"],
        no_new_privs=said["NoNewPrivs"] == "1",
        seccomp=said["Seccomp"] == "2",
    )


def capability_names(bits: int) -> frozenset[str]:
    known = frozenset(name for name, bit in CAPABILITIES.items() if bits >> bit & 1)
    assert bits == sum(1 << CAPABILITIES[name] for name in known)
    return known


@pytest.fixture
def volumes(engine: Podman, launcher: str, request: pytest.FixtureRequest, tmp_path: Path) -> Volumes:
    """Make the volumes of the kustomization, with a disk that has nothing on it."""
    made = Volumes(tmp_path / "volumes", manifests.pod(request.param))
    made.directory.mkdir()
    made.make()
    mount = f"--volume={made.directory / 'disk'}:/var/lib/vm"
    words = ("qemu-img", "create", "-q", "-f", "qcow2", f"/var/lib/vm/{DISK}", "1M")
    engine.run("run", "--rm", "--network=none", mount, f"--entrypoint={words[0]}", launcher, *words[1:])
    (made.directory / "disk" / DISK).chmod(0o660)  # fsGroup: what is in the volume is the group's too
    return made


def as_told(container: Container, image: str, told: dict[str, Any]) -> Container:
    """The testbed's container with the capabilities of the manifest's; its devices come with its volumes."""
    return replace(container, image=image, state=None, devices=(), capabilities=capabilities(told))


@pytest.mark.parametrize("volumes", ["base"], indirect=True)
def test_base(container: Container, launcher: str, pod: Pod, volumes: Volumes, tmp_path: Path) -> None:
    [told] = volumes.spec["containers"]
    options = (*as_user(volumes.spec, told), *volumes.options(told))

    with as_told(container, launcher, told).running(tmp_path / "log", *told["args"], options=options) as running:
        running.program.wait_for("lease-bound")

        assert found_in(pod) == documented("base", frozenset(capabilities(told)))


@pytest.mark.parametrize("volumes", ["overlays/sidecar"], indirect=True)
def test_sidecar(container: Container, launcher: str, pod: Pod, volumes: Volumes, tmp_path: Path) -> None:
    [vmnet], [qemu] = volumes.spec["initContainers"], volumes.spec["containers"]
    options = (*as_user(volumes.spec, vmnet), *volumes.options(vmnet))
    ours = as_told(container, container.image, vmnet)
    with ours.running(tmp_path / "log", *vmnet["args"], options=options) as sidecar:
        sidecar.program.wait_for(READY)
        with server_log(volumes, tmp_path) as server:
            options = (*as_user(volumes.spec, qemu), *volumes.options(qemu), f"--entrypoint={qemu['command'][0]}")
            words = (*qemu["command"][1:], *qemu["args"])
            theirs = as_told(container, launcher, qemu)
            with theirs.running(tmp_path / "qemu.log", *words, options=options) as guest:
                server.wait_for('"lease": ?"bound"')

                assert (
                    sidecar.exec("vmnet", "probe", "--for", "bound").stdout == "bound: eth0, the guest is bound\n"
                )
                guest.exec("sh", "-c", "kill -TERM 1")
                guest.program.wait_for("the guest's power button is pressed")
                beside = documented("sidecar, vmnet", frozenset(capabilities(vmnet)))
                assert found_in(pod) == beside | documented("sidecar, launcher", frozenset())


def server_log(volumes: Volumes, tmp_path: Path) -> AbstractContextManager[Background]:
    [log] = (volumes.directory / "vmnet-state").glob("netns-*/*/server.log")
    return background(["tail", "-n", "+1", "-F", log], tmp_path / "tail.log")


@pytest.mark.parametrize("name", LIKE_BASE)
def test_the_others_are_like_base(name: str) -> None:
    """But for devices, a policy and a domain that uses them."""
    base, other = (manifests.pod(which) for which in ("base", name))
    assert other.get("securityContext") == base.get("securityContext")
    [ours], [theirs] = base["containers"], other["containers"]
    for kept in ("securityContext", "env", "args"):
        assert ours[kept] == theirs[kept]
    assert set(manifests.kustomizations()) == {"base", "overlays/sidecar", *LIKE_BASE}


@pytest.mark.parametrize("volumes", ["base"], indirect=True)
def test_base_killed_begins_anew(container: Container, launcher: str, volumes: Volumes, tmp_path: Path) -> None:
    """Killed, a container leaves libvirt's notes of a domain that ran: it is no more, and no guest is bound."""
    [told] = volumes.spec["containers"]
    options = (*as_user(volumes.spec, told), *volumes.options(told))
    ours = as_told(container, launcher, told)
    for time in range(KILLS):
        with ours.running(tmp_path / f"log-{time}", *told["args"], options=options) as running:
            running.program.wait_for("lease-bound")
            happened = [json.loads(line)["event"] for line in running.program.text.splitlines()]
            assert happened.index("domain-started") < happened.index("guest-asked")
            container.engine.run("kill", "--signal=KILL", running.name)
            running.program.wait()
