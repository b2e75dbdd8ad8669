"""Where an agent acts: a network namespace, its state directory, and the binding that is recalled there."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmnet.agent.recall import Known, is_untouched, recall
from vmnet.errors import RefusedError
from vmnet.kernel import netns, netns_lock
from vmnet.kernel.netlink import NetlinkSocket
from vmnet.saved.journal import StateDirectory
from vmnet.saved.schema import Here

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.model.links import Status
    from vmnet.settings.config import Config


@dataclass(frozen=True, slots=True)
class Place:
    """The network namespace we act on, and where its state is kept."""

    netlink: NetlinkSocket
    state: StateDirectory
    here: Here


@contextlib.contextmanager
def at(config: Config) -> Iterator[Place]:
    """Go to the namespace that is meant.

    Raises:
        UsageError: there is no such namespace.
        RefusedError: it is the host's own.
    """
    if config.netns:
        netns.enter(config.netns)
    if netns.is_host():
        raise RefusedError(
            "this is the host's own network namespace, and a VM would take the host off the network; "
            "run vmnet in the pod, or name the pod's namespace with --netns"
        )
    with standing_here(config) as place:
        yield place


@contextlib.contextmanager
def standing_here(config: Config) -> Iterator[Place]:
    """Stay in the namespace that we are in, whosever it is."""
    netns_cookie = netns.cookie()
    with NetlinkSocket() as netlink:
        yield Place(netlink, StateDirectory(config.state_dir, netns_cookie), Here(netns_cookie, netns.boot_id()))


@contextlib.contextmanager
def alone_at(config: Config) -> Iterator[Place]:
    """Go to the namespace that is meant and be the only agent there; wait for another one to end."""
    with at(config) as place, netns_lock.lock(), place.state.lock():
        yield place


def recalled(place: Place, config: Config, now: Status) -> Known | None:
    """Find the binding, unless nothing of it stands: then what the NIC shows now is what counts."""
    known = recall(place.state, place.here, config.interface, now)
    return None if known and is_untouched(now, known.journal) else known
