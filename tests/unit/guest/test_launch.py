"""What `vmnet launch`, `vmnet domain` and `onDefineDomain` say before any kernel or libvirt is asked."""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING

import pytest

from vmnet import cli
from vmnet.config import Config
from vmnet.guest.domain import parse
from vmnet.guest.wanted import with_wishes
from vmnet.model import Settings

if TYPE_CHECKING:
    from pathlib import Path

XML = "<domain type='qemu'><devices/></domain>"
MAC = "52:54:00:12:34:56"


def _error(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    [line] = capsys.readouterr().err.splitlines()
    return dict(json.loads(line))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "domain.xml"
    path.write_text(XML, encoding="utf-8")
    return path


def test_missing_module_says_how_to_get_it(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "libvirt", None)
    assert cli.main(["launch", str(file)]) == 8
    assert _error(capsys)["message"] == "libvirt's Python module is missing: pip install 'vmnet[libvirt]'"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        (b"<!DOCTYPE x><domain/>", "DOCTYPE"),
        (b"\xff", "not UTF-8"),
        (XML.encode() + b" " * (1 << 20), "larger than"),
    ],
)
def test_bad_file_is_refused_before_libvirt_is_looked_for(
    tmp_path: Path,
    content: bytes | None,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "libvirt", None)
    if content is not None:
        (tmp_path / "x.xml").write_bytes(content)
    assert cli.main(["launch", str(tmp_path / "x.xml")]) == 2
    assert reason in str(_error(capsys)["message"])


@pytest.mark.parametrize("grace", ["-1", "soon", "", "1e3", "86401", "\u0661"])
def test_grace_is_seconds(file: Path, grace: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["launch", f"--grace={grace}", str(file)]) == 2
    assert "grace" in str(_error(capsys)["message"])


def test_filter_asks_nobody_when_it_is_told_all(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """The guard of the unit tests would not let it open a socket."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(XML.encode())))
    assert cli.main(["domain", "--mac", MAC, "--mtu", "1450", "--tap", "tap7", "--interface", "net1"]) == 0
    out = capfdbinary.readouterr().out.decode()
    [interface] = parse(out).interfaces
    assert (interface.mac, interface.mtu, interface.tap) == (MAC, 1450, "tap7")
    assert interface.alias == "ua-vmnet-net1"


def test_sidecar_is_set_up_by_its_environment(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    for name, value in {"MAC": MAC, "MTU": "1450", "MODEL": "virtio-non-transitional"}.items():
        monkeypatch.setenv(f"VMNET_{name}", value)
    monkeypatch.setattr(sys, "argv", ["onDefineDomain", "--vmi", '{"kind": "ü"}', "--domain", XML])
    assert cli.on_define_domain() == 0
    [interface] = parse(capfdbinary.readouterr().out.decode()).interfaces
    assert (interface.mac, interface.model) == (MAC, "virtio-non-transitional")


def test_sidecar_that_fails_prints_no_domain(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    assert cli.main(["onDefineDomain", "--vmi", "{}", "--domain", "<domain>"]) == 2
    out, error = capfdbinary.readouterr()
    assert out == b""
    assert error.count(b"\n") == 1


def test_domain_says_which_pod_interface_and_how_many_queues() -> None:
    network = "<n:network xmlns:n='urn:vmnet:domain:1' interface='net1'/>"
    queues = "<interface type='user'><alias name='ua-vmnet-net1'/><driver queues='4'/></interface>"
    domain = parse(f"<domain><metadata>{network}</metadata><devices>{queues}</devices></domain>")
    config = with_wishes(Config(), domain)
    assert (config.interface, config.settings.multi_queue) == ("net1", True)
    flagged = with_wishes(Config(interface="eth0", settings=Settings(tap="tap3")), domain)
    assert (flagged.interface, flagged.settings) == ("eth0", Settings(tap="tap3"))
