"""What becomes of a verb whose caller closed or filled a standard stream."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from testbed.patience import PATIENCE

ROOT = Path(__file__).parents[2]
VERB = "import sys; from vmnet.cli.main import main; sys.exit(main())"
CLOSED = ("<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-", "2>/dev/full")


def ended(redirected: str, *words: str) -> subprocess.CompletedProcess[str]:
    argv = ["sh", "-c", f'exec "$@" {redirected}', "sh", sys.executable, "-c", VERB, *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT, input="", timeout=PATIENCE)


@pytest.mark.parametrize("how", CLOSED)
def test_what_nobody_reads_is_nobodys_error(how: str) -> None:
    done = ended(how, "--version")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("how", CLOSED)
def test_an_error_keeps_its_exit_code(how: str) -> None:
    done = ended(how, "fly")
    assert done.returncode == 2
    assert done.stdout == ""


@pytest.mark.parametrize("words", [("--version",), ("--help",), ("up", "--help")])
def test_a_full_standard_output_is_said_in_a_line(words: tuple[str, ...]) -> None:
    done = ended(">/dev/full", *words)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert "cannot write to standard output: No space left on device" in line


def test_a_closed_standard_input_is_an_empty_one() -> None:
    done = ended("<&-", "domain")
    assert "a bug" not in done.stderr
    assert done.returncode == ended("", "domain").returncode
