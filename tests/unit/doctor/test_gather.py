"""A server that was only just started is asked until it can know anything."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from vmnet.doctor import gather
from vmnet.journal import BindingDirectory
from vmnet.processes import LOG
from vmnet.server_report import FamilyReport, ServerReport

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

    mocker.patch("vmnet.server_call.ask_server", side_effect=asked)
    assert gather.settled(directory) == last
    assert not answers


def test_one_that_never_has_its_replies_is_not_waited_for_for_ever(
    mocker: MockerFixture, directory: BindingDirectory
) -> None:
    ask = mocker.patch("vmnet.server_call.ask_server", return_value=COMPILING)
    assert gather.settled(directory, seconds=0.01) == COMPILING
    assert ask.call_count == 2


def test_without_a_log_it_is_asked_once(
    mocker: MockerFixture, directory: BindingDirectory, tmp_path: Path
) -> None:
    (tmp_path / LOG).unlink()
    ask = mocker.patch("vmnet.server_call.ask_server", return_value=SERVING)
    assert gather.settled(directory) == SERVING
    assert ask.call_count == 1
