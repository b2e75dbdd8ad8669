"""What a pod puts where its binding's files are, which a server and its callers meet: nobody is led elsewhere.

STATE_DIR/netns-COOKIE/files0/     may be a volume of the pod, where root in the pod writes what it likes
  server.sock ─▶ elsewhere
  server.pid     names another process
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from typing import TYPE_CHECKING

import pytest

from testbed.netns import background
from vmnet.control import call, processes
from vmnet.control.call import ENDING, NO_HANDLE, PID, SOCKET, UNSEEN, is_recorded, start_time
from vmnet.saved.journal import BindingDirectory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from testbed.netns import Background


IDLES = "import time; print('idles', flush=True); time.sleep(3600)"
OURS = "vmnet.server.loop"


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[BindingDirectory]:
    path = tmp_path / "files0"
    path.mkdir(mode=0o700)
    opened = BindingDirectory(os.open(path, os.O_RDONLY | os.O_DIRECTORY), str(path))
    yield opened
    opened.close()


def test_the_file_of_a_servers_socket_is_ours_alone(directory: BindingDirectory, tmp_path: Path) -> None:
    with processes._bound_to_file(directory):
        assert stat.S_IMODE((tmp_path / "files0" / SOCKET).stat().st_mode) == 0o600


def test_a_link_in_the_sockets_place_once_it_is_bound_is_not_followed(
    directory: BindingDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    somebodys, file = tmp_path / "somebodys", tmp_path / "files0" / SOCKET
    somebodys.touch()
    somebodys.chmod(0o644)

    def exchange(_listening: socket.socket, _waiters: int) -> None:
        file.unlink()
        file.symlink_to(somebodys)

    monkeypatch.setattr(socket.socket, "listen", exchange)
    with processes._bound_to_file(directory):
        assert file.is_symlink()
    assert stat.S_IMODE(somebodys.stat().st_mode) == 0o644


def test_a_link_to_another_bindings_socket_is_not_called(directory: BindingDirectory, tmp_path: Path) -> None:
    """`down` would end another pod's server, and `status` tell of it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as others:
        others.bind(str(tmp_path / SOCKET))
        others.listen()
        (tmp_path / "files0" / SOCKET).symlink_to(tmp_path / SOCKET)
        assert call.call(directory, by_name=False, wish=ENDING) is None
        others.setblocking(False)
        with pytest.raises(BlockingIOError):
            others.accept()


def test_the_socket_itself_is_called(directory: BindingDirectory) -> None:
    with processes._bound_to_file(directory), call.called(directory) as found:
        assert found
        assert (found.pid, found.by_name) == (os.getpid(), False)


def _idling(tmp_path: Path, name: str, *before: str) -> AbstractContextManager[Background]:
    return background([*before, sys.executable, "-c", IDLES, name], tmp_path / "idle.log")


def _written_down(directory: BindingDirectory, pid: int) -> None:
    directory.write(PID, b"%d %s\n" % (pid, start_time(pid)))


@pytest.mark.parametrize(
    ("name", "elsewhere"),
    [("another", ()), (OURS, ("unshare", "--net"))],
    ids=["of another program", "of another namespace"],
)
def test_a_process_that_only_the_file_calls_a_server_is_not_ended(
    name: str, elsewhere: tuple[str, ...], directory: BindingDirectory, tmp_path: Path
) -> None:
    with _idling(tmp_path, name, *elsewhere) as other:
        other.wait_for("idles")
        _written_down(directory, other.process.pid)
        assert not is_recorded(directory, other.process.pid)
        assert processes.server_pid(directory) is None
        processes.stop_server(directory)
        assert other.process.poll() is None


def test_a_server_that_is_written_down_is_ended(directory: BindingDirectory, tmp_path: Path) -> None:
    with _idling(tmp_path, OURS) as server:
        server.wait_for("idles")
        _written_down(directory, server.process.pid)
        assert processes.server_pid(directory) == server.process.pid
        processes.stop_server(directory)
        assert server.process.poll() is not None


def test_only_a_server_is_written_down(directory: BindingDirectory) -> None:
    """We listen at its file, as who has the number of a listener that died may seem to."""
    with processes._bound_to_file(directory):
        assert processes.server_pid(directory) == os.getpid()
        processes.record(directory)
    assert directory.read(PID) is None


@pytest.mark.parametrize(
    ("code", "pid"),
    [(errno.ENOPROTOOPT, os.getpid()), (errno.EINVAL, UNSEEN)],
    ids=["a kernel that has no handles", "a peer that has none"],
)
def test_the_number_of_a_listener_that_has_ended_is_not_believed(
    code: int, pid: int, directory: BindingDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before Linux 6.5 there is only the number; since then a refusal tells."""
    really = socket.socket.getsockopt

    def refuse(asking: socket.socket, level: int, option: int, *size: int) -> int | bytes:
        if option == call._SO_PEERPIDFD:
            raise OSError(code, os.strerror(code))
        return really(asking, level, option, *size)

    with processes._bound_to_file(directory):
        monkeypatch.setattr(socket.socket, "getsockopt", refuse)
        with call.called(directory) as found:
            assert found
            assert (found.pid, found.handle) == (pid, NO_HANDLE)
