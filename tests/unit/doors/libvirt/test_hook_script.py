"""The script in libvirt's hooks directory: ours alone is written, replaced and removed."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from vmnet.cli import main
from vmnet.doors.libvirt.hook_script import install, script, uninstall
from vmnet.errors import RefusedError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

STATE = "/run/vmnet"


@pytest.fixture
def hooks(tmp_path: Path) -> Path:
    made = tmp_path / "hooks"
    made.mkdir()
    return made


def _hook(hooks: Path) -> Path:
    return hooks / "qemu.d" / "50-vmnet"


def test_it_names_the_interpreter_in_full_and_isolates_it() -> None:
    assert f"{sys.executable} -I -c " in script(STATE)
    assert sys.executable.startswith("/")


def test_paths_with_blanks_and_quotes_stay_one_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/opt/it's here/python")
    assert """'/opt/it'"'"'s here/python' -I -c""" in script("/run/$(id)")
    assert "'/run/$(id)'" in script("/run/$(id)")


def test_installed_it_can_be_run_and_nothing_else_is_left(hooks: Path) -> None:
    umask = os.umask(0o077)
    try:
        install(str(hooks), STATE)
    finally:
        os.umask(umask)
    assert _hook(hooks).read_text() == script(STATE)
    assert _hook(hooks).stat().st_mode & 0o777 == 0o755
    assert sorted(path.name for path in hooks.rglob("*")) == ["50-vmnet", "qemu.d"]


def test_installed_again_it_is_not_touched(hooks: Path) -> None:
    install(str(hooks), STATE)
    before = _hook(hooks).stat()
    install(str(hooks), STATE)
    assert _hook(hooks).stat() == before


@pytest.mark.parametrize("change", ["content", "mode"])
def test_an_older_one_of_ours_is_replaced(hooks: Path, change: str) -> None:
    install(str(hooks), STATE)
    if change == "content":
        _hook(hooks).write_text(script("/elsewhere"))
    else:
        _hook(hooks).chmod(0o644)
    install(str(hooks), STATE)
    assert _hook(hooks).read_text() == script(STATE)
    assert _hook(hooks).stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("kind", ["file", "empty", "directory", "link", "dangling", "fifo"])
@pytest.mark.parametrize("verb", ["install", "uninstall"])
def test_what_is_not_ours_is_not_touched(hooks: Path, tmp_path: Path, kind: str, verb: str) -> None:
    place = _hook(hooks)
    place.parent.mkdir()
    target = tmp_path / "target"
    if kind in ("file", "empty"):
        place.write_text("#!/bin/sh\nexit 0\n" if kind == "file" else "")
    elif kind == "directory":
        place.mkdir()
    elif kind == "fifo":
        os.mkfifo(place)
    else:
        if kind == "link":
            target.write_text(script(STATE))
        place.symlink_to(target)
    before = place.lstat()
    with pytest.raises(RefusedError, match="not vmnet's"):
        install(str(hooks), STATE) if verb == "install" else uninstall(str(hooks))
    after = place.lstat()
    assert (before.st_ino, before.st_mtime_ns, before.st_size) == (after.st_ino, after.st_mtime_ns, after.st_size)
    assert target.exists() is (kind == "link")


def test_uninstalled_it_is_gone_and_others_stay(hooks: Path) -> None:
    install(str(hooks), STATE)
    other = hooks / "qemu.d" / "60-other"
    other.write_text("#!/bin/sh\n")
    uninstall(str(hooks))
    uninstall(str(hooks))
    assert list((hooks / "qemu.d").iterdir()) == [other]


def test_a_directory_that_is_not_there_is_the_callers_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--dir"):
        install(str(tmp_path / "none"), STATE)


def test_a_failed_write_leaves_the_old_one(hooks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(str(hooks), "/old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RefusedError, match="No space"):
        install(str(hooks), "/new")
    assert _hook(hooks).read_text() == script("/old")
    assert sorted(path.name for path in hooks.rglob("*")) == ["50-vmnet", "qemu.d"]


def test_the_command(hooks: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMNET_STATE_DIR", "/run/here")
    assert main.main(["hook", "install", "--dir", str(hooks)]) == 0
    assert _hook(hooks).read_text() == script("/run/here")
    assert "libvirtd looks for hooks when it starts" in capsys.readouterr().err
    assert main.main(["hook", "uninstall", "--dir", str(hooks)]) == 0
    assert not _hook(hooks).exists()
    assert main.main(["hook", "remove"]) == 2
