"""`vmnet run --qmp` with a real guest: SIGTERM presses its power button, and it shuts itself down.

┌ pod ──────────────────────────────────────────┐
│ vmnet-run ── power button ── QEMU ── a kernel │ with acpid
│                   └──── QMP ───┘              │
└───────────────────────────────────────────────┘
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from testbed.libvirt_guest import domain
from testbed.netns import background
from testbed.power_button import with_power_button
from testbed.qemu import MARK, accelerator, machine, nic
from testbed.snapshot import difference, snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.agent import Agent
    from testbed.pods import Pod


@pytest.mark.parametrize("layout", ["bridge"])
def test_the_guest_shuts_itself_down(pod: Pod, agent: Agent, tmp_path: Path) -> None:
    found, socket = snapshot(pod), tmp_path / "qmp.sock"
    made = with_power_button(domain("vm", tmp_path, "", ping=pod.peer))
    cmdline = made.cmdline.partition("vmnet.ping")[2]
    qemu = machine(accelerator(made.kernel), made.kernel, made.initramfs, f"vmnet.ping{cmdline}")
    command = [*qemu, "-qmp", f"unix:{socket},server=on,wait=off", *nic(pod.mac, "tap0")]
    flags = ("--resolv-conf", str(pod.resolv_conf), "--qmp", str(socket), "--grace", "60")

    with background(agent.argv("run", *flags, "--", *command), tmp_path / "run.log") as run:
        run.wait_for(rf'^{MARK}{{"event": "facts"}}')
        run.process.terminate()
        code = run.wait()

    assert f'{MARK}{{"event": "power button"}}' in run.text
    assert "power-cut" not in run.text
    assert code == 0
    assert difference(found, snapshot(pod)) == ""
