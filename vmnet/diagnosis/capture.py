"""`vmnet capture`: the last frames between guest and server, once or as they come."""

from __future__ import annotations

import contextlib
import json
import select
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmnet.agent.place import at
from vmnet.control import call
from vmnet.diagnosis import frames, output, pcap
from vmnet.diagnosis.sight import look
from vmnet.diagnosis.until_ctrl_c import until_ctrl_c
from vmnet.errors import RefusedError
from vmnet.show.log import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vmnet.agent.place import Place
    from vmnet.control.report import Frame
    from vmnet.diagnosis.frames import Scene
    from vmnet.saved.journal import BindingDirectory
    from vmnet.settings.config import Config

_LOOK_AGAIN = 0.25
"""Seconds: 64 frames in that time are far more than a guest's DHCP is."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What becomes of the frames."""

    path: str = ""
    """The capture file to write, `-` for stdout; empty for lines on stdout."""
    follow: bool = False
    as_json: bool = False


def capture(config: Config, wishes: Wishes) -> None:
    """Show the frames that the server keeps, and with `follow` those to come, until Ctrl-C.

    Raises:
        RefusedError: nothing is up here, or no server answers.
        UsageError: the capture file cannot be written.
    """
    with at(config) as place:
        directory, told = _served(place, config)
        kept = call.ask_frames(directory)
        if kept is None:
            raise RefusedError(
                "the DHCP server, which keeps the frames, does not answer; `vmnet up` starts another"
            )
        with _taking(wishes, told) as take:
            shown = _taken(kept, None, take)
            if wishes.follow:
                with until_ctrl_c() as goes_on:
                    _follow(directory, shown, take, goes_on)


def _served(place: Place, config: Config) -> tuple[BindingDirectory, Scene]:
    """Find the binding whose server is to be asked."""
    journal = look(place, config).report.journal
    directory = place.state.existing(journal.pod.ifname) if journal else None
    if journal is None or directory is None:
        raise RefusedError("there is no server to ask: no binding is up here; run `vmnet up` first")
    return directory, frames.scene(journal.vm_mac)


def _follow(
    directory: BindingDirectory, shown: Frame | None, take: Callable[[Frame], None], goes_on: Callable[[], bool]
) -> None:
    """Take what is new, from whichever server is there; one that begins anew counts from 0."""
    while goes_on():
        select.select([], [], [], _LOOK_AGAIN)
        kept = call.ask_frames(directory) or []
        if kept and shown and _is_anothers(kept, shown):
            say("info", "server-anew", "the DHCP server was restarted: frame numbers start again")
            shown = None
        shown = _taken(kept, shown, take)


def _is_anothers(kept: list[Frame], shown: Frame) -> bool:
    """Whether the frame that was shown last is none of theirs."""
    same = [frame for frame in kept if frame.number == shown.number]
    return kept[-1].number < shown.number or bool(same and same[0] != shown)


def _taken(kept: list[Frame], shown: Frame | None, take: Callable[[Frame], None]) -> Frame | None:
    """Take all after the one that was shown last; returns which is that now."""
    new = [frame for frame in kept if shown is None or frame.number > shown.number]
    if new and shown and new[0].number > shown.number + 1:
        say(
            "warning",
            "frames-lost",
            f"{new[0].number - shown.number - 1} frames were overwritten before they could be shown",
        )
    for frame in new:
        take(frame)
    return new[-1] if new else shown


@contextlib.contextmanager
def _taking(wishes: Wishes, told: Scene) -> Iterator[Callable[[Frame], None]]:
    """Give what shows or writes a frame."""
    if not wishes.path:
        yield lambda frame: _print(frame, told, as_json=wishes.as_json)
        return
    count = 0
    with output.opened(wishes.path, new=False) as file:
        file.write(pcap.header())
        file.flush()  # who reads a pipe is to see each frame as it comes

        def write(frame: Frame) -> None:
            nonlocal count
            file.write(pcap.record(told.nanoseconds(frame), frame.length, frame.data))
            file.flush()
            count += 1

        yield write
    say("info", "captured", f"{count} frames are in {output.named(wishes.path)}", frames=count)


def _print(frame: Frame, told: Scene, *, as_json: bool) -> None:
    text = json.dumps(frames.value(frame, told)) if as_json else frames.line(frame, told)
    print(text, flush=True)  # noqa: T201 # what was asked for goes to stdout
