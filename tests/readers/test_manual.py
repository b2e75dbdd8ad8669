"""The manual pages, by the programs that show them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from testbed.netns import run
from tests.need import need
from tools import manual
from vmnet.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from vmnet.cli.verbs import Verb

PAGES = tuple(manual.pages())


def shown(page: Path) -> str:
    """What a reader sees, on a screen of 80 columns."""
    need("man", "man-db", "readers")
    return run(["env", "MANWIDTH=80", "LC_ALL=C.UTF-8", "man", "--warnings", "--local-file", page]).stdout


@pytest.mark.parametrize("name", PAGES)
def test_mandoc_finds_nothing(name: str, share: Path) -> None:
    need("mandoc", "mandoc", "readers")
    checked = run(["mandoc", "-Tlint", "-Wall", share / "man" / "man1" / name], check=False)
    assert (checked.stdout, checked.stderr) == ("", "")


@pytest.mark.parametrize("name", PAGES)
def test_options_can_be_pasted(name: str) -> None:
    """A bare hyphen may be shown as one that no shell takes (groff_char(7))."""
    title, *lines = manual.pages()[name].splitlines()
    assert title.startswith(".TH ")
    assert [line for line in lines if re.search(r"(?<!\\)-", line)] == []


@pytest.mark.parametrize("name", PAGES)
def test_man_warns_of_nothing(name: str, share: Path) -> None:
    need("man", "man-db", "readers")
    page = share / "man" / "man1" / name
    checked = run(["env", "LC_ALL=C.UTF-8", "man", "--warnings", "--local-file", "--troff-device=utf8", page])
    assert checked.stderr == ""


def test_a_page_for_each_verb_and_one_that_names_them_all(share: Path) -> None:
    assert set(PAGES) == {"vmnet.1", *(f"vmnet-{verb.name}.1" for verb in main.VERBS)}
    text = shown(share / "man" / "man1" / "vmnet.1")
    assert "take over the pod's network identity" in " ".join(text.split())
    for verb in main.VERBS:
        assert f"vmnet-{verb.name}(1)" in text


@pytest.mark.parametrize("verb", main.VERBS, ids=[verb.name for verb in main.VERBS])
def test_the_page_of_a_verb_has_its_options_and_examples(verb: Verb, share: Path) -> None:
    text = shown(share / "man" / "man1" / f"vmnet-{verb.name}.1")
    assert max(map(len, text.splitlines())) <= 80
    [choices] = [action.choices for action in main.parser()._actions if isinstance(action.choices, dict)]
    for action in choices[verb.name]._actions:
        assert all(f"\n       {option}" in text or f", {option}" in text for option in action.option_strings)
    for example in verb.examples:
        assert f"       {example}\n" in text


def test_whatis_finds_the_page(share: Path) -> None:
    need("man", "man-db", "readers")
    directory = share / "man"
    run(["mandb", "--quiet", "--user-db", "--no-straycats", directory])
    found = run(["env", f"MANPATH={directory}", "whatis", "vmnet-status"], check=False)
    [status] = [verb for verb in main.VERBS if verb.name == "status"]
    assert f"- {status.help}".replace("`", "") in found.stdout
