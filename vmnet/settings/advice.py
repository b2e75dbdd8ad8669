"""Commands in what we say, made right for the place that we were asked about. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmnet.settings.config import DEFAULT_STATE_DIR

if TYPE_CHECKING:
    from vmnet.settings.config import Config

_VERBS = (
    *("up", "down", "run", "launch", "serve", "plan", "status", "wait", "capture", "doctor", "support-bundle"),
    *("metrics", "render", "domain", "onDefineDomain"),
)


def place_flags(config: Config) -> tuple[str, ...]:
    """Return the flags that name the place again: what differs from where vmnet looks by itself."""
    named = (
        ("--interface", config.interface),
        ("--netns", config.netns),
        ("--state-dir", config.state_dir if config.state_dir != DEFAULT_STATE_DIR else ""),
    )
    return tuple(word for flag, value in named if value for word in (flag, value))


def at_this_place(text: str, flags: tuple[str, ...]) -> str:
    """Return the text with these flags in each command of vmnet that stands in backticks."""
    if not flags or "`vmnet " not in text:
        return text
    import shlex

    said = shlex.join(flags)
    for verb in _VERBS:
        command = f"`vmnet {verb}"
        for end in (" ", "`"):  # in this order: the first leaves nothing for the second
            text = text.replace(f"{command}{end}", f"{command} {said}{end}")
    return text
