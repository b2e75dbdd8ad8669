"""The process of a hostile guest: it writes frames to a tap, over and over, from the moment the tap is there.

Run as `python -m testbed.hammer NETNS TAP FRAMES COUNT`. FRAMES is a file of frames, each behind its length in two
octets. It prints `attached`, and at the end of COUNT frames, or of the tap, how many it has sent.
"""

from __future__ import annotations

import errno
import os
import sys

from testbed.tap_copier import LOST, enter, open_tap

VNET_HDR = bytes(10)
NOT_YET = (errno.ENODEV, errno.EBUSY, errno.EINVAL)
"""There is no such tap, or the agent still holds it."""


def frames(path: str) -> list[bytes]:
    """Read the frames, each with the header that goes in front of it."""
    with open(path, "rb") as file:
        data = file.read()
    found, at = [], 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 2])
        found.append(VNET_HDR + data[at + 2 : at + 2 + length])
        at += 2 + length
    return found


def attached(tap: str) -> int:
    """Attach to the tap as soon as it can be; a guest does not wait politely, and so this does not either."""
    while True:
        try:
            return open_tap(tap)
        except OSError as error:
            if error.errno not in NOT_YET:
                raise


def hammer(tap: int, sent: list[bytes], count: int) -> int:
    """Write frames until so many are written or the tap is gone; give how many were."""
    done = 0
    while done < count:
        for frame in sent:
            try:
                os.write(tap, frame)
            except OSError as error:
                if error.errno not in LOST:  # a tap that is still down refuses them
                    return done
                continue
            done += 1
    return done


def main(argv: list[str]) -> None:
    """Attach, say so, hammer, say how much."""
    netns, tap, path, count = argv
    sent = frames(path)
    enter(netns)
    descriptor = attached(tap)
    print("attached", flush=True)  # noqa: T201 -- the sign that the guest is there
    print(f"sent {hammer(descriptor, sent, int(count))}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
