"""The last frames that the server took, sent or ignored, and why: few, and not the whole of long ones."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from vmnet.server.json_text import Json

    Entry = tuple[int, float, str, str, bytes, bytes | None]

GUEST, SERVER, NETWORK = "guest", "server", "network"
"""Who sent a frame."""
FRAMES = 64
SNAPLEN = 600
"""Octets that are shown of a frame: all that DHCP clients send (RFC 2132 §9.10). Kept is the whole of it."""


class Ring:
    """The newest 64 frames with a number each, so that a reader knows which it has seen."""

    __slots__ = ("_clock", "_entries", "count")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._entries: list[Entry] = []
        self.count = 0
        """How many frames there have been."""

    def keep(self, sender: str, word: str, frame: bytes, reply: bytes | None = None) -> None:
        """Keep a frame with what became of it in a word, an event or the reason to ignore it, and the reply."""
        entries, number = self._entries, self.count
        if len(entries) >= FRAMES:
            del entries[0]
        entries.append((number, self._clock(), sender, word, frame, reply))
        self.count = number + 1 if reply is None else number + 2

    def report(self) -> list[dict[str, Json]]:
        """The frames, the oldest first. `at` is the clock's seconds, `length` the octets that the frame had."""
        frames: list[dict[str, Json]] = []
        for number, at, sender, word, frame, reply in self._entries:
            frames.append(_frame(number, at, sender, word, frame))
            if reply is not None:
                frames.append(_frame(number + 1, at, SERVER, word, reply))
        return frames[-FRAMES:]


def _frame(number: int, at: float, sender: str, word: str, kept: bytes) -> dict[str, Json]:
    shown = kept[:SNAPLEN].hex()
    return {"number": number, "at": at, "sender": sender, "word": word, "length": len(kept), "frame": shown}
