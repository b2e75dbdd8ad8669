"""Whether a program has a binding's tap open, and whether it is its own: asked before it is taken away."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

from vmnet.bindings.names import bridge_name, own_mac
from vmnet.bindings.whose import described
from vmnet.errors import RefusedError
from vmnet.kernel.tap import is_attached

if TYPE_CHECKING:
    from vmnet.model.links import Holder, Link, Status
    from vmnet.saved.schema import Journal

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
    who = " and ".join(map(str, holders)) or "a program that cannot be seen from here (in another container?)"
    raise RefusedError(
        f"{tap.ifname} is in use by {who}; shut that VM down first, or take its network away with "
        "`vmnet down --force`"
    )


def anothers(now: Status, journal: Journal) -> Link | None:
    """Return the link that has the name of the binding's tap and is somebody else's; None where there is none.

    One with another MAC that nobody uses may be our own: a bring-up that was killed had no time to give it one.
    """
    link = now.link(journal.settings.tap)
    if link is None or link.mac == own_mac(journal.pod.mac, "tap"):
        return None
    if link.controller == bridge_name(journal.pod.ifname):
        return None
    used = link.kind != "tun" or link.controller or is_attached(link.ifname) or _holders(link.ifname)
    return link if used else None


def whose(now: Status, link: Link, journal: Journal) -> str:
    """Say whose that link is, and that the binding's own is gone."""
    said = described(now, link, {}, _holders(link.ifname))
    return f"{link.ifname} is {said}, and {journal.pod.ifname}'s own tap is gone"


def refuse_anothers(now: Status, journal: Journal) -> None:
    """Refuse to make somebody else's link the binding's tap.

    Raises:
        RefusedError: it has the name of the binding's.
    """
    link = anothers(now, journal)
    if link:
        raise RefusedError(
            f"{whose(now, link, journal)}; run `vmnet down`, then `vmnet up`, which takes a free name for the "
            f"tap: both leave {link.ifname} alone"
        )


def _holders(ifname: str) -> tuple[Holder, ...]:
    from vmnet.kernel.tap_holders import tap_holders  # only where one is in use

    return tuple(holder for holder in tap_holders() if holder.ifname == ifname)
