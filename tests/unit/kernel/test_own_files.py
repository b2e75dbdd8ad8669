"""What lies in the place of a file of ours: nothing hangs, nothing is followed, nothing of others is ours."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from vmnet.kernel.own_files import NotOursError, own_directory, own_file, read_own

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "ours").mkdir(mode=0o700)
    descriptor = own_directory(str(tmp_path / "ours"))
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The types of all that is opened, and not only named."""
    kinds: list[int] = []
    really = os.open

    def note(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        descriptor = really(path, flags, mode, dir_fd=dir_fd)
        kinds.extend([] if flags & os.O_PATH else [stat.S_IFMT(os.fstat(descriptor).st_mode)])
        return descriptor

    monkeypatch.setattr(os, "open", note)
    return kinds


def _of_mode(path: Path, mode: int) -> None:
    path.touch()
    path.chmod(mode)


def _twice(path: Path) -> None:
    path.touch()
    os.link(path, path.with_name("second name"))


def _device(path: Path) -> None:
    """/dev/null again, as root of a default container can make any."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("to make a device takes CAP_MKNOD")


OTHERS: dict[str, Callable[[Path], None]] = {
    "device": _device,
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
    kind: str, flags: int, directory: int, tmp_path: Path, opened: list[int]
) -> None:
    """It is not even opened: that may do something, or wait."""
    OTHERS[kind](tmp_path / "ours" / "file")
    opened.clear()
    with pytest.raises(NotOursError, match="file is not a file of ours alone"):
        own_file("file", flags, directory)
    with pytest.raises(NotOursError, match="file is not a file of ours alone"):
        read_own("file", directory, 64)
    assert opened == []


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_a_device_is_no_file_of_ours(device: str, directory: int, opened: list[int]) -> None:
    with pytest.raises(NotOursError, match="is not a file of ours alone"):
        own_file(device, os.O_RDONLY, directory)
    assert opened == []


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
    really = os.open

    def open_and_lose(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        descriptor = really(path, flags, mode, dir_fd=dir_fd)
        (tmp_path / "ours" / "file").unlink(missing_ok=True)
        return descriptor

    monkeypatch.setattr(os, "open", open_and_lose)
    assert read_own("file", directory, 64) == b"old"


def test_a_lock_that_its_last_holder_removes_meanwhile_is_made(
    directory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ours" / "lock").touch(mode=0o600)
    really = os.open

    def lose_before_named(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & os.O_PATH:
            (tmp_path / "ours" / "lock").unlink()
        return really(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", lose_before_named)
    os.close(own_file("lock", os.O_RDWR | os.O_CREAT, directory))
    assert (tmp_path / "ours" / "lock").exists()


def test_a_new_file_is_none_that_is_there(directory: int, tmp_path: Path) -> None:
    (tmp_path / "ours" / "file").touch(mode=0o600)
    with pytest.raises(FileExistsError):
        own_file("file", os.O_WRONLY | os.O_CREAT | os.O_EXCL, directory)


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR | os.O_CREAT])
def test_without_proc_a_file_of_ours_is_not_taken_for_none(
    flags: int, directory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal that is not there would mean that nothing is up."""
    (tmp_path / "ours" / "file").touch(mode=0o600)
    really = os.open

    def without_proc(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        return really(path.replace("/proc/", f"{tmp_path}/none/"), flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", without_proc)
    with pytest.raises(OSError, match="by way of /proc, and it has none of us; mount it") as raised:
        own_file("file", flags, directory)
    assert not isinstance(raised.value, FileNotFoundError)


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
