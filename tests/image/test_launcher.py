"""`vmnet launch` in the launcher's image, with the privileges that deploy/kubernetes gives it: a guest leases.

The guest is the NIC's own boot program, iPXE, which asks for a lease before it looks for something to boot.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from testbed.podman import LAUNCHER_CAPABILITIES, LAUNCHER_WRITES
from testbed.snapshot import difference, snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.podman import Container
    from testbed.pods import Pod

DOMAIN = """\
<domain type='qemu'>
  <name>vm</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type><boot dev='network'/></os>
  <features><acpi/></features>
  <devices/>
</domain>
"""


def test_a_domain_leases(container: Container, launcher: str, pod: Pod, tmp_path: Path) -> None:
    found = snapshot(pod)
    (tmp_path / "domain.xml").write_text(DOMAIN, encoding="ascii")
    privileged = replace(container, image=launcher, capabilities=LAUNCHER_CAPABILITIES)
    writable = (f"--tmpfs={path}:rw,notmpcopyup,mode=0777" for path in LAUNCHER_WRITES)
    options = (*writable, f"--volume={tmp_path / 'domain.xml'}:/etc/vm/domain.xml:ro")

    command = ("launch", "--grace", "1", "/etc/vm/domain.xml")
    with privileged.running(tmp_path / "launcher.log", *command, options=options) as running:
        running.program.wait_for("lease-bound")
        assert "running" in running.exec("virsh", "--connect", "qemu:///system", "list").stdout
        assert "bound" in running.exec("vmnet", "status").stdout
        running.stop()

    assert difference(found, snapshot(pod)) == ""
