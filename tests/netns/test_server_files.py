"""What a pod puts where its binding's files are, which a server and its callers meet: nobody is led elsewhere.

STATE_DIR/netns-COOKIE/eth0/     may be a volume of the pod, where root in the pod writes what it likes
  server.sock ─▶ elsewhere
"""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from vmnet import processes, server_call
from vmnet.journal import BindingDirectory
from vmnet.server_call import ENDING, SOCKET

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[BindingDirectory]:
    path = tmp_path / "eth0"
    path.mkdir(mode=0o700)
    opened = BindingDirectory(os.open(path, os.O_RDONLY | os.O_DIRECTORY), str(path))
    yield opened
    opened.close()


def test_the_file_of_a_servers_socket_is_ours_alone(directory: BindingDirectory, tmp_path: Path) -> None:
    with processes._bound_to_file(directory):
        assert stat.S_IMODE((tmp_path / "eth0" / SOCKET).stat().st_mode) == 0o600


def test_a_link_in_the_sockets_place_once_it_is_bound_is_not_followed(
    directory: BindingDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    somebodys, file = tmp_path / "somebodys", tmp_path / "eth0" / SOCKET
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
        (tmp_path / "eth0" / SOCKET).symlink_to(tmp_path / SOCKET)
        assert server_call.call(directory, by_name=False, wish=ENDING) is None
        others.setblocking(False)
        with pytest.raises(BlockingIOError):
            others.accept()


def test_the_socket_itself_is_called(directory: BindingDirectory) -> None:
    with processes._bound_to_file(directory), server_call.called(directory) as found:
        assert found
        assert (found.pid, found.by_name) == (os.getpid(), False)
