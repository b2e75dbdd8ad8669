"""Completion for bash, zsh and fish, written by shtab from the command line's own parser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import shtab

from vmnet.cli import main

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

PLACES = {
    "bash": "bash-completion/completions/vmnet",
    "zsh": "zsh/site-functions/_vmnet",
    "fish": "fish/vendor_completions.d/vmnet.fish",
}
"""Where each shell looks below share/."""
_WORDS = re.compile(r"[a-z0-9-]+(\|[a-z0-9-]+)+")
"""A metavar that says what there is to choose from; `vmnet.settings.config` checks it, not argparse."""
_FILES = dict.fromkeys(("FILE", "FILE.pcap", "FILE.tar", "DOMAIN.xml"), shtab.FILE) | {"DIR": shtab.DIRECTORY}


def script(shell: str) -> str:
    """Return the completion script for one of `PLACES`."""
    parser = main.parser()
    for action in _actions(parser):
        metavar = action.metavar if isinstance(action.metavar, str) else ""
        if metavar in _FILES:
            action.complete = _FILES[metavar]  # type: ignore[attr-defined] # where shtab looks for it
        elif _WORDS.fullmatch(metavar):
            action.choices = metavar.split("|")
    text: str = shtab.complete(parser, shell=shell)
    return text


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield all options and arguments, those of the verbs too."""
    for action in parser._actions:
        if isinstance(action.choices, dict):
            for sub in action.choices.values():
                yield from _actions(sub)
        else:
            yield action
