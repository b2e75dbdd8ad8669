"""Every remedy there is: what it names exists, and none tells anybody to delete what vmnet has not made.

Collected from the strings of the code (findings of doctor, errors, causes of `wait`) and from the documents.
"""

from __future__ import annotations

import ast
import functools
import re
import shlex
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from vmnet.cli import main
from vmnet.diagnosis.table import CHECKS
from vmnet.errors import UsageError
from vmnet.settings import file
from vmnet.settings.advice import at_this_place, place_flags
from vmnet.settings.config import Config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
UNKNOWN = "{}"
"""Stands for what an f-string fills in."""
PAGES = ("README.md", "docs/*.md", "docs/guide/*.md", "docs/operate/*.md")


class Said(NamedTuple):
    """A sentence, and where it stands."""

    where: str
    text: str


def _strings(node: ast.AST) -> Iterator[str]:
    """Give all strings but docstrings; an f-string as one."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else UNKNOWN for part in child.values)
            yield "".join(map(str, parts))
            for part in child.values:
                yield from _strings(part)
        elif isinstance(child, ast.Constant):
            if isinstance(child.value, str):
                yield child.value
        elif not (isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant | ast.JoinedStr)):
            yield from _strings(child)


@functools.cache
def in_the_code() -> tuple[Said, ...]:
    """Give all texts in the code. It is read only by who asks: that takes longer than most tests."""
    return tuple(_texts())


def _texts() -> Iterator[Said]:
    for path in sorted((ROOT / "vmnet").rglob("*.py")):
        where = str(path.relative_to(ROOT))
        yield from (Said(where, text) for text in _strings(ast.parse(path.read_text("utf-8"))) if " " in text)


def in_the_pages() -> tuple[Said, ...]:
    """Give the documents, each as one text."""
    paths = sorted(chain.from_iterable(ROOT.glob(pattern) for pattern in PAGES))
    return tuple(Said(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")) for path in paths)


COMMAND = re.compile(r"`(vmnet [^`]+)`")
IN_BACKTICKS = re.compile(r"`([^`]+)`")
WHOLE = re.compile(r"(nft|sysctl|tcpdump|bridge|ss|ip (-\d )?(link|address|route|rule|tuntap)) (?!is |saddr )")
"""How a text begins that is a command as a whole, or several with semicolons between."""
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
CODE = re.compile(r"VMN-\d+")
PAGE = re.compile(r"(?<![\w/.-])(?:docs|tests|testbed)/[\w/-]+\.(?:md|py)(?:#[\w-]+)?")
KEY = re.compile(r"\b((?:dns|ntp|boot|lease|dhcp)\.[a-z_]+)\b(?! has| ends)")
DELETES = re.compile(r"\b(ip link del(ete)?|ip tuntap del|rm -|nft (delete|flush)|ip route del|kill -)")
PLACEHOLDERS = {"UID[:GID]": "107:107", "CIDR": "10.0.0.0/24", "MAC": "52:54:00:00:00:01", "ADDRESS": "10.0.0.1"}
"""What a person puts there."""
NOT_TYPED = ("…", "--help", "VERB")
"""A command with one of these is a way to speak of it."""
OF_OTHERS = {"--net", "--cap-add", "--device", "--user"}
"""Flags in messages that belong to nsenter, podman and docker."""


def _sections() -> Iterator[tuple[str, str]]:
    """What the pages say to do, by a code of doctor or a cause of `wait`."""
    for name, begins in (("doctor.md", r"\*Do:\*"), ("watching.md", "")):
        text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        for section in re.split("^### ", text, flags=re.MULTILINE)[1:]:
            title, _, body = section.partition("\n")
            parts = re.split(begins, body.partition("\n## ")[0])[1:] if begins else [body.partition("\n## ")[0]]
            yield title, " ".join(" ".join(part.partition("*See:*")[0].split()) for part in parts)


SECTIONS = dict(_sections())


def commands(text: str) -> list[str]:
    """Return the commands that a text names: of one word is none, and what begins with a dash is a flag."""
    if WHOLE.match(text):
        return text.split(" ; ")
    found = (" ".join(one.split()) for one in IN_BACKTICKS.findall(text))
    return [one for one in found if one == UNKNOWN or (" " in one and one[0] not in "-<")]


def _commands(said: tuple[Said, ...]) -> list[Said]:
    return sorted(
        {
            Said(where, " ".join(command.split()))
            for where, text in said
            for command in COMMAND.findall(text)
            if not any(word in command for word in NOT_TYPED)
        }
    )


def test_each_command_of_ours_can_be_typed() -> None:
    known = {verb.name for verb in main.VERBS}
    named = _commands((*in_the_code(), *in_the_pages()))
    assert len(named) > 100
    for where, command in named:
        words = shlex.split(command.replace(UNKNOWN, "1"))[1:]
        words = [PLACEHOLDERS.get(word, word) for word in words]
        assert words[0] in known, where
        whole = [option for action in _options(words[0]) for option in action]
        flags = [word.partition("=")[0] for word in words if word.startswith("--") and word != "--"]
        assert set(flags) <= set(whole), (where, command)


def _options(verb: str) -> Iterator[list[str]]:
    parser = main.parser()
    [subparsers] = [action for action in parser._actions if action.choices]
    for action in dict(subparsers.choices or {})[verb]._actions:
        yield list(action.option_strings)


def test_each_flag_in_a_message_is_one_of_ours() -> None:
    ours = {option for verb in main.VERBS for options in _options(verb.name) for option in options}
    ours |= {"--version", *OF_OTHERS}
    odd = {(where, flag) for where, text in in_the_code() for flag in FLAG.findall(text) if flag not in ours}
    assert odd == set()


@pytest.mark.parametrize("texts", [in_the_code, in_the_pages])
def test_each_finding_page_and_key_that_is_named_exists(texts: Callable[[], tuple[Said, ...]]) -> None:
    codes = {check.code for check in CHECKS}
    keys = {f"dns.{name}" for name in file.Dns.__struct_fields__}
    for where, text in texts():
        assert set(CODE.findall(text)) <= codes, where
        assert {key for key in KEY.findall(text) if key.startswith("dns.")} <= keys, where
        for page in PAGE.findall(text):
            name, _, anchor = page.partition("#")
            assert (ROOT / name).is_file(), (where, page)
            slugs = re.findall("^#+ (.*)$", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
            assert not anchor or anchor in {re.sub(r"[^\w-]", "", one.lower().replace(" ", "-")) for one in slugs}


def test_nobody_is_told_to_delete_what_vmnet_has_not_made() -> None:
    """But rules of our own table, which no binding and no link uses any more (VMN-605)."""
    told = {(where, text) for where, text in in_the_code() if DELETES.search(text)}
    assert {where for where, _ in told} <= {"vmnet/diagnosis/checks/left.py"}, told
    assert {text for _, text in told} <= {f"nft delete table {UNKNOWN}"}


def test_a_command_is_right_at_the_place_that_was_asked_about() -> None:
    flags = place_flags(Config(interface="net1", netns="pod 1", state_dir="/x"))
    said = "run `vmnet down`, then `vmnet up --mac MAC`; `vmnet exporter` and `vmnet hook install` are of no place"
    assert at_this_place(said, flags) == (
        "run `vmnet down --interface net1 --netns 'pod 1' --state-dir /x`, then "
        "`vmnet up --interface net1 --netns 'pod 1' --state-dir /x --mac MAC`; "
        "`vmnet exporter` and `vmnet hook install` are of no place"
    )
    assert place_flags(Config()) == ()
    assert at_this_place(said, ()) == said


def test_every_verb_that_acts_on_a_pod_gets_its_place() -> None:
    for verb in main.VERBS:
        takes = "--netns" in [option for options in _options(verb.name) for option in options]
        changed = at_this_place(f"`vmnet {verb.name}`", ("--netns", "x")) != f"`vmnet {verb.name}`"
        assert changed is takes, verb.name


def test_a_command_that_cannot_be_typed_would_be_seen() -> None:
    with pytest.raises(UsageError):
        main.parser().parse_args(["up", "--nameservers", "10.0.0.1"])
