"""What is read of a server's log when it is followed by another: nothing in it is believed."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

import pytest

from testbed.patience import PATIENCE
from vmnet.control.processes import LOG, last_words, leases_before, log_lines, watch_log
from vmnet.kernel.own_files import NotOursError
from vmnet.saved.journal import BindingDirectory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BOUND = b'{"family":"ipv4","lease":"bound"}\n'
ASKED6 = b'{"family":"ipv6","lease":"asked"}\n'
HOSTILE = (
    *(b'{"family":[]}', b'{"family":{}}', b'{"family":"ipv4","lease":[]}', b'{"family":"ipv4","lease":{}}'),
    *(b'{"family":null,"lease":"bound"}', b'{"family":"ipv5","lease":"bound"}', b'{"family":"ipv4","lease":7}'),
    *(b'{"family":"ipv4","lease":"made up"}', b'{"family":"ipv4","lease":"static"}', b"[]", b"7", b"null"),
    *(
        b"[" * 50_000,
        b'{"family":' * 5000,
        b'"' + b"\\" * 9999,
        b"\xff\xfe",
        b"\0",
        b"{",
        b"NaN",
        b'{"family":NaN}',
    ),
    *(b'{"family":"ipv4","lease":"silent"' + b" " * 5000 + b"}", b"9" * 60_000, b'{"family":1e999,"lease":1e999}'),
)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[BindingDirectory]:
    opened = BindingDirectory(os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY), str(tmp_path))
    yield opened
    opened.close()


def test_how_the_guest_stood_is_what_was_said_last(directory: BindingDirectory, tmp_path: Path) -> None:
    assert leases_before(directory) == "silent/silent"
    (tmp_path / LOG).write_bytes(
        BOUND + b'{"family":"ipv6","lease":"asked"}\n{"family":"ipv4","lease":"renewed"}\n'
    )
    assert leases_before(directory) == "renewed/asked"


def test_no_line_of_a_server_that_was_taken_over_is_in_the_way(
    directory: BindingDirectory, tmp_path: Path
) -> None:
    """One `{"family":[]}` and no `up` ever started a server again."""
    for line in HOSTILE:
        (tmp_path / LOG).write_bytes(BOUND + line + b"\n")
        assert leases_before(directory) == "bound/silent"
        (tmp_path / LOG).write_bytes(line + b"\n" + BOUND)
        assert leases_before(directory) == "bound/silent"


def test_of_a_log_that_is_not_ours_alone_nothing_is_read(directory: BindingDirectory, tmp_path: Path) -> None:
    """It may be a second name of a file of the node's, for whoever reads the support bundle."""
    (tmp_path / "somebodys").write_text("a secret\n")
    os.link(tmp_path / "somebodys", tmp_path / LOG)
    assert log_lines(directory, 4096) == []
    assert last_words(directory) == "its log is empty"


def test_a_log_that_grows_is_heard(directory: BindingDirectory, tmp_path: Path) -> None:
    log = os.open(tmp_path / LOG, os.O_WRONLY | os.O_CREAT, 0o600)
    watch = watch_log(directory)
    os.write(log, BOUND)
    assert select.select([watch], [], [], PATIENCE)[0]
    os.close(watch)
    os.close(log)


@pytest.mark.parametrize(
    "put",
    [
        lambda log, others: log.symlink_to(others),
        lambda log, others: os.link(others, log),
        lambda log, _others: os.mkfifo(log),
        lambda log, _others: log.mkdir(),
    ],
    ids=["link", "hard link", "pipe", "directory"],
)
def test_what_lies_in_the_place_of_the_log_is_not_watched(
    put: Callable[[Path, Path], None], directory: BindingDirectory, tmp_path: Path
) -> None:
    others = tmp_path / "others"
    others.write_bytes(b"another pod's")
    put(tmp_path / LOG, others)
    with pytest.raises(NotOursError):
        watch_log(directory)
