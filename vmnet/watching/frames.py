"""The frames that the server keeps, as it tells of them: read strictly, and in one line each."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from vmnet.log import escape
from vmnet.packets import server_mac
from vmnet.watching.dissect import summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_BROADCAST, _GROUP_BIT = "ff:ff:ff:ff:ff:ff", 1
_SHORTEST = 14


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame, or its beginning: its number, when and by whom it was sent, and what became of it in a word."""

    number: int
    at: float
    """CLOCK_MONOTONIC, seconds."""
    sender: str
    word: str
    length: int
    data: bytes


def read(lines: Iterable[bytes]) -> Iterator[Frame]:
    """Read what the server said. A line that is none of its is left out."""
    for line in lines:
        try:
            said = json.loads(line)
            data = bytes.fromhex(said["frame"])
            frame = Frame(
                *(int(said["number"]), float(said["at"]), str(said["sender"]), str(said["word"])),
                *(int(said["length"]), data),
            )
        except (ValueError, LookupError, TypeError, RecursionError):
            continue
        if len(data) >= _SHORTEST:
            yield frame


@dataclass(frozen=True, slots=True)
class Scene:
    """Who is who, and how far the wall clock is ahead of CLOCK_MONOTONIC."""

    vm_mac: str
    offset: int
    """Nanoseconds."""

    def nanoseconds(self, frame: Frame) -> int:
        """When it was sent, since 1970."""
        return self.offset + round(frame.at * 1e9)

    def moment(self, frame: Frame) -> datetime:
        """The same, in UTC."""
        return datetime.fromtimestamp(self.nanoseconds(frame) / 1e9, UTC)

    def recipient(self, frame: Frame) -> str:
        """Whom it was sent to."""
        mac = frame.data[:6].hex(":")
        known = {self.vm_mac: "guest", server_mac(self.vm_mac): "server", _BROADCAST: "all"}
        return known.get(mac, "all" if frame.data[0] & _GROUP_BIT else mac)


def scene(vm_mac: str) -> Scene:
    """The scene as of now."""
    wall = time.time_ns()  # noqa: TID251 # a capture's times are the wall clock's, for it is read beside others
    return Scene(vm_mac, wall - time.monotonic_ns())


def line(frame: Frame, told: Scene) -> str:
    """Show it in one line, whatever it holds."""
    when = told.moment(frame).astimezone().strftime("%H:%M:%S.%f")[:-3]
    way = f"{frame.sender} → {told.recipient(frame)}"
    return escape(f"{when}  {way:<17} {summary(frame.data)}  [{frame.word}]")


def value(frame: Frame, told: Scene) -> dict[str, Any]:
    """Return it as JSON has it."""
    return {
        "number": frame.number,
        "at": frame.at,
        "time": told.moment(frame).isoformat(),
        "sender": frame.sender,
        "to": told.recipient(frame),
        "what": summary(frame.data),
        "word": frame.word,
        "length": frame.length,
        "frame": frame.data.hex(),
    }
