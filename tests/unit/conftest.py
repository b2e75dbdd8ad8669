"""Unit tests may compute and read files of the repository; they may not reach out."""

from __future__ import annotations

import os
import socket
import subprocess
from typing import NoReturn

import pytest


@pytest.fixture(autouse=True)
def nothing_reaches_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make opening a socket or starting a process an error."""

    def refuse(*_args: object, **_kwargs: object) -> NoReturn:
        raise AssertionError("a unit test may not open a socket or start a process")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(os, "posix_spawn", refuse)
    monkeypatch.setattr(os, "fork", refuse)
