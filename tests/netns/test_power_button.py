"""QEMU's parent, with real children and a QMP socket that this test plays: no pod and no guest."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GREETING = b'{"QMP": {"version": {}, "capabilities": ["oob"]}}\r\n'
LONGEST = 20
"""Seconds; no test waits so long unless it fails."""
STUBBORN = "trap '' TERM; echo up; while :; do read -r word && exit $word; done"
"""Hears nothing but what it reads, and SIGKILL."""
OBEDIENT = "trap 'echo term; exit 9' TERM; echo up; read -r word; exit $word"


@contextmanager
def parent(path: Path, grace: str, script: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a shell under the button until the block ends; what is written to the descriptor, it reads."""
    told, tell = os.pipe()
    place = ("--qmp", str(path), "--grace", grace)
    words = (sys.executable, "-m", "vmnet", "power-button", *place, "--", "sh", "-c", script)
    pipe = subprocess.PIPE
    process = subprocess.Popen(words, stdin=told, stdout=pipe, stderr=pipe, start_new_session=True)
    try:
        assert process.stdout
        assert process.stdout.readline() == b"up\n"
        yield process, tell
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the shell too, which would hold the pipes
        os.close(told)
        os.close(tell)
        process.communicate()


def events(process: subprocess.Popen[bytes]) -> list[str]:
    """What it says until it ends."""
    _, said = process.communicate(timeout=LONGEST)
    return [json.loads(line)["event"] for line in said.splitlines()]


@contextmanager
def qmp(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.settimeout(LONGEST)
        listening.bind(str(path))
        listening.listen()
        yield listening


def pressed(listening: socket.socket) -> tuple[socket.socket, list[str]]:
    """Take one press: the connection, and the commands in their order."""
    connection, _ = listening.accept()
    connection.settimeout(LONGEST)
    connection.sendall(GREETING)
    said = b""
    while said.count(b"}") < 2:
        said += connection.recv(4096)
    decoder, text, commands = json.JSONDecoder(), said.decode(), []
    while text:
        command, end = decoder.raw_decode(text)
        commands.append(command["execute"])
        text = text[end:].lstrip()
    return connection, commands


def test_the_button_is_pressed_and_the_guests_own_end_is_the_end(tmp_path: Path) -> None:
    path = tmp_path / "qmp"
    with qmp(path) as listening, parent(path, "60", STUBBORN) as (process, tell):
        process.terminate()
        connection, commands = pressed(listening)
        with connection:
            os.write(tell, b"0\n")
            assert events(process) == ["ending", "power-button"]
    assert commands == ["qmp_capabilities", "system_powerdown"]
    assert process.returncode == 0


def test_the_exit_code_is_qemus(tmp_path: Path) -> None:
    with parent(tmp_path / "qmp", "60", STUBBORN) as (process, tell):
        os.write(tell, b"7\n")
        assert events(process) == []
    assert process.returncode == 7


def test_a_guest_that_ignores_it_is_ended_when_the_grace_is_over(tmp_path: Path) -> None:
    path = tmp_path / "qmp"
    with qmp(path) as listening, parent(path, "0.2", OBEDIENT) as (process, _):
        process.terminate()
        with pressed(listening)[0]:
            assert events(process) == ["ending", "power-button", "power-cut"]
    assert process.returncode == 9


def test_a_qemu_that_ignores_sigterm_too_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "qmp"
    with qmp(path) as listening, parent(path, "0", STUBBORN) as (process, _):
        process.terminate()
        del listening
        assert events(process)[-1] == "power-cut"
    assert process.returncode == 128 + signal.SIGKILL


def test_whoever_asks_twice_is_in_a_hurry(tmp_path: Path) -> None:
    path = tmp_path / "qmp"
    with qmp(path) as listening, parent(path, "600", OBEDIENT) as (process, _):
        process.terminate()
        with pressed(listening)[0]:
            process.send_signal(signal.SIGINT)
            assert events(process) == ["ending", "power-button", "power-cut"]
    assert process.returncode == 9


@pytest.mark.parametrize("there", ["nothing", "nobody"])
def test_without_a_socket_the_power_is_cut_long_before_the_grace_is_over(there: str, tmp_path: Path) -> None:
    path = tmp_path / "qmp"
    if there == "nobody":
        with qmp(path):
            pass
    with parent(path, "600", OBEDIENT) as (process, _):
        process.terminate()
        assert events(process) == ["ending", "power-cut"]
    assert process.returncode == 9


@pytest.mark.parametrize("flood", [b"", b"\0", b'{"event": "POWERDOWN"}\r\n' * 4096])
def test_what_is_said_there_is_not_believed_and_not_waited_for(flood: bytes, tmp_path: Path) -> None:
    path = tmp_path / "qmp"
    with qmp(path) as listening, parent(path, "0.5", OBEDIENT) as (process, _):
        process.terminate()
        connection, _ = listening.accept()
        with connection:
            connection.setblocking(False)
            ended = os.pidfd_open(process.pid)
            while not select.select([ended], [], [], 0)[0]:
                ready = select.select([ended], [connection] if flood else [], [], LONGEST)
                assert ready[0] or ready[1]
                try:
                    connection.send(flood) if ready[1] else None
                except (BlockingIOError, ConnectionError, BrokenPipeError):
                    select.select([ended], [], [], LONGEST)
            os.close(ended)
        assert events(process) == ["ending", "power-button", "power-cut"]
    assert process.returncode == 9


def test_other_signals_are_qemus(tmp_path: Path) -> None:
    script = "trap 'echo hup; exit 3' HUP; echo up; while :; do read -r word; done"
    with parent(tmp_path / "qmp", "60", script) as (process, _):
        process.send_signal(signal.SIGHUP)
        assert events(process) == []
    assert process.returncode == 3


@pytest.mark.parametrize(("command", "code"), [("no-such-qemu", 127), ("/", 126), ("", 126)])
def test_a_command_that_cannot_be_run_is_a_shells_exit_code(command: str, code: int, tmp_path: Path) -> None:
    words = (sys.executable, "-m", "vmnet", "power-button", "--qmp", str(tmp_path / "qmp"), "--", command)
    done = subprocess.run(words, capture_output=True, timeout=LONGEST, check=False)
    assert done.returncode == code
    assert "cannot run" in json.loads(done.stderr)["message"]
