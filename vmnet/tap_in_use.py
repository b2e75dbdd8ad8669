"""Whether a program has a binding's tap open, and which: asked before the tap is taken away from it."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

from vmnet.errors import RefusedError
from vmnet.kernel.tap import is_attached

if TYPE_CHECKING:
    from vmnet.model import Link

_LETTING_GO = 20
_LOOK_AGAIN_SECONDS = 0.05
"""A second together: a QEMU that was ended just now may take a moment to let go."""


def refuse_in_use(tap: Link | None) -> None:
    """Refuse to take a tap away from a program that has it open.

    Raises:
        RefusedError: one has; it is named where it can be seen.
    """
    if tap is None:
        return
    for _ in range(_LETTING_GO):
        holders = () if not is_attached(tap.ifname) and tap.up else _holders(tap.ifname)
        if not holders and not is_attached(tap.ifname):
            return
        select.select([], [], [], _LOOK_AGAIN_SECONDS)
    who = " and ".join(holders) or "a program that cannot be seen from here, as one of another container is not"
    raise RefusedError(
        f"{tap.ifname} is in use by {who}; shut that VM down first, or take its network away with "
        "`vmnet down --force`"
    )


def _holders(ifname: str) -> tuple[str, ...]:
    from vmnet.kernel.tap_holders import tap_holders  # only where one is in use

    return tuple(str(holder) for holder in tap_holders() if holder.ifname == ifname)
