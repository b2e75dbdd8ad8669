"""The form of the command line: a table of verbs becomes argparse's parser, and a screen of help."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from vmnet import __version__
from vmnet.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

BRING_UP, LOOK, INTEGRATE = GROUPS = ("bring up", "look", "integrate")
ABOUT = "Let the VM in a pod take over the pod's network identity: IP, MAC, routes, DNS."
VARIABLE_PREFIX = "VMNET_"
ENVIRONMENT = f"Settings can also be given as variables, such as {VARIABLE_PREFIX}TAP for --tap; flags win."
EXIT_CODES = (
    (0, "ok"),
    (1, "unexpected"),
    (2, "usage"),
    (3, "refused before any change"),
    (4, "failed and rolled back"),
    (5, "roll-back incomplete"),
    (6, "wait timed out"),
    (7, "drift or finding"),
    (8, "libvirt failed"),
    (9, "domain refused"),
    (10, "domain crashed"),
    (11, "nothing bound"),
)
_WIDTH = 80
"""Columns of help that no terminal asks otherwise for."""


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb: what runs it, what there is to say of it, and which groups of options it takes."""

    name: str
    group: str
    """One of `GROUPS`."""
    run: Callable[[argparse.Namespace], int]
    help: str
    """One line of `vmnet --help`, which has place for 62 characters."""
    options: tuple[Callable[[argparse.ArgumentParser], None], ...]
    examples: tuple[str, ...]
    """Commands for a shell, which tests/netns/test_examples.py runs or at least parses."""
    more: str = ""
    """What its own help says beyond the line."""

    @property
    def description(self) -> str:
        """What it does, in sentences."""
        line = f"{self.help[0].upper()}{self.help[1:]}."
        return f"{line} {self.more}" if self.more else line


class Parser(argparse.ArgumentParser):
    """argparse, whose complaints are one line and an error of our tree."""

    def error(self, message: str) -> NoReturn:
        """Leave by an exception."""
        raise UsageError(f"{message}; see {self.prog} --help")


class _VerbParser(Parser):
    """The parser of one verb; its help ends with examples."""

    examples: tuple[str, ...] = ()

    def format_help(self) -> str:
        """Return the whole text."""
        import textwrap

        codes = ", ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES)
        ends = textwrap.fill(f"{ENVIRONMENT} Exit codes: {codes}.", _WIDTH)
        examples = (f"  {line}" for line in self.examples)
        return "\n".join((super().format_help(), "examples:", *examples, "", ends, ""))


class _Screen(Parser):
    """The parser of the whole; its help is the verbs in their groups, and fits a screen."""

    verbs: Sequence[Verb] = ()

    def format_help(self) -> str:
        """Return the whole text."""
        lines = ["usage: vmnet [-h] [--version] VERB ...; see `vmnet VERB --help`", ABOUT]
        for group in GROUPS:
            lines.append(f"{group}:")
            lines += [f"  {verb.name:<16}{verb.help}" for verb in self.verbs if verb.group == group]
        return "\n".join((*lines, ""))


def parser(verbs: Sequence[Verb], words: Container[str] | None = None) -> Parser:
    """Make the parser of these verbs.

    Only those among `words` get their options, since making all takes longer than anything else before the verb
    runs; without `words` each does.
    """
    whole = _Screen(prog="vmnet", description=ABOUT, allow_abbrev=False)
    whole.verbs = verbs
    whole.add_argument("--version", action="version", version=f"vmnet {__version__}")
    subparsers = whole.add_subparsers(metavar="VERB", required=True, parser_class=_VerbParser)
    for verb in verbs:
        sub = subparsers.add_parser(verb.name, help=verb.help, description=verb.description, allow_abbrev=False)
        sub.examples = verb.examples
        sub.set_defaults(run=verb.run)
        if words is None or verb.name in words:
            for add in verb.options:
                add(sub)
    return whole
