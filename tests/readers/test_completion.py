"""Completion in real shells: bash and zsh on a terminal with the tabulator key, fish by its own question."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from testbed.netns import run
from tests.need import need
from tests.readers.terminal import Terminal, terminal
from tools.completion import PLACES
from vmnet.cli import main
from vmnet.model.settings import ISOLATIONS
from vmnet.settings.config import DHCP_MODES, PLAN_FORMATS, RENDER_FORMATS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROOM = "readers"
ANOTHER_LINE = "\x15\r"
"""Ctrl-U and Return: in both shells the line is gone, and a new one begins."""
VERBS = tuple(verb.name for verb in main.VERBS)
UNIQUE = [
    ("vmnet st", "vmnet status"),
    ("vmnet onD", "vmnet onDefineDomain"),
    ("vmnet plan --form", "vmnet plan --format"),
    ("vmnet plan --format s", "vmnet plan --format svg"),
    ("vmnet render --format kern", "vmnet render --format kernel-ip"),
    ("vmnet up --isolation dhcp", "vmnet up --isolation dhcp-only"),
    ("vmnet up --netns pod --ho", "vmnet up --netns pod --hostname"),
    ("vmnet wait --for bou", "vmnet wait --for bound"),
    ("vmnet doctor --domain gue", "vmnet doctor --domain guest-1.xml"),
    ("vmnet support-bundle --output old", "vmnet support-bundle --output old.tar"),
    ("vmnet hook inst", "vmnet hook install"),
    ("vmnet up --config cluster", "vmnet up --config cluster-1.yaml"),
    ("vmnet launch guest", "vmnet launch guest-1.xml"),
    ("vmnet up --state-dir fac", "vmnet up --state-dir facts/"),
]
"""What is typed before the key, and what stands there after it."""
SEVERAL = [
    ("vmnet ", VERBS),
    ("vmnet plan --format ", PLAN_FORMATS),
    ("vmnet render --format ", RENDER_FORMATS),
    ("vmnet up --dhcp ", DHCP_MODES),
    ("vmnet run --isolation ", ISOLATIONS),
    ("vmnet status --", ("--interface", "--netns", "--state-dir", "--json", "--help")),
    ("vmnet hook ", ("install", "uninstall")),
]
"""What is typed, and what there is to choose from."""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with a file for each kind that is asked for."""
    for name in ("cluster-1.yaml", "guest-1.xml", "old.tar"):
        (tmp_path / name).touch()
    (tmp_path / "facts").mkdir()
    return tmp_path


@contextmanager
def bash(share: Path, directory: Path) -> Iterator[Terminal]:
    need("bash", "bash", ROOM)
    (directory / "rc").write_text(f". {share / PLACES['bash']}\nPS1='ready> '\n", encoding="utf-8")
    with terminal(["bash", "--noprofile", "--rcfile", "rc", "-i"], directory, {}) as typed:
        typed.wait_for("ready> $")
        yield typed


@contextmanager
def zsh(share: Path, directory: Path) -> Iterator[Terminal]:
    need("zsh", "zsh", ROOM)
    functions = (share / PLACES["zsh"]).parent
    lines = (f"fpath=({functions} $fpath)", "autoload -U compinit", "compinit -u -D", "PROMPT='ready> '", "")
    (directory / ".zshrc").write_text("\n".join(lines), encoding="utf-8")
    with terminal(["zsh", "--no-globalrcs", "-i"], directory, {"ZDOTDIR": directory}) as typed:
        typed.wait_for("ready> $")
        yield typed


SHELLS = {"bash": bash, "zsh": zsh}


@pytest.mark.parametrize("shell", SHELLS)
def test_the_key_writes_what_can_only_be_meant(shell: str, share: Path, directory: Path) -> None:
    with SHELLS[shell](share, directory) as typed:
        for before, after in UNIQUE:
            typed.type(f"{before}\t")
            typed.wait_for(rf"{re.escape(after)} ?$")
            typed.type(ANOTHER_LINE)
            typed.wait_for("ready> $")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_key_shows_what_there_is_to_choose_from(shell: str, share: Path, directory: Path) -> None:
    with SHELLS[shell](share, directory) as typed:
        for before, choices in SEVERAL:
            typed.type(f"{before}\t\t")
            for choice in choices:
                typed.wait_for(rf"(?<![\w-]){re.escape(choice)}(?![\w-])")
            typed.type(ANOTHER_LINE)
            typed.wait_for("ready> $")


def fish(share: Path, directory: Path, line: str) -> dict[str, str]:
    """What fish offers for the line, each with its description."""
    need("fish", "fish", ROOM)
    words = ("env", "-C", directory, f"HOME={directory}", "fish", "--no-config", "-c")
    asked = run([*words, f"source {share / PLACES['fish']}; complete --do-complete '{line}'"])
    offered = (offer.partition("\t") for offer in asked.stdout.splitlines())
    return {word: description for word, _, description in offered}


@pytest.mark.parametrize(("before", "after"), UNIQUE)
def test_fish_offers_what_can_only_be_meant(before: str, after: str, share: Path, directory: Path) -> None:
    assert list(fish(share, directory, before)) == [after.rsplit(maxsplit=1)[-1]]


@pytest.mark.parametrize(("before", "choices"), SEVERAL)
def test_fish_offers_what_there_is_to_choose_from(
    before: str, choices: tuple[str, ...], share: Path, directory: Path
) -> None:
    assert set(choices) <= set(fish(share, directory, before))


def test_fish_says_what_a_verb_does(share: Path, directory: Path) -> None:
    offered = fish(share, directory, "vmnet ")
    for verb in main.VERBS:
        assert offered[verb.name].startswith(verb.description[:40])
