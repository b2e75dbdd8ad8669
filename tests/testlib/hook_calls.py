"""The hook as libvirt calls it, with the agent and the kernel faked at their doors."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from tests.testlib import layouts
from vmnet.agent import lifecycle
from vmnet.agent.lifecycle import Outcome
from vmnet.diagnosis import standing
from vmnet.diagnosis.standing import Report
from vmnet.doors.libvirt import hook, hook_steps
from vmnet.kernel import netns
from vmnet.model.lease import Lease
from vmnet.model.settings import Settings
from vmnet.plumbing.discover import discover
from vmnet.saved.schema import SCHEMA, Journal

if TYPE_CHECKING:
    from pathlib import Path

    from vmnet.settings.config import Config

UUID = "3f3a9a3c-3c1f-4d8e-9f4e-2f9c1f7d3a01"
OTHER_UUID = "3f3a9a3c-3c1f-4d8e-9f4e-2f9c1f7d3a02"
LIBVIRTD = 42
"""The cookie of libvirtd's own network namespace."""
POD = discover(layouts.status("bridge"))
TAP0 = f"<interface type='ethernet'><mac address='{POD.mac}'/><target dev='tap0' managed='no'/></interface>"


def domain(interfaces: str = TAP0, network: str | None = None, uuid: str = UUID) -> str:
    """A domain as libvirt hands it to its hooks; `network` are the attributes of `<vmnet:network>`."""
    metadata = (
        f"<metadata><vmnet:network xmlns:vmnet='urn:vmnet:domain:1' {network}/></metadata>"
        if network is not None
        else ""
    )
    return f"""\
<domain type='kvm' id='1'>
  <name>vm1</name>
  <uuid>{uuid}</uuid>
  {metadata}
  <devices>{interfaces}</devices>
</domain>
"""


@dataclass(slots=True)
class World:
    """What the hook sees and does."""

    state_dir: Path
    calls: list[tuple[str, Config]] = field(default_factory=list)
    """Verbs of the agent, in order."""
    entered: list[str] = field(default_factory=list)
    namespaces: dict[str, int] = field(default_factory=dict)
    """The cookie behind each name."""
    here: int = LIBVIRTD
    host: bool = False
    attached: set[str] = field(default_factory=set)
    failures: list[Exception] = field(default_factory=list)
    """What the agent raises, one a call."""
    bound: dict[tuple[int, str], Journal] = field(default_factory=dict)
    """What is up, by the namespace's cookie and the interface."""

    @property
    def verbs(self) -> list[str]:
        """The names of the calls."""
        return [verb for verb, _ in self.calls]

    def call(self, operation: str, step: str, xml: str) -> int:
        """One run of the hook, a process of its own to libvirt."""
        self.here = LIBVIRTD
        self.calls.clear()
        self.entered.clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["-c", str(self.state_dir), "vm1", operation, step, "-"])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(xml.encode(errors="surrogateescape"))))
            return hook.main()

    def up(self, config: Config) -> Outcome:
        self.calls.append(("up", config))
        self._fail()
        key = self.here, config.interface or POD.ifname
        found = self.bound.get(key)
        self.bound[key] = journal = found or _journal(self.here, config)
        return Outcome(journal, changed=found is None)

    def down(self, config: Config) -> Journal | None:
        self.calls.append(("down", config))
        self._fail()
        return self.bound.pop((self.here, config.interface or POD.ifname), None)

    def status(self, config: Config) -> Report:
        return Report(self.bound.get((self.here, config.interface or POD.ifname)))

    def enter(self, name: str) -> None:
        self.entered.append(name)
        self.here = self.namespaces[name]

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)


def _journal(cookie: int, config: Config) -> Journal:
    pod = replace(POD, ifname=config.interface or POD.ifname)
    settings = replace(config.settings, hostname=config.settings.hostname or config.default_hostname)
    lease = Lease(config.settings.mac or pod.mac, "10.244.1.2", 24, "169.254.75.10", warnings=("it has IPv6",))
    return Journal(SCHEMA, "b00t", cookie, pod, settings, lease)


def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Put fakes into the hook's doors."""
    made = World(tmp_path / "vmnet")
    monkeypatch.setattr(lifecycle, "up", made.up)
    monkeypatch.setattr(lifecycle, "down", made.down)
    monkeypatch.setattr(standing, "status", made.status)
    monkeypatch.setattr(netns, "cookie", lambda: made.here)
    monkeypatch.setattr(netns, "is_host", lambda: made.host)
    monkeypatch.setattr(netns, "enter", made.enter)
    monkeypatch.setattr(hook_steps, "is_attached", made.attached.__contains__)
    return made


DEFAULTS = Settings(owner=0, mac=POD.mac)
"""What a domain with `TAP0` gets where libvirtd is root, but for the host name."""
