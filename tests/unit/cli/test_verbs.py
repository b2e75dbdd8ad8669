"""The command line's form: its screen of help, and the table that it is made of."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from vmnet.cli import main
from vmnet.cli.verbs import EXIT_CODES, GROUPS, Verb
from vmnet.cli.verbs import parser as parser_of
from vmnet.errors import UsageError

if TYPE_CHECKING:
    import argparse

NAMES = [verb.name for verb in main.VERBS]
EXAMPLES = [(verb.name, example) for verb in main.VERBS for example in verb.examples]
OPERATORS = ("<", ">", "|", "&")


def words(example: str) -> list[str]:
    """The arguments that a shell hands over, without redirections and what follows the command."""
    found: list[str] = []
    for word in shlex.split(example):
        if word in ("|", "&&", "&"):
            break
        if not word.startswith(OPERATORS):
            found.append(word)
    return found


def helped(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main.main([*arguments, "--help"])
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_help_fits_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    lines = helped(capsys).splitlines()
    assert len(lines) <= 24
    assert [line for line in lines if len(line) > 80] == []


def test_help_has_every_verb_under_its_group(capsys: pytest.CaptureFixture[str]) -> None:
    place: dict[str, str] = {}
    group = ""
    for line in helped(capsys).splitlines():
        if line.removesuffix(":") in GROUPS:
            group = line.removesuffix(":")
        elif line.startswith("  "):
            place[line.split()[0]] = group
    assert place == {verb.name: verb.group for verb in main.VERBS}


@pytest.mark.parametrize("name", NAMES)
def test_help_of_a_verb_ends_with_its_examples_and_the_exit_codes(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = helped(capsys, name)
    [verb] = [verb for verb in main.VERBS if verb.name == name]
    _, ends = text.split("\nexamples:\n")
    examples, last = ends.split("\n\n")
    assert tuple(line.strip() for line in examples.splitlines()) == verb.examples
    assert "VMNET_TAP for --tap" in last
    assert all(f"{code} {meaning}" in " ".join(last.split()) for code, meaning in EXIT_CODES)


@pytest.mark.parametrize(("name", "example"), EXAMPLES, ids=[example for _, example in EXAMPLES])
def test_every_example_is_a_command(name: str, example: str) -> None:
    program, *arguments = words(example)
    assert (program, arguments[0]) == ("vmnet", name)
    asked = main.parser(arguments).parse_args(arguments)
    assert asked.run is next(verb.run for verb in main.VERBS if verb.name == name)
    assert len(f"  {example}") <= 80


def test_every_verb_has_an_example_and_a_group() -> None:
    assert [verb.name for verb in main.VERBS if not verb.examples or verb.group not in GROUPS] == []


def _options(parser: argparse.ArgumentParser) -> dict[str, int]:
    """How many options each verb has."""
    [choices] = [action.choices for action in parser._actions if isinstance(action.choices, dict)]
    return {name: len(sub._actions) for name, sub in choices.items()}


def test_only_the_verb_that_is_called_gets_its_options() -> None:
    whole, narrow = _options(main.parser()), _options(main.parser(["up", "--tap", "vm0"]))
    assert narrow == {name: whole["up"] if name == "up" else 1 for name in whole}
    assert min(whole.values()) > 1


def test_a_verb_is_a_row_of_the_table() -> None:
    verb = Verb("fly", "look", lambda _asked: 3, "fly a round", (), ("vmnet fly",), "It lands.")
    parser = parser_of([verb])
    assert parser.parse_args(["fly"]).run(None) == 3
    assert "  fly             fly a round" in parser.format_help().splitlines()
    assert verb.description == "Fly a round. It lands."
    with pytest.raises(UsageError, match="vmnet --help"):
        parser.parse_args(["swim"])
