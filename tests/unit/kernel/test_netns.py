"""What is no namespace is told without being opened: an open of a pipe waits, one of a device does something."""

from __future__ import annotations

import functools
import os
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from vmnet.errors import UsageError
from vmnet.kernel import netns
from vmnet.kernel.in_time import in_time

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("link")
    (tmp_path / "link-to-pipe").symlink_to("pipe")
    (tmp_path / "file").touch()
    os.mknod(tmp_path / "socket", stat.S_IFSOCK)
    return tmp_path


@pytest.mark.parametrize(
    "name",
    [
        *("pipe", "link-to-pipe", "file", "socket", "", "file/", "link", "none"),
        *("/dev/zero", "/dev/tty", "/proc/self/mem", "/proc/kmsg", "/proc/self/ns/uts", "..", "../../dev/zero"),
        *("/proc/self/exe", "a/\0", "/" + "x" * 300, "/" * 5000),
    ],
)
def test_it_is_one_line_and_nothing_is_opened(name: str, odd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    real = os.open

    def watched(path: str, flags: int, *rest: int, **more: int) -> int:
        opened.append(flags)
        return real(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", watched)
    path = name if name.startswith(("/", "..")) else f"{odd}/{name}"
    with pytest.raises(
        UsageError, match=r"is no network namespace; name one|network namespace .*; see `ip netns`"
    ):
        netns.enter(path)
    if "ns/uts" not in name:
        assert all(flags & os.O_PATH for flags in opened)


def test_a_path_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one on a file server that is gone."""
    ended = threading.Event()

    def hung(_path: str, _flags: int) -> int:
        ended.wait()
        raise OSError

    monkeypatch.setattr(netns, "in_time", functools.partial(in_time, seconds=0.01))
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", hung)
        with pytest.raises(UsageError, match=r"network namespace /mnt/a: no answer within 0\.01 s"):
            netns.enter("/mnt/a")
    ended.set()


def test_a_namespace_is_opened() -> None:
    descriptor = netns._opened("/proc/self/ns/net")
    assert netns._namespace_type(descriptor) == netns._CLONE_NEWNET
    os.close(descriptor)
