"""What of the supervisor can be told without processes; tests/netns/test_run.py has the rest."""

from __future__ import annotations

import ast
import errno
import fcntl
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vmnet.control import process
from vmnet.doors import supervisor
from vmnet.kernel.own_files import own_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FORBIDDEN = {"dataclasses", "typing", "enum", "json", "subprocess", "signal", "socket", "re", "argparse"}
"""What costs memory for as long as the VM lives; import-linter holds the rest of it."""


def test_the_first_deaths_are_mended_at_once_the_next_ones_less_and_less_eagerly() -> None:
    assert [supervisor.wait_seconds(deaths) for deaths in range(11)] == [0, 0, 0, 1, 2, 4, 8, 16, 30, 30, 30]
    assert supervisor.wait_seconds(10**9) == 30


@pytest.mark.parametrize(
    "name",
    [
        "doors/supervisor",
        "doors/power_button",
        "show/sd_notify",
        "show/termination",
        "kernel/own_files",
        "control/process",
    ],
)
def test_resident_modules_import_little(name: str) -> None:
    path = Path(supervisor.__file__).parents[1] / f"{name}.py"
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    assert imported & _FORBIDDEN == set()
    assert "os" in imported


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A binding's directory as `up` leaves it, this process its server."""
    monkeypatch.setattr(supervisor, "is_server", lambda pid: pid == os.getpid())
    path = tmp_path / "netns-42" / "eth0"
    path.mkdir(parents=True)
    for each in (path, path.parent):
        each.chmod(0o700)
    _fill(path)
    return path


def _fill(path: Path) -> None:
    for name, text in (
        ("journal.json", b"{}"),
        ("server.pid", b"%d %s\n" % (os.getpid(), supervisor._start_time(os.getpid()))),
    ):
        (path / name).write_bytes(text)
        (path / name).chmod(0o600)


def _binding(path: Path) -> supervisor.Binding:
    return supervisor.Binding("/root", str(path), False, own_directory(str(path)))


def _server(binding: supervisor.Binding) -> bool:
    handle = binding.open_server()
    if handle >= 0:
        os.close(handle)
    return handle >= 0


def test_the_binding_is_what_the_path_says(path: Path, tmp_path: Path) -> None:
    binding = _binding(path)
    assert (binding.ifname, binding._state_dir) == ("eth0", str(tmp_path))
    assert binding.begun()
    assert _server(binding)


def test_who_exchanges_the_directory_leads_nobody_away(path: Path) -> None:
    """In a state directory that others can write to, as an emptyDir: with a pipe where the pid was."""
    binding = _binding(path)
    path.parent.rename(path.parent.with_name("away"))
    path.mkdir(parents=True)
    os.mkfifo(path / "server.pid")
    os.mkfifo(path / "journal.json")
    assert binding.begun()
    assert _server(binding)


@pytest.mark.parametrize(
    "put",
    [
        os.mkfifo,
        lambda path: path.symlink_to("/proc/self/stat"),
        lambda path: path.mkdir(),
        lambda path: path.write_bytes(b"\xff" * 9999),
        lambda path: path.write_bytes(b"1" * 60),
        lambda path: path.write_bytes(b"-1 0"),
        lambda path: path.touch(),
    ],
    ids=["pipe", "link", "directory", "noise", "huge", "negative", "empty"],
)
def test_a_record_that_is_none_is_no_server(put: Callable[[Path], None], path: Path) -> None:
    binding = _binding(path)
    (path / "server.pid").unlink()
    put(path / "server.pid")
    assert not _server(binding)
    assert binding.begun()


def test_a_process_that_is_no_server_is_none_whatever_is_written_down(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is stopped would be killed."""
    monkeypatch.setattr(supervisor, "is_server", process.is_server)
    assert not _server(_binding(path))


def test_a_binding_that_was_taken_down_and_brought_up_again_is_found(path: Path) -> None:
    binding = _binding(path)
    for name in ("journal.json", "server.pid"):
        (path / name).unlink()
    path.rmdir()
    assert not binding.begun()
    path.mkdir(mode=0o700)
    _fill(path)
    assert binding.begun()
    assert _server(binding)


def _made_anew(path: Path) -> None:
    for name in ("journal.json", "server.pid"):
        (path / name).unlink()
    path.rename(path.with_name("away"))
    path.mkdir(mode=0o700)
    _fill(path)


@pytest.fixture
def anothers(path: Path) -> Iterator[supervisor.Binding]:
    """A binding that was taken down, and brought up by another `vmnet run`."""
    binding = _binding(path)
    _made_anew(path)
    directory = own_directory(str(path))
    fcntl.flock(directory, fcntl.LOCK_EX)
    yield binding
    os.close(directory)


def test_what_another_run_is_in_charge_of_is_not_adopted(anothers: supervisor.Binding) -> None:
    assert not anothers.begun()
    assert not _server(anothers)


def test_a_journal_that_is_lost_makes_the_directory_nobody_elses(path: Path) -> None:
    """`vmnet down` still gives the pod back, from the note on the NIC."""
    binding = _binding(path)
    fcntl.flock(binding._directory, fcntl.LOCK_EX)
    (path / "journal.json").unlink()
    assert not binding.is_anothers()
    assert not binding.begun()
    _fill(path)
    assert binding.begun()


def test_a_directory_that_is_adopted_is_locked(path: Path) -> None:
    binding = _binding(path)
    _made_anew(path)
    assert binding.begun()
    directory = own_directory(str(path))
    with pytest.raises(BlockingIOError):
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(directory)


def test_where_no_lock_is_to_be_had_the_binding_is_found_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_descriptor: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    binding = _binding(path)
    _made_anew(path)
    assert binding.begun()


@pytest.mark.parametrize("mode", [0o755, 0o777])
def test_another_directory_of_that_path_is_not_believed(mode: int, path: Path) -> None:
    binding = _binding(path)
    (path / "journal.json").unlink()
    path.rename(path.with_name("away"))
    path.mkdir()
    path.chmod(mode)
    _fill(path)
    assert not binding.begun()


def _full(*_arguments: object, **_more: object) -> int:
    """Be the kernel where the pod has as many processes as it may."""
    raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")


@pytest.fixture
def alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> supervisor.Supervisor:
    """A supervisor in a pod that has as many processes as it may; nothing is waited for."""
    monkeypatch.setattr(os, "posix_spawn", _full)
    monkeypatch.setattr(supervisor, "_GIVE_BACK_SECONDS", 0.0)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    return _supervisor(_binding(path))


def _supervisor(binding: supervisor.Binding) -> supervisor.Supervisor:
    wakeup, waker = os.pipe()
    os.write(waker, bytes([signal.SIGCHLD]))
    return supervisor.Supervisor(binding, [], wakeup)


def test_an_up_that_cannot_be_run_is_tried_again(
    alone: supervisor.Supervisor, capfd: pytest.CaptureFixture[str]
) -> None:
    alone._due = 0
    alone._deaths = 4
    alone._turn()
    assert alone._deaths == 5
    assert alone._due is not None
    assert "`vmnet up` cannot be run: Resource temporarily unavailable: starting another" in capfd.readouterr().err


def test_a_down_that_cannot_be_run_is_tried_again(
    alone: supervisor.Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_once(*_arguments: object, **_more: object) -> int:
        monkeypatch.setattr(os, "posix_spawn", lambda *_arguments, **_more: 4242)
        return _full()

    monkeypatch.setattr(os, "posix_spawn", full_once)
    monkeypatch.setattr(os, "waitpid", lambda pid, _options: (pid, 7 << 8) if pid == 4242 else (0, 0))
    monkeypatch.setattr(supervisor, "_GIVE_BACK_SECONDS", 60.0)
    assert alone._give_back() == 7


def test_a_pod_that_is_left_handed_over_is_told_of(
    alone: supervisor.Supervisor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("VMNET_TERMINATION_LOG", str(tmp_path / "last"))
    assert alone._give_back() == 5
    said = "`vmnet down` cannot be run: Resource temporarily unavailable; the pod is still handed over"
    assert said in capfd.readouterr().err
    assert f"run `vmnet down --interface eth0 --state-dir {tmp_path}`" in (tmp_path / "last").read_text()


def test_a_command_that_is_stopped_when_the_terminal_has_hung_up_stops_nobody_else(
    alone: supervisor.Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hung_up(*_arguments: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    stopped: list[int] = []
    monkeypatch.setattr(os, "tcsetpgrp", hung_up)
    monkeypatch.setattr(os, "kill", lambda _pid, number: stopped.append(number))
    alone._pid, alone._terminal = 4242, True
    alone._stopped(4242)
    assert (alone._terminal, stopped) == (False, [])


@pytest.mark.parametrize("code", [0, 3])
def test_who_finds_another_run_in_charge_touches_nothing(
    anothers: supervisor.Binding, code: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whether its `vmnet up --resume` came before the other's `up`, or after it and found all well."""
    monkeypatch.setattr(os, "posix_spawn", _full)
    mine = _supervisor(anothers)
    mine._revived(code)
    assert (mine._code, mine._due) == (0, None)
    assert mine._give_back() == 0
    assert capfd.readouterr().err.count("taken-down") == 1


def test_who_ends_before_it_has_heard_of_another_run_touches_nothing(
    anothers: supervisor.Binding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "posix_spawn", _full)
    assert _supervisor(anothers)._give_back() == 0
