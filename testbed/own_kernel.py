"""A Debian release on its own kernel: a command runs in a clean root of it that QEMU boots.

    testbed.system's root ─▶ in it: the kernel's and the tests' packages, make setup ─▶ an ext4 image ─▶ QEMU

`python -m testbed.own_kernel SUITE COMMAND …` runs the command in a copy of this checkout. Nothing that it writes
is kept. Without KVM it takes some ten times as long as here: a test's own timeout wants to be off.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.kernel import META_PACKAGE, Kernel, kernel
from testbed.netns import TestbedError, run
from testbed.qemu import Size, accelerator, machine
from testbed.requirements import NETNS_TOOLS
from testbed.system import CHECKOUT, arguments, inside, prepared

if TYPE_CHECKING:
    from collections.abc import Sequence

PACKAGES = (META_PACKAGE, *sorted({tool.package for tool in NETNS_TOOLS}))
"""The first brings an initramfs that finds the disk."""
VENV = "root/venv"
"""Where the Python environment is kept from one run to the next; the checkout is another one each time."""
SIZE = "8G"
"""Of the image, of which what is empty takes no room."""
MACHINE = Size(2048, 2)
INIT = r"""#!/bin/bash
# The first program after the initramfs, which has mounted all but this.
mount -t tmpfs -o mode=1777 tmpfs /tmp
mkdir -p /dev/shm
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
modprobe -a tun br_netfilter # what a node that runs pods has loaded
ip link set lo up
hostname debian
export HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin VMNET_REQUIRE=netns
uname -srv
cd {checkout}
{command} </dev/null
echo "exit $?" >/dev/ttyS1
busybox poweroff -f
"""


def furnished(suite: str) -> Path:
    """Give the root of that release with its kernel, and with a checkout that is set up."""
    system = prepared(suite)
    names = Path(CHECKOUT, ".cache", "packages.txt")
    (system / names).parent.mkdir(exist_ok=True)
    (system / names).write_text("\n".join(PACKAGES) + "\n", encoding="ascii")
    for command in (["tools/install-packages", f"/{names}"], ["make", "--silent", "setup", f"VENV=/{VENV}"]):
        if inside(system, command) != 0:
            raise TestbedError(f"{suite}: {' '.join(command)} did not work")
    (system / CHECKOUT / ".venv").symlink_to(f"/{VENV}")
    return system


def image(system: Path, command: Sequence[str]) -> Path:
    """Write the root as a file system whose init runs the command."""
    init = system / "root" / "init"
    init.write_text(INIT.format(checkout=f"/{CHECKOUT}", command=shlex.join(command)), encoding="utf-8")
    init.chmod(0o755)
    target = system.with_suffix(".ext4")
    target.unlink(missing_ok=True)
    run(["mke2fs", "-q", "-t", "ext4", "-d", system, target, SIZE], timeout=1800)
    return target


def boots(system: Path, disk: Path) -> int:
    """Boot it, its console being our output; returns the command's exit status, 1 where it did not end."""
    own = Kernel("", max((system / "boot").glob("vmlinuz-*")), ())
    initrd = max((system / "boot").glob("initrd.img-*"))
    accel = accelerator(kernel())
    with tempfile.NamedTemporaryFile(prefix="vmnet-exit-") as verdict:
        argv = [
            *machine(accel, own, initrd, "root=/dev/vda rw init=/root/init", MACHINE),
            *("-serial", f"file:{verdict.name}"),
            *("-drive", f"file={disk},format=raw,if=virtio,snapshot=on"),
        ]
        subprocess.run(argv, check=False, stdin=subprocess.DEVNULL)
        said = verdict.read().decode(errors="replace").split()
    return int(said[1]) if said[:1] == ["exit"] else 1


def main() -> int:
    """Run a command in a clean checkout on a release's own kernel; exits as it does."""
    asked = arguments("testbed.own_kernel", __doc__)
    try:
        system = furnished(asked.suite)
        disk = image(system, asked.command)
        try:
            return boots(system, disk)
        finally:
            disk.unlink()
    except TestbedError as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
