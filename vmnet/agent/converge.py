"""Apply what differs until a read shows no difference."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from vmnet.errors import KernelError, UnexpectedError
from vmnet.kernel.apply import apply
from vmnet.kernel.read import read
from vmnet.plumbing.diff import diff

if TYPE_CHECKING:
    from collections.abc import Callable

    from vmnet.kernel.netlink import NetlinkSocket
    from vmnet.model.change import Change
    from vmnet.model.links import Spec, Status

_OVERTAKEN = frozenset(
    {
        *(errno.ENODEV, errno.ENOENT, errno.ESRCH, errno.EEXIST),
        *(errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN),  # what the route goes by went away meanwhile
        *(errno.ENOBUFS, errno.EINTR),
    }
)
"""What the kernel says when somebody else changed something, or a message was lost: look again and go on."""
_ROUNDS = 5
"""Apply, read, compare: the second round takes away what the kernel added by itself, the third the note; one more
for somebody else's change in between. Beyond that it never ends."""


def converge(
    netlink: NetlinkSocket, spec: Spec, now: Status, after: Callable[[Change], None] = lambda _change: None
) -> bool:
    """Apply the difference until a read shows none. Returns whether there was one.

    Raises:
        KernelError: a change was refused.
        UnexpectedError: the kernel accepts everything and yet it is not so.
    """
    changed = False
    for last in (False,) * (_ROUNDS - 1) + (True,):
        changes = diff(now, spec)
        if not changes:
            return changed
        changed = True
        try:
            for change in changes:
                apply(netlink, change)
                after(change)
        except KernelError as error:
            if last or error.errno not in _OVERTAKEN:
                raise
        now = read(netlink)
    remaining = diff(now, spec)
    if remaining:
        raise UnexpectedError(
            f"the kernel accepted every change, but this one did not last: {remaining[0]}; find out which program "
            "changes the pod's links"
        )
    return changed
