"""Manual pages, for man(7), from the command line's own parser: vmnet(1), and one for each verb."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

from vmnet import __version__
from vmnet.cli import main
from vmnet.cli.verbs import ABOUT, ENVIRONMENT, EXIT_CODES, GROUPS, Verb
from vmnet.settings.config import DEFAULT_STATE_DIR

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

_DATE = "2026-11-27"
"""When what stands here last changed: a page shall not depend on when it is made."""
_QUOTED = re.compile(r"`([^`]+)`")


def pages() -> dict[str, str]:
    """Return each page by the name of its file."""
    parsers = _parsers()
    named = {f"vmnet-{verb.name}": _of(verb, parsers[verb.name]) for verb in main.VERBS}
    return {f"{name}.1": _page(name, lines) for name, lines in {"vmnet": _whole(), **named}.items()}


def _parsers() -> dict[str, argparse.ArgumentParser]:
    [parsers] = [action.choices for action in main.parser()._actions if isinstance(action.choices, dict)]
    return parsers


def _page(name: str, lines: Iterator[str]) -> str:
    title = f'.TH "{name.upper()}" "1" "{_DATE}" "vmnet {__version__}" "vmnet"'
    return "\n".join((title, ".ad l", ".nh", *lines, ""))


def _whole() -> Iterator[str]:
    yield from (".SH NAME", rf"vmnet \- {_text(ABOUT[0].lower() + ABOUT[1:].partition(':')[0])}")
    yield from (".SH SYNOPSIS", r".B vmnet", r"[\fB\-h\fR] [\fB\-\-version\fR] \fIVERB\fR ...")
    yield from (".SH DESCRIPTION", _prose(ABOUT), "Each verb has a page of its own.")
    for group in GROUPS:
        yield f".SS {group.capitalize()}"
        for verb in main.VERBS:
            if verb.group == group:
                yield from (".TP", rf".BR vmnet\-{_text(verb.name)} (1)", _prose(verb.description))
    yield from _environment()
    yield from (".SH FILES", ".TP", f".I {_text(DEFAULT_STATE_DIR)}")
    yield "Where the pod's facts are kept while a binding is up."
    yield ".SH EXIT STATUS"
    for code, meaning in EXIT_CODES:
        yield from (".TP", f".B {code}", _text(meaning))
    yield from (".SH SEE ALSO", *_see_also(f"vmnet-{verb.name}" for verb in main.VERBS))


def _of(verb: Verb, parser: argparse.ArgumentParser) -> Iterator[str]:
    yield from (".SH NAME", rf"vmnet\-{_text(verb.name)} \- {_text(verb.help)}")
    yield from (".SH SYNOPSIS", rf".B vmnet {_text(verb.name)}")
    yield from (_usage(action) for action in parser._actions)
    yield from (".SH DESCRIPTION", _prose(verb.description))
    yield ".SH OPTIONS"
    for action in parser._actions:
        yield from (".TP", _heading(action), _prose(_help(action)))
    yield from _environment()
    yield from (".SH EXIT STATUS", "See", ".BR vmnet (1).", ".SH EXAMPLES")
    for number, example in enumerate(verb.examples):
        yield from ((".PP",) if number else ())
        yield from (".nf", _text(example), ".fi")
    yield from (".SH SEE ALSO", *_see_also(["vmnet"]))


def _environment() -> tuple[str, ...]:
    return (".SH ENVIRONMENT", _prose(ENVIRONMENT))


def _see_also(names: Iterator[str] | list[str]) -> list[str]:
    *others, last = (f".BR {_text(name)} (1)" for name in names)
    return [*(f"{other}," for other in others), last]


def _heading(action: argparse.Action) -> str:
    """Return an option's names, or an argument's, as a tag."""
    value = _value(action)
    names = [rf"\fB{_text(name)}\fR" for name in action.option_strings]
    return ", ".join(f"{name} {value}".rstrip() for name in names) if names else value


def _usage(action: argparse.Action) -> str:
    """Return what of the synopsis is the action's."""
    value = _value(action)
    if not action.option_strings:
        return f"[{value} ...]" if action.nargs == "*" else value
    word = rf"\fB{_text(action.option_strings[0])}\fR {value}".rstrip()
    return word if action.required else f"[{word}]"


def _value(action: argparse.Action) -> str:
    """Return what stands for the value; nothing where the option takes none."""
    if action.nargs == 0:
        return ""
    named = action.metavar if isinstance(action.metavar, str) else "|".join(map(str, action.choices or ()))
    return rf"[\fI{_text(named)}\fR]" if action.nargs == "?" else rf"\fI{_text(named)}\fR"


def _help(action: argparse.Action) -> str:
    text = (action.help or "") % {"default": action.default}
    return f"{text[0].upper()}{text[1:]}."


def _text(text: str) -> str:
    r"""Escape what is roff's: `\`, hyphens that shall be minus signs, quotes, and what begins with a dot."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq")
    escaped = _QUOTED.sub(r"\\fB\1\\fR", escaped)
    return _shielded(escaped)


def _prose(text: str) -> str:
    """Break a text into lines as man(7) wants them, none longer than 80 characters."""
    lines = textwrap.wrap(_text(text), 80, break_on_hyphens=False, break_long_words=False)
    return "\n".join(map(_shielded, lines))


def _shielded(line: str) -> str:
    """Keep a line that begins with a dot from being a request."""
    return rf"\&{line}" if line.startswith(".") else line
