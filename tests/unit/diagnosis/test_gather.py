"""A server that was only just started is asked until it can know anything."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from vmnet.control.processes import LOG
from vmnet.control.report import FamilyReport, ServerReport
from vmnet.diagnosis import gather
from vmnet.saved.journal import JOURNAL, BindingDirectory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_mock import MockerFixture

COMPILING, SERVING, FAILED = (
    ServerReport(state, FamilyReport("silent")) for state in ("compiling", "serving", "failed")
)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[BindingDirectory]:
    (tmp_path / LOG).touch()
    opened = BindingDirectory(os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY), str(tmp_path))
    yield opened
    opened.close()


@pytest.mark.parametrize("last", [SERVING, FAILED, None], ids=["serving", "failed", "gone"])
def test_it_is_asked_again_whenever_it_says_something(
    mocker: MockerFixture, directory: BindingDirectory, tmp_path: Path, last: ServerReport | None
) -> None:
    answers = [COMPILING, COMPILING, last]

    def asked(_directory: BindingDirectory) -> ServerReport | None:
        with (tmp_path / LOG).open("a") as log:
            log.write("a line\n")
        return answers.pop(0)

    mocker.patch("vmnet.control.call.ask_server", side_effect=asked)
    assert gather.settled(directory) == last
    assert not answers


def test_one_that_never_has_its_replies_is_not_waited_for_for_ever(
    mocker: MockerFixture, directory: BindingDirectory
) -> None:
    ask = mocker.patch("vmnet.control.call.ask_server", return_value=COMPILING)
    assert gather.settled(directory, seconds=0.01) == COMPILING
    assert ask.call_count == 2


def test_without_a_log_it_is_asked_once(
    mocker: MockerFixture, directory: BindingDirectory, tmp_path: Path
) -> None:
    (tmp_path / LOG).unlink()
    ask = mocker.patch("vmnet.control.call.ask_server", return_value=SERVING)
    assert gather.settled(directory) == SERVING
    assert ask.call_count == 1


def _journal(path: Path, boot: str, mode: int = 0o700) -> Path:
    path.mkdir(parents=True)
    for each in (path, path.parent):
        each.chmod(mode)
    (path / JOURNAL).write_text(json.dumps({"boot_id": boot}, separators=(",", ":")))
    return path


def test_only_journals_of_bindings_that_are_of_another_boot_are_stale(tmp_path: Path) -> None:
    stale = [_journal(tmp_path / "netns-7" / "eth0", "then"), _journal(tmp_path / "netns-8" / "net1", "then")]
    _journal(tmp_path / "netns-9" / "eth0", "now")
    _journal(tmp_path / "netns-10" / "eth0", "")
    _journal(tmp_path / "netns-11" / "eth0" / "deeper", "then")
    _journal(tmp_path / "data" / "eth0", "then")
    assert gather._stale(str(tmp_path), "now") == list(map(str, stale))


def test_what_is_not_ours_alone_is_not_advised_to_be_deleted(tmp_path: Path) -> None:
    _journal(tmp_path / "netns-7" / "eth0", "then", 0o755)
    linked = _journal(tmp_path / "netns-8" / "eth0", "then")
    (linked / JOURNAL).rename(linked / "kept")
    (linked / JOURNAL).symlink_to("kept")
    _journal(tmp_path / "netns-9" / "eth0", "then")
    (tmp_path / "netns-9" / "eth0" / JOURNAL).chmod(0o606)
    (tmp_path / "netns-10").mkdir(mode=0o700)
    (tmp_path / "netns-10" / "eth0").symlink_to(linked)
    assert gather._stale(str(tmp_path), "now") == []


def test_of_a_state_directory_without_end_not_all_is_looked_at(tmp_path: Path, mocker: MockerFixture) -> None:
    mocker.patch.object(gather, "_MOST_ENTRIES", 3)
    for cookie in range(1, 6):
        for number in range(5):
            _journal(tmp_path / f"netns-{cookie}" / f"net{number}", "then")
    assert len(gather._stale(str(tmp_path), "now")) == 3
