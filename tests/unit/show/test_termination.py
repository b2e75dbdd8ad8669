"""The termination message: written where it is asked for, whole characters, never an error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vmnet.cli import main
from vmnet.show import termination


@pytest.fixture(autouse=True)
def kubernetes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Begin outside Kubernetes, with nothing asked for; where its file would be."""
    monkeypatch.delenv(termination.VARIABLE, raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr(termination, "_KUBERNETES", str(tmp_path / "termination-log"))
    return tmp_path / "termination-log"


def test_a_named_file_is_made_and_holds_the_last_word_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "last"
    monkeypatch.setenv(termination.VARIABLE, str(path))
    termination.leave("a long first word")
    termination.leave("second")
    assert path.read_bytes() == b"second\n"


def test_in_kubernetes_its_file_is_written_if_it_is_there(
    monkeypatch: pytest.MonkeyPatch, kubernetes: Path
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    termination.leave("nobody would read it")
    assert not kubernetes.exists()
    kubernetes.touch()
    termination.leave("cannot")
    assert kubernetes.read_bytes() == b"cannot\n"


def test_elsewhere_that_file_is_left_alone(kubernetes: Path) -> None:
    kubernetes.touch()
    termination.leave("cannot")
    assert kubernetes.read_bytes() == b""


def test_empty_means_nowhere(monkeypatch: pytest.MonkeyPatch, kubernetes: Path) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv(termination.VARIABLE, "")
    kubernetes.touch()
    termination.leave("cannot")
    assert kubernetes.read_bytes() == b""


@pytest.mark.parametrize("character", ["x", "ä", "\U0001f4a9"])
def test_no_more_than_is_read_and_no_broken_character(
    character: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "last"
    monkeypatch.setenv(termination.VARIABLE, str(path))
    termination.leave("é" + character * 5000)
    written = path.read_bytes()
    assert 4092 <= len(written) <= 4096
    assert set(written.decode()) == {"é", character, "\n"}


@pytest.mark.parametrize("path", ["/proc/nowhere/last", "/", "/" * 5000, "\udcff"])
def test_what_cannot_be_written_is_no_error(path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(termination.VARIABLE, path)
    termination.leave("cannot")


def test_a_failing_verb_leaves_what_it_says_on_stderr(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "last"
    monkeypatch.setenv(termination.VARIABLE, str(path))
    assert main.main(["up", "--mtu", "1\n2"]) == 2
    message = json.loads(capsys.readouterr().err)["message"]
    assert path.read_text(encoding="utf-8") == f"{message}\n"
    assert "1\\n2" in message


def test_a_verb_that_does_not_fail_leaves_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(termination.VARIABLE, str(tmp_path / "last"))
    with pytest.raises(SystemExit):
        main.main(["--version"])
    assert not Path(tmp_path / "last").exists()
