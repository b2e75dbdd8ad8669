"""The frames that the server keeps, in one line each."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from vmnet.compile.scapy_layers import server_mac
from vmnet.diagnosis.dissect import summary
from vmnet.show.log import escape

if TYPE_CHECKING:
    from vmnet.control.report import Frame

_BROADCAST, _GROUP_BIT = "ff:ff:ff:ff:ff:ff", 1


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
