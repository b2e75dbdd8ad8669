"""The sidecar overlay: vmnet in one container with its two capabilities, QEMU in another one with none.

┌ pod ───────────────────────────────────────────────────────┐
│ vmnet run: NET_ADMIN, NET_RAW      QEMU: nothing but a tap │
└────────────────────────────────────────────────────────────┘

What QEMU's container runs is what the manifest says, word for word.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.netns import background
from tests.image import manifests
from tests.image.test_privileges import READY

if TYPE_CHECKING:
    from testbed.podman import Container
    from testbed.pods import Pod


def test_qemu_without_any_capability_leases(container: Container, launcher: str, pod: Pod, tmp_path: Path) -> None:
    del pod
    [qemu] = manifests.pod("overlays/sidecar")["containers"]
    uid = qemu["securityContext"]["runAsUser"] if anybody_may_open_the_device() else 0
    disk = tmp_path / "disk"
    disk.mkdir(mode=0o777)
    beside = replace(container, image=launcher, capabilities=(), state=None)
    make = "qemu-img create -q -f qcow2 /var/lib/vm/disk.qcow2 1M && chmod 666 /var/lib/vm/disk.qcow2"
    mount = f"--volume={disk}:/var/lib/vm"
    container.engine.run("run", "--rm", "--network=none", mount, "--entrypoint=/bin/sh", launcher, "-ec", make)

    environment = f"--env=VMNET_OWNER={uid}"
    with container.running(tmp_path / "sidecar.log", "run", options=(environment,)) as sidecar:
        sidecar.program.wait_for(READY)
        options = (f"--user={uid}:{uid}", mount, "--tmpfs=/tmp", f"--entrypoint={qemu['command'][0]}")
        words = (*qemu["command"][1:], *qemu["args"])
        assert container.state
        [log] = container.state.glob("netns-*/*/server.log")
        follow: list[str | Path] = ["tail", "-n", "+1", "-F", log]
        with background(follow, tmp_path / "tail.log") as server:
            with beside.running(tmp_path / "qemu.log", *words, options=options) as guest:
                server.wait_for('"lease": ?"bound"')
                assert guest.program.process.poll() is None
                assert "bound" in sidecar.exec("vmnet", "status").stdout


def anybody_may_open_the_device() -> bool:
    """Whether /dev/net/tun is as udev makes it on a node."""
    return Path("/dev/net/tun").stat().st_mode & 0o006 == 0o006
