"""The saved facts: whole or not there, ours or not touched."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.testlib import layouts
from vmnet.errors import RefusedError, UsageError, WaitTimeoutError
from vmnet.kernel import file_lock
from vmnet.model.codec import encode
from vmnet.model.lease import Lease
from vmnet.model.settings import Settings
from vmnet.plumbing.discover import discover
from vmnet.saved import journal
from vmnet.saved.journal import StateDirectory
from vmnet.saved.schema import SCHEMA, Here, Journal

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Here(42, "b00t")
NO_LINK_NAMES = (
    *("", ".", "..", "/", "../../precious", "/root/.ssh", "a/b", "eth0/", "eth0\0", "eth0\n", "e\x1b[2J", "é"),
    *("x" * 16, "-eth0", " eth0", "\ud800", "lock.new/.."),
)
JOURNAL = Journal(
    schema=SCHEMA,
    boot_id=HERE.boot_id,
    netns_cookie=HERE.netns_cookie,
    pod=discover(layouts.status("bridge")),
    settings=Settings(owner=107),
    lease=Lease("02:00:00:00:00:01", "10.244.1.2", 24, "169.254.75.10"),
)


def _state(tmp_path: Path) -> StateDirectory:
    return StateDirectory(str(tmp_path / "run" / "vmnet"), 42)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    _state(tmp_path).make("eth0").save(JOURNAL)
    again = _state(tmp_path).existing("eth0")
    assert again is not None
    assert again.load(HERE) == JOURNAL
    assert _state(tmp_path).bindings() == ("eth0",)


def test_only_we_can_read_it(tmp_path: Path) -> None:
    directory = _state(tmp_path).make("eth0")
    directory.save(JOURNAL)
    for path, mode in ((".", 0o700), ("journal.json", 0o600)):
        assert os.stat(path, dir_fd=directory.descriptor).st_mode & 0o777 == mode


def test_nothing_begun_is_nothing_there(tmp_path: Path) -> None:
    assert _state(tmp_path).existing("eth0") is None
    assert _state(tmp_path).bindings() == ()
    assert _state(tmp_path).make("eth0").load(HERE) is None


def test_a_lock_without_a_binding_leaves_nothing_behind(tmp_path: Path) -> None:
    with _state(tmp_path).lock():
        assert [path.name for path in (tmp_path / "run" / "vmnet").iterdir()] == ["netns-42"]
    assert list((tmp_path / "run" / "vmnet").iterdir()) == []


def test_removed_is_gone_down_to_the_namespaces_directory(tmp_path: Path) -> None:
    state = _state(tmp_path)
    with state.lock():
        directory = state.make("eth0")
        directory.save(JOURNAL)
        directory.remove()
    assert list((tmp_path / "run" / "vmnet").iterdir()) == []


@pytest.mark.parametrize("failing", ["write", "fsync", "rename"])
def test_a_full_disk_leaves_the_old_journal_whole(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = _state(tmp_path).make("eth0")
    directory.save(JOURNAL)

    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, full)
        with pytest.raises(RefusedError, match=r"No space left on device.*--state-dir"):
            directory.save(replace(JOURNAL, settings=Settings(owner=1)))
    assert directory.load(HERE) == JOURNAL
    assert [path.name for path in Path(directory.path).iterdir()] == ["journal.json"]


@pytest.mark.parametrize(
    "text", [b"", b"{", b"null", b"{}", b"\xff\xfe", b'{"schema":1}', json.dumps([]).encode(), b"[" * 60_000]
)
def test_a_corrupt_journal_is_refused_in_one_line(text: bytes, tmp_path: Path) -> None:
    directory = _state(tmp_path).make("eth0")
    directory.write("journal.json", text)
    with pytest.raises(RefusedError, match=r"journal\.json cannot be used: ") as caught:
        directory.load(HERE)
    assert "\n" not in str(caught.value)


def test_what_is_too_much_to_be_read_back_is_not_saved_and_what_is_there_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = _state(tmp_path).make("eth0")
    directory.save(JOURNAL)
    size = len(encode(JOURNAL))
    monkeypatch.setattr(journal, "LARGEST_SAVED", size)
    directory.save(JOURNAL)
    larger = replace(JOURNAL, settings=Settings(owner=1070))
    for save in (directory.save, directory.renew):
        with pytest.raises(RefusedError, match=rf"of eth0 are too many to keep: {size + 1} bytes, {size} at most"):
            save(larger)
    assert directory.load(HERE) == JOURNAL


def test_what_is_saved_at_most_is_read_with_all_that_a_later_schema_adds() -> None:
    assert journal.LARGEST_JOURNAL >= 1.5 * journal.LARGEST_SAVED


def test_more_than_the_kernel_gives_at_once_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = _state(tmp_path).make("eth0")
    directory.write("journal.json", b"0123456789")
    read = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, size: read(descriptor, min(size, 3)))
    assert [directory.read("journal.json", at_most) for at_most in (4, 10, 99)] == [
        b"0123",
        b"0123456789",
        b"0123456789",
    ]


@pytest.mark.parametrize("ifname", NO_LINK_NAMES)
def test_no_name_leads_out_of_the_namespaces_directory(ifname: str, tmp_path: Path) -> None:
    state = _state(tmp_path)
    state.make("eth0").save(JOURNAL)
    precious = tmp_path / "run" / "precious"
    precious.mkdir(mode=0o700)
    (precious / "key").touch()
    for call in (state.existing, state.make):
        with pytest.raises(UsageError, match="is no link name: there is no directory of that name"):
            call(ifname)
    assert (precious / "key").exists()
    assert state.bindings() == ("eth0",)


def test_a_link_in_the_journals_place_is_not_followed(tmp_path: Path) -> None:
    directory = _state(tmp_path).make("eth0")
    target = tmp_path / "target"
    target.write_text("{}")
    os.symlink(target, "journal.json", dir_fd=directory.descriptor)
    with pytest.raises(RefusedError, match=r"journal\.json is not a regular file that only uid"):
        directory.load(HERE)
    directory.save(JOURNAL)
    assert target.read_text() == "{}"
    assert directory.load(HERE) == JOURNAL


def test_what_lies_in_the_new_journals_place_is_not_written_to(tmp_path: Path) -> None:
    """A second name of somebody's file, a pipe that nobody reads, what a killed agent has left."""
    directory = _state(tmp_path).make("eth0")
    somebodys = tmp_path / "somebodys"
    somebodys.write_text("theirs")
    places: tuple[Callable[[str, int], None], ...] = (
        lambda name, place: os.link(somebodys, name, dst_dir_fd=place),
        lambda name, place: os.symlink(somebodys, name, dir_fd=place),
        lambda name, place: os.mkfifo(name, dir_fd=place),
        lambda name, place: os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0o666, dir_fd=place)),
    )
    for put in places:
        put("journal.json.new", directory.descriptor)
        directory.save(JOURNAL)
        assert directory.load(HERE) == JOURNAL
    assert somebodys.read_text() == "theirs"


def test_a_log_that_is_not_ours_alone_is_not_written_to(tmp_path: Path) -> None:
    directory = _state(tmp_path).make("eth0")
    somebodys = tmp_path / "somebodys"
    somebodys.write_text("theirs")
    os.link(somebodys, "server.log", dst_dir_fd=directory.descriptor)
    with pytest.raises(RefusedError, match=r"server\.log is not a regular file that only uid \d+ can"):
        directory.open_to_append("server.log")
    os.unlink("server.log", dir_fd=directory.descriptor)
    os.mkfifo("server.log", dir_fd=directory.descriptor)
    with pytest.raises(RefusedError, match=r"server\.log is not a regular file that only uid"):
        directory.open_to_append("server.log")


def test_a_directory_that_was_opened_to_others_meanwhile_is_no_reason_to_fail_in_the_end(tmp_path: Path) -> None:
    with _state(tmp_path).lock():
        (tmp_path / "run" / "vmnet" / "netns-42").chmod(0o755)


def test_a_pipe_in_the_journals_place_does_not_hang_us(tmp_path: Path) -> None:
    directory = _state(tmp_path).make("eth0")
    os.mkfifo("journal.json", dir_fd=directory.descriptor)
    with pytest.raises(RefusedError, match="not a regular file that only uid"):
        directory.load(HERE)


def test_a_directory_that_others_can_write_is_refused(tmp_path: Path) -> None:
    state = _state(tmp_path)
    directory = state.make("eth0")
    os.fchmod(directory.descriptor, 0o777)
    with pytest.raises(RefusedError, match="must belong to uid"):
        state.make("eth0")


@pytest.mark.parametrize("root", ["/proc", "/proc/self", "/proc/self/fd", "/dev/null", "/proc/self/exe/x"])
def test_where_nothing_can_be_kept_that_is_said_at_once(root: str) -> None:
    state = StateDirectory(root, 42)
    for call in (lambda: state.make("eth0"), lambda: state.lock().__enter__()):
        with pytest.raises(
            (UsageError, RefusedError), match=r"cannot write the state directory .*; name another place"
        ):
            call()


def test_a_directory_that_is_always_gone_again_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_made", lambda _name, _parent: (_ for _ in ()).throw(FileNotFoundError()))
    with pytest.raises(UsageError, match="what is made there is gone at once"):
        _state(tmp_path).lock().__enter__()


def test_a_lock_that_nobody_lets_go_of_names_its_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_lock, "PATIENCE_SECONDS", 0)
    with (
        _state(tmp_path).lock(),
        pytest.raises(WaitTimeoutError, match=r"netns-42/lock is still locked by .*; try again when"),
    ):
        _state(tmp_path).lock().__enter__()
    with _state(tmp_path).lock():
        pass


@pytest.mark.parametrize("put", [os.mkfifo, lambda path: path.symlink_to("/etc/passwd"), os.mkdir])
def test_what_lies_in_the_locks_place_is_one_line(put: Callable[[Path], None], tmp_path: Path) -> None:
    (tmp_path / "run" / "vmnet" / "netns-42").mkdir(parents=True, mode=0o700)
    put(tmp_path / "run" / "vmnet" / "netns-42" / "lock")
    with pytest.raises((UsageError, RefusedError), match="cannot write the state directory"):
        _state(tmp_path).lock().__enter__()


def test_a_file_in_the_state_directorys_place_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    for call in (lambda: _state(tmp_path).make("eth0"), lambda: _state(tmp_path).lock().__enter__()):
        with pytest.raises(UsageError, match="--state-dir"):
            call()
