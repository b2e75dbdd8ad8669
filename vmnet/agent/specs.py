"""What a journal says shall be: with the VM, and without it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vmnet.agent.recall import written
from vmnet.bindings.bridge import bound, unbound
from vmnet.kernel import sysctl
from vmnet.plumbing.lifetimes import lasting
from vmnet.show.log import say

if TYPE_CHECKING:
    from vmnet.model.links import Spec, Status
    from vmnet.saved.schema import Journal


def bound_by(journal: Journal, now: Status) -> Spec:
    """Say how the pod shall be with the VM."""
    pod, note = journal.pod, written(journal)
    spec = bound(pod, journal.settings, ipv6_settable=sysctl.ipv6_settable(), note=note)
    return lasting(spec, pod, now)


def unbound_by(journal: Journal, now: Status) -> Spec:
    """Say how the pod shall be without the VM, as far as it can be made so: its addresses wait for no setting."""
    pod, nic = journal.pod, now.link_of_index(journal.pod.ifindex)
    if nic and not sysctl.ipv6_settable():
        if pod.accept_ra not in (None, nic.accept_ra):
            say(
                "warning",
                "setting-left",
                f"accept_ra of {pod.ifname} stays {nic.accept_ra}, and was {pod.accept_ra}: /proc/sys is "
                "read-only here; on the node, as root: `nsenter --net=/proc/PID/ns/net sysctl -w net/ipv6/conf/"
                f"{pod.ifname}/accept_ra={pod.accept_ra}`, PID being that of a process of this pod",
            )
        pod = replace(pod, accept_ra=None)
    return lasting(unbound(pod, journal.settings), pod, now)
