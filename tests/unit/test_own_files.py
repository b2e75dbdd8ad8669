"""What lies in the place of a file of ours: nothing hangs, nothing is followed, nothing of others is ours."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from vmnet.own_files import own_directory, own_file, read_own

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "ours").mkdir(mode=0o700)
    descriptor = own_directory(str(tmp_path / "ours"))
    yield descriptor
    os.close(descriptor)


def _of_mode(path: Path, mode: int) -> None:
    path.touch()
    path.chmod(mode)


def _twice(path: Path) -> None:
    path.touch()
    os.link(path, path.with_name("second name"))


OTHERS: dict[str, Callable[[Path], None]] = {
    "pipe": os.mkfifo,
    "directory": lambda path: path.mkdir(),
    "socket": lambda path: os.mknod(path, stat.S_IFSOCK),
    "link": lambda path: path.symlink_to("/etc/passwd"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "writable by others": lambda path: _of_mode(path, 0o602),
    "of two names": _twice,
}


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY | os.O_CREAT | os.O_APPEND, os.O_RDWR | os.O_CREAT])
def test_what_is_no_file_of_ours_is_an_error_at_once(
    kind: str, flags: int, directory: int, tmp_path: Path
) -> None:
    OTHERS[kind](tmp_path / "ours" / "file")
    with pytest.raises(OSError, match=r"."):
        own_file("file", flags, directory)
    with pytest.raises(OSError, match=r"."):
        read_own("file", directory, 64)


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_a_device_is_no_file_of_ours(device: str, directory: int) -> None:
    with pytest.raises(PermissionError, match="is not a file of ours alone"):
        own_file(device, os.O_RDONLY, directory)


def test_what_is_somebody_elses_is_not_ours(
    directory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ours" / "file").touch(mode=0o600)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(PermissionError, match="file is not a file of ours alone"):
        read_own("file", directory, 64)
    with pytest.raises(PermissionError, match="is open to others"):
        own_directory(str(tmp_path / "ours"))


def test_a_file_of_ours_is_read(directory: int, tmp_path: Path) -> None:
    os.close(own_file("file", os.O_WRONLY | os.O_CREAT, directory))
    (tmp_path / "ours" / "file").write_bytes(b"x" * 100)
    assert read_own("file", directory, 64) == b"x" * 64


def test_a_file_of_ours_that_is_replaced_meanwhile_is_still_ours(
    directory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal is renewed, or removed, while `status` has just opened it."""
    (tmp_path / "ours" / "file").write_bytes(b"old")
    (tmp_path / "ours" / "file").chmod(0o600)
    opened = os.open

    def open_and_lose(name: str, flags: int, mode: int, dir_fd: int) -> int:
        descriptor = opened(name, flags, mode, dir_fd=dir_fd)
        (tmp_path / "ours" / "file").unlink()
        return descriptor

    monkeypatch.setattr(os, "open", open_and_lose)
    assert read_own("file", directory, 64) == b"old"


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o777])
def test_a_directory_that_others_see_into_is_not_ours(mode: int, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(mode)
    with pytest.raises(PermissionError, match="open is open to others"):
        own_directory(str(tmp_path / "open"))


def test_a_link_to_a_directory_of_ours_is_not_followed(tmp_path: Path, directory: int) -> None:
    (tmp_path / "link").symlink_to("ours")
    with pytest.raises(NotADirectoryError):
        own_directory(str(tmp_path / "link"))
    assert directory
