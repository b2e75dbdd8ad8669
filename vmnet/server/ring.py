"""The last frames that the server took, sent or ignored, and why: few, and not the whole of long ones."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from vmnet.server.json_text import Json

    Kept = tuple[float, str, str, int, bytes]

GUEST, SERVER, NETWORK = "guest", "server", "network"
"""Who sent a frame."""
FRAMES = 64
SNAPLEN = 600
"""Octets that are kept of a frame: all that DHCP clients send (RFC 2132 §9.10), and less than 40 KiB in all."""


class Ring:
    """The newest 64 frames with a number each, so that a reader knows which it has seen."""

    __slots__ = ("_clock", "_frames", "count")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._frames: list[Kept] = []
        self.count = 0
        """How many frames there have been."""

    def keep(self, sender: str, word: str, frame: bytes) -> None:
        """Keep a frame with what became of it in a word: an event, or the reason why it was ignored."""
        kept = (self._clock(), sender, word, len(frame), frame if len(frame) <= SNAPLEN else frame[:SNAPLEN])
        if self.count < FRAMES:
            self._frames.append(kept)
        else:
            self._frames[self.count % FRAMES] = kept
        self.count += 1

    def report(self) -> list[dict[str, Json]]:
        """The frames, the oldest first. `at` is the clock's seconds, `length` the octets that the frame had."""
        numbers = range(max(0, self.count - FRAMES), self.count)
        return [_entry(number, self._frames[number % FRAMES]) for number in numbers]


def _entry(number: int, kept: Kept) -> dict[str, Json]:
    at, sender, word, length, frame = kept
    return {"number": number, "at": at, "sender": sender, "word": word, "length": length, "frame": frame.hex()}
