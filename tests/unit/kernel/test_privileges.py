"""What is missing is told at once, with the flags that give it."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from vmnet.kernel import privileges
from vmnet.saved import journal

if TYPE_CHECKING:
    from pathlib import Path

NET_ADMIN, NET_RAW = 1 << 12, 1 << 13


@pytest.fixture
def tun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A device that is there."""
    monkeypatch.setattr(privileges, "_CLONE_DEVICE", str(tmp_path / "tun"))
    (tmp_path / "tun").touch()
    return tmp_path / "tun"


def having(monkeypatch: pytest.MonkeyPatch, capabilities: int, uid: int = 0) -> None:
    """Be a process with these capabilities."""
    monkeypatch.setattr(privileges, "_effective", lambda: capabilities)
    monkeypatch.setattr(os, "geteuid", lambda: uid)


def test_nothing_is_missing(tun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    having(monkeypatch, NET_ADMIN | NET_RAW)
    assert tun.exists()
    assert privileges.remedy() == ""


@pytest.mark.parametrize(
    ("capabilities", "device", "lacking"),
    [
        (0, True, ["NET_ADMIN", "NET_RAW"]),
        (NET_RAW, True, ["NET_ADMIN"]),
        (NET_ADMIN, False, ["NET_RAW", "tun"]),
        (NET_ADMIN | NET_RAW, False, ["tun"]),
        (0, False, ["NET_ADMIN", "NET_RAW", "tun"]),
    ],
)
def test_all_that_is_missing_is_told_at_once(
    tun: Path, monkeypatch: pytest.MonkeyPatch, capabilities: int, device: bool, lacking: list[str]
) -> None:
    having(monkeypatch, capabilities)
    if not device:
        tun.unlink()
    said = privileges.remedy()
    for name in ("NET_ADMIN", "NET_RAW"):
        assert (f"--cap-add {name}" in said) is (f"CAP_{name}" in said) is (name in lacking)
    assert (f"--device {tun}" in said) is ("tun" in lacking)
    assert "uid" not in said


def test_who_is_not_root_is_told_so(tun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    having(monkeypatch, 0, uid=1000)
    assert tun.exists()
    assert "vmnet runs as uid 1000: run it as root" in privileges.remedy()
    refused = journal._unusable("/run/vmnet", OSError(errno.EACCES, "Permission denied"))
    assert "run it as root" in str(refused)
    assert "--state-dir" not in str(refused)
    full = journal._unusable("/run/vmnet", OSError(errno.ENOSPC, "No space left on device"))
    assert "--state-dir" in str(full)


def test_root_of_a_directory_that_is_closed_names_another(tun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    having(monkeypatch, NET_ADMIN | NET_RAW)
    assert tun.exists()
    assert "--state-dir" in str(journal._unusable("/run/vmnet", OSError(errno.EACCES, "Permission denied")))


def test_the_capabilities_are_this_process_s_own() -> None:
    with open("/proc/self/status", encoding="ascii") as file:
        [line] = [line for line in file if line.startswith("CapEff")]
    assert privileges._effective() == int(line.split()[1], 16)
