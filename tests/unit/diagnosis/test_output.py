"""Where a file goes: new ones, others that are there, and what cannot be written says what helps."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from vmnet.diagnosis.output import named, opened
from vmnet.errors import KernelError, OutputError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_new_file_is_its_owners_alone_and_an_old_one_is_kept_or_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with opened(str(path), new=True) as file:
        file.write(b"first")
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError, match="File exists"), opened(str(path), new=True):
        pass
    assert path.read_bytes() == b"first"
    with opened(str(path), new=False) as file:
        file.write(b"2")
    assert path.read_bytes() == b"2"


def test_a_device_that_is_there_is_written_to() -> None:
    with opened(os.devnull, new=True) as file:
        file.write(b"anything")


def test_a_pipe_that_becomes_somebodys_file_empties_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a directory of many the pipe's owner puts a link in its place, after it was looked at."""
    kept, path = tmp_path / "kept", tmp_path / "pipe"
    kept.write_bytes(b"kept")
    os.mkfifo(path)
    looked_at = os.stat

    def look_and_swap(name: str, *, follow_symlinks: bool = True) -> os.stat_result:
        found = looked_at(name, follow_symlinks=follow_symlinks)
        if name == str(path) and not path.is_symlink():
            path.unlink()
            path.symlink_to(kept)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", look_and_swap)
        with pytest.raises(UsageError, match="File exists"), opened(str(path), new=True):
            pass
    assert kept.read_bytes() == b"kept"


def test_a_read_only_root_names_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", refuse)
    expected = "^cannot write x.tar: Read-only file system; `-` writes to stdout$"
    with pytest.raises(UsageError, match=expected), opened("x.tar", new=True):
        pass


@pytest.mark.parametrize("path", ["", "no/such/directory", "nul\0", "/"])
def test_what_cannot_be_written_is_one_line(path: str) -> None:
    with pytest.raises(UsageError, match=r"^cannot write ") as caught, opened(path, new=True):
        pass
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("octets", [1, 1 << 20])
def test_a_full_disk_is_said_in_one_line(octets: int) -> None:
    """Small files are refused only when they are closed."""
    expected = r"^cannot write /dev/full: No space left on device$"
    with pytest.raises(OutputError, match=expected), opened("/dev/full", new=True) as file:
        file.write(bytes(octets))


@pytest.mark.parametrize("error", [BrokenPipeError(), KernelError(errno.EPERM, "read the links")])
def test_an_error_that_is_not_the_files_stays_what_it_is(tmp_path: Path, error: OSError) -> None:
    with pytest.raises(type(error)), opened(str(tmp_path / "file"), new=True):
        raise error


def test_stdout_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda _descriptor: True)
    with pytest.raises(UsageError, match=r"^stdout is a terminal"), opened("-", new=True):
        pass


def test_its_names() -> None:
    assert [named(path) for path in ("-", "/dev/stdout", "./-")] == ["stdout", "stdout", "./-"]
