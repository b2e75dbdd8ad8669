"""The process that floods: it writes one frame again and again, as a hostile guest's driver would.

Run by its path, with nothing but the standard library: `flooder.py DESCRIPTOR FRAMES_PER_SECOND SECONDS FRAME`.
The descriptor is an attached tap's, the frame is in hexadecimal with its virtio-net header, and 0 a second means
as many as will go. It prints `flooding` when it begins; at the end how many it sent, and in how many seconds.
"""

from __future__ import annotations

import os
import select
import sys
import time

BURST = 32
"""Frames between two looks at the clock. What is late is sent so many at once, never as one large wave."""


def flood(descriptor: int, rate: int, seconds: float, frame: bytes) -> tuple[int, float]:
    """Write the frame until the time is over; the number of frames and the time it took."""
    write, clock = os.write, time.monotonic
    sent, begun, due = 0, clock(), 0.0
    while (now := clock() - begun) < seconds:
        if rate and now < due:
            select.select([], [], [], due - now)
        for _ in range(BURST):
            write(descriptor, frame)
        sent += BURST
        due = max(due, now - 0.01) + BURST / (rate or 1)
    return sent, clock() - begun


def main(argv: list[str]) -> int:
    """Flood, and tell."""
    descriptor, rate, seconds, frame = argv
    print("flooding", flush=True)  # noqa: T201 -- the sign that it has begun
    sent, took = flood(int(descriptor), int(rate), float(seconds), bytes.fromhex(frame))
    print(sent, took)  # noqa: T201 -- what the test reads
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
