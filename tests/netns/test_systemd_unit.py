"""deploy/systemd/vmnet@.service: systemd reads it without complaint; its privileges are enough and none too many.

systemd itself does not run here: the unit's command is started with the unit's capabilities, and hears of READY as
in tests/netns/test_run.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from testbed.agent import VMNET
from testbed.netns import background, kill, run
from testbed.patience import PATIENCE
from testbed.snapshot import difference, snapshot
from tests.need import need

if TYPE_CHECKING:
    from collections.abc import Iterable

    from testbed.agent import Agent
    from testbed.pods import Pod

pytestmark = pytest.mark.host_privileges("the unit gives its own")
UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "vmnet@.service"


def setting(name: str) -> str:
    """A setting of the unit that is given once."""
    [value] = [line.partition("=")[2] for line in UNIT.read_text().splitlines() if line.startswith(f"{name}=")]
    return value


CAPABILITIES = tuple(word.removeprefix("CAP_").lower() for word in setting("CapabilityBoundingSet").split())


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Put the unit where an instance of it is found, its command with a path that exists here."""
    need("systemd-analyze", "systemd")
    unit = tmp_path / "vmnet@pod-1.service"
    text = UNIT.read_text(encoding="utf-8")
    unit.write_text(text.replace("ExecStart=vmnet ", f"ExecStart={VMNET} "), encoding="utf-8")
    return unit


def test_systemd_reads_it(installed: Path) -> None:
    done = run(["systemd-analyze", "--man=no", "verify", installed], check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_systemd_would_complain(installed: Path) -> None:
    installed.write_text(installed.read_text().replace("KillMode=mixed", "KillMode=gentle\nNoSuchSetting=1"))
    done = run(["systemd-analyze", "--man=no", "verify", installed], check=False)
    assert "Failed to parse kill mode" in done.stderr
    assert "NoSuchSetting" in done.stderr


def test_every_setting_says_why() -> None:
    """A comment stands above each line, or above a few lines that have one reason."""
    lines = [line for line in UNIT.read_text(encoding="utf-8").splitlines() if line and line[0] != "["]
    runs = "".join("#" if line[0] == "#" else "s" for line in lines).replace("#", " ").split()
    assert max(map(len, runs)) <= 4


def argv(agent: Agent, netns: str, capabilities: Iterable[str]) -> list[str]:
    """The unit's command as root with these capabilities and no others, outside the pod's namespace."""
    bounding = ",".join(["-all", *(f"+{name}" for name in capabilities)])
    privileges = ["setpriv", "--bounding-set", bounding, "--inh-caps", "-all", "--no-new-privs", "--"]
    verb, *flags = setting("ExecStart").replace("%i", netns).split()[1:]
    words = agent.argv(verb, *flags, "--resolv-conf", agent.resolv_conf)
    return [*privileges, *words[words.index("env") :]]


def test_its_capabilities_are_enough(pod: Pod, agent: Agent, tmp_path: Path) -> None:
    found = snapshot(pod)
    with background(argv(agent, pod.netns.name, CAPABILITIES), tmp_path / "log") as program:
        program.wait_for('"event": "ready"', PATIENCE)
        assert agent.status()["server"]["uid"] == 65525
        [server] = agent.servers()
        kill(server)
        program.wait_for(r'(?s)("event": "ready".*){2}', PATIENCE)
        program.process.terminate()
        assert program.wait(PATIENCE) == 0
    assert difference(found, snapshot(pod)) == ""


@pytest.mark.parametrize("capability", ["net_admin", "net_raw", "sys_admin"])
def test_without_it_up_fails_and_says_so(pod: Pod, agent: Agent, capability: str) -> None:
    found = snapshot(pod)
    fewer = [name for name in CAPABILITIES if name != capability]
    done = run(argv(agent, pod.netns.name, fewer), check=False)
    assert done.returncode in (3, 4)
    assert f"CAP_{capability.upper()}" in done.stderr
    assert difference(found, snapshot(pod)) == ""


@pytest.mark.parametrize("capability", ["setuid", "setgid"])
def test_without_it_the_server_stays_root(pod: Pod, agent: Agent, tmp_path: Path, capability: str) -> None:
    fewer = [name for name in CAPABILITIES if name != capability]
    with background(argv(agent, pod.netns.name, fewer), tmp_path / "log") as program:
        program.wait_for('"event": "ready"', PATIENCE)
        assert agent.status()["server"]["uid"] == 0


def test_without_kill_a_server_that_does_not_hang_ends_as_it_is_asked_to(
    pod: Pod, agent: Agent, tmp_path: Path
) -> None:
    found = snapshot(pod)
    fewer = [name for name in CAPABILITIES if name != "kill"]
    with background(argv(agent, pod.netns.name, fewer), tmp_path / "log") as program:
        program.wait_for('"event": "ready"', PATIENCE)
        program.process.terminate()
        assert program.wait(PATIENCE) in (0, 143)  # 143: so soon that nothing was supervised yet
    assert agent.servers() == []
    assert difference(found, snapshot(pod)) == ""


def test_no_other_capability_is_asked_for() -> None:
    assert set(CAPABILITIES) == {"net_admin", "net_raw", "sys_admin", "setuid", "setgid", "kill"}
