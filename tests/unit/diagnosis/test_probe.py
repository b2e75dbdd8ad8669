"""The probe's words, and what it believes of an answer; tests/netns/test_probe.py asks real servers."""

from __future__ import annotations

import ast
import errno
import json
import os
from pathlib import Path

import pytest

from vmnet.diagnosis import probe
from vmnet.settings import config

_COSTLY = {"argparse", "json", "re", "socket", "subprocess", "dataclasses", "typing", "contextlib", "enum"}
_DEFAULTS = ("ready", "", "/run/vmnet")


def answer(**changes: object) -> bytes:
    """What a server says of itself, as far as a probe reads it."""
    return json.dumps({"state": "serving", "lease": "bound", "ipv6": None, **changes}).encode() + b"\n"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("INTERFACE", "STATE_DIR"):
        monkeypatch.delenv(f"VMNET_{name}", raising=False)


@pytest.mark.parametrize(
    ("words", "understood"),
    [
        ((), _DEFAULTS),
        (("--for", "bound"), ("bound", *_DEFAULTS[1:])),
        (("--for=bound", "--interface", "net1"), ("bound", "net1", "/run/vmnet")),
        (("--state-dir=/x", "--interface="), ("ready", "", "/x")),
        (("--for",), None),
        (("--for", "reachable"), None),
        (("--help",), None),
        (("-h",), None),
        (("bound",), None),
        (("--netns", "pod"), None),
        (("--interface", "eth0", "more"), None),
    ],
)
def test_what_is_not_a_probes_alone_is_argparses(
    words: tuple[str, ...], understood: tuple[str, str, str] | None
) -> None:
    assert probe.understood(words) == understood


def test_variables_count_and_flags_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMNET_INTERFACE", "net1")
    monkeypatch.setenv("VMNET_STATE_DIR", "/elsewhere")
    assert probe.understood(()) == ("ready", "net1", "/elsewhere")
    assert probe.understood(("--interface", "eth0")) == ("ready", "eth0", "/elsewhere")


def test_the_default_is_the_agents() -> None:
    assert probe.DEFAULT_STATE_DIR == config.DEFAULT_STATE_DIR


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (answer(), ("serving", ["bound"])),
        (answer(state="compiling", lease="silent"), ("compiling", ["silent"])),
        (answer(ipv6={"lease": "renewed"}, lease="silent"), ("serving", ["silent", "renewed"])),
    ],
)
def test_a_servers_words(text: bytes, said: tuple[str, list[str]]) -> None:
    assert probe.said(text) == said


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n",
        b"null\n",
        b"[]\n",
        b'"serving"\n',
        b"\xff\n",
        answer()[:-1],
        answer() + answer(),
        b" " + answer(),
        answer(state="fine"),
        answer(state=None),
        answer(state=["serving"]),
        answer(lease="BOUND"),
        answer(lease="bound\x1b[2J"),
        answer(lease={"bound": 1}),
        answer(ipv6=[]) + b" ",
        answer(ipv6="bound"),
        answer(ipv6={"lease": "all is well"}),
        answer(ipv6={}) + b"\n",
        b'{"state": "serving"}\n',
        b'{"state": NaN, "lease": "bound", "ipv6": null}\n',
        b'{"state": ' + b"9" * 5000 + b', "lease": "bound", "ipv6": null}\n',
        b"[" * 100_000 + b"\n",
        b'{"a":' * 100_000 + b"\n",
    ],
)
def test_what_no_server_of_ours_says(text: bytes) -> None:
    with pytest.raises(probe._No, match="what answers is not vmnet's DHCP server"):
        probe.said(text)


@pytest.mark.parametrize("interface", ["", "eth0"])
def test_a_binding_that_is_not_there_is_told_from_one_that_may_not_be_read(
    interface: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert probe.probe("ready", interface, str(tmp_path)) == 1
    nothing = "eth0 is not bound here" if interface else "no binding is up here"
    place = f"{f'--interface {interface} ' if interface else ''}--state-dir {tmp_path}"
    assert capfd.readouterr().err == f"not ready: {nothing}; run `vmnet up {place}` first\n"

    def refused(*_: object, **_named: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as refusing:
        refusing.setattr(os, "open" if interface else "scandir", refused)
        assert probe.probe("ready", interface, str(tmp_path)) == 1
    said = capfd.readouterr().err
    assert said.startswith(f"not ready: cannot read {tmp_path}/netns-")
    assert said.endswith(": Permission denied; run the probe as the user of `vmnet up`\n")


def test_a_state_directory_that_is_none_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert probe.probe("ready", "eth0", str(tmp_path / "file")) == 1
    assert capfd.readouterr().err.endswith("/eth0: Not a directory\n")


def test_it_imports_little() -> None:
    nodes = list(ast.walk(ast.parse(Path(probe.__file__).read_text(encoding="utf-8"))))
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    assert imported & _COSTLY == set()
