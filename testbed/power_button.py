"""A guest that shuts down when its power button is pressed, as `virsh shutdown` and `vmnet launch` press it.

Debian's cloud kernel has the button and its events as modules; busybox's acpid does the rest. They are put on top
of the testbed's initramfs: a kernel unpacks archive after archive.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.kernel import CACHE, META_PACKAGE, newc
from testbed.netns import TestbedError, run
from testbed.once import one_at_a_time

if TYPE_CHECKING:
    from testbed.kernel import Kernel
    from testbed.libvirtd import Domain

MODULES = ("button", "evdev")
INIT = """\
#!/bin/busybox sh
# The testbed's init, and beside it, as soon as the button is there, who listens to it.
/bin/busybox mknod /dev/null c 1 3 # a background job reads from it
/bin/busybox mkdir -p /etc/acpi/PWRF
/bin/busybox mv /bin/button-pressed /etc/acpi/PWRF/00000080
(
    until /bin/busybox grep -qs Power /sys/class/input/event*/device/name; do /bin/busybox sleep 0.1; done
    exec /bin/busybox acpid -f -c /etc/acpi -l /dev/null </dev/null >/dev/null 2>&1
) &
exec /init
"""
PRESSED = """\
#!/bin/busybox sh
echo '@vmnet {"event": "power button"}' >/dev/console
exec /bin/busybox poweroff -f
"""


def with_power_button(domain: Domain) -> Domain:
    """The same domain, whose guest powers off when told to."""
    files = [
        ("init-with-button", INIT.encode(), 0o755),
        ("bin/button-pressed", PRESSED.encode(), 0o755),
        *((f"modules/9-{path.name}", path.read_bytes(), 0o644) for path in modules(domain.kernel)),
    ]
    with domain.initramfs.open("ab") as archive:
        archive.write(newc(files))
    return replace(domain, cmdline=f"{domain.cmdline} rdinit=/init-with-button")


def modules(found: Kernel, cache: Path = CACHE) -> tuple[Path, ...]:
    """The modules, fetched the first time: the kernel's package once more, 30 MB."""
    home = cache / f"button-{found.release}"
    paths = tuple(home / f"{name}.ko" for name in MODULES)
    with one_at_a_time(cache):
        if not all(path.exists() for path in paths):
            _fetch(found.release, home, cache)
    return paths


def _fetch(release: str, home: Path, cache: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=cache) as name:
        tree = Path(name)
        tree.chmod(0o755)
        run(["env", "-C", tree, "apt-get", "-qq", "download", f"linux-image-{release}"], timeout=300)
        [archive] = tree.glob("*.deb")
        run(["dpkg", "-x", archive, tree / "root"], timeout=120)
        (tree / "kept").mkdir()
        for module in MODULES:
            found = next(tree.glob(f"root/lib/modules/**/{module}.ko"), None)
            if found is None:
                raise TestbedError(f"{META_PACKAGE} {release} has no module {module}")
            shutil.copy(found, tree / "kept" / found.name)
        shutil.rmtree(home, ignore_errors=True)
        (tree / "kept").rename(home)
