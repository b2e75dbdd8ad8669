"""What vmnet says on stderr: one line for people on a terminal, one JSON object a line for machines."""

from __future__ import annotations

import contextlib
import json
import os
import sys


def say(level: str, event: str, message: str, **fields: object) -> None:
    """Write one line. `event` is a fixed word to search for, `message` one sentence, `fields` for machines.

    A caller that closed stderr must not make us fail.
    """
    text = escape(message)
    if os.isatty(2):
        line = f"vmnet: {text}" if level == "info" else f"vmnet: {level}: {text}"
    else:
        line = json.dumps({"level": level, "event": event, "message": text, **fields})
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)  # noqa: T201 # the one place that may


def escape(text: str) -> str:
    """Show control characters instead of sending them to a terminal: names may come from anybody."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
