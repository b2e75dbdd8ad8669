"""Pods to try things on again and again: what was found, what `up` makes of it, and whether that is so again.

The kernel makes whoever deletes a link wait, so several pods side by side get twice as much done.
"""

from __future__ import annotations

import queue
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from testbed import pods
from testbed.netns import entered, wait_for_end
from testbed.snapshot import difference, settled, snapshot, steady
from tests.netns import forked
from tests.netns.forked import Forked, know_replies
from vmnet.errors import VmnetError
from vmnet.kernel.netlink import NetlinkSocket
from vmnet.kernel.read import read
from vmnet.model.codec import decode
from vmnet.model.links import FOREVER, NOTE_PREFIX, Address
from vmnet.plumbing.discover import discover
from vmnet.saved import note
from vmnet.saved.schema import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from testbed.agent import Agent
    from testbed.netns import Netns
    from testbed.pods import Pod
    from vmnet.model.links import Status
    from vmnet.model.pod import PodInterface

Item = TypeVar("Item")
SIDE_BY_SIDE = 4
MIXED = ("bridge", "all-of-ipv6", "calico-dual", "ipv6-only")


@dataclass(frozen=True, slots=True)
class Trial:
    """A pod, vmnet for it, and how it looks untouched (`found`) and handed over (`golden`)."""

    pod: Pod
    agent: Agent
    vmnet: Forked
    found: str
    golden: str
    facts: PodInterface
    changes: tuple[tuple[str, ...], tuple[str, ...]]
    """What `up` and what `down` change."""

    def must_be_up(self, after: str) -> None:
        """The kernel shows the golden state, journal and note say the facts, and one server serves."""
        _same(self.golden, _bound(self.pod.netns), after)
        assert _equal(_in_journal(self.agent), self.facts), f"{after}: the journal does not say the facts"
        noted = _in_note(_read(self.pod.netns), self.facts.ifindex)
        assert _equal(noted, self.facts), f"{after}: the note does not say the facts"
        assert len(self.agent.servers()) == 1, f"{after}: not one server"

    def must_be_as_found(self, after: str) -> None:
        """The pod is what it was, to the byte; nothing of ours is left on disk."""
        _same(self.found, snapshot(self.pod), after)
        left = list(self.agent.state_dir.glob("*"))
        assert not left, f"{after}: {left}"

    def must_have_its_facts(self, after: str) -> None:
        """The invariant: at every instant the facts are on the NIC, in the journal or in the note."""
        assert where_the_facts_are(self), f"{after}: the facts are nowhere"


@contextmanager
def trial(layout: str, directory: Path) -> Iterator[Trial]:
    """Make a pod and see once what `up` and `down` do to it. At the end nothing of vmnet may live in it."""
    with pods.pod(layout) as pod:
        agent = forked.agent(pod, directory)
        vmnet = Forked(agent)
        found = snapshot(pod)
        up = vmnet.up()
        golden = _bound(pod.netns)
        [path] = agent.state_dir.glob("**/journal.json")
        journal = decode(Journal, path.read_bytes())
        know_replies(journal.leases)
        down = vmnet.down()
        _only_compilers_may_be_left(pod)
        made = Trial(pod, agent, vmnet, found, golden, journal.pod, (up.changes, down.changes))
        made.must_be_as_found("one up and one down")
        try:
            yield made
            _only_compilers_may_be_left(pod)
        finally:
            agent.clear()


def _only_compilers_may_be_left(pod: Pod) -> None:
    """They end by themselves, and are the one process that may outlive its binding."""
    for pid in pod.netns.processes():
        wait_for_end(pid)


def side_by_side(
    layouts: tuple[str, ...], directory: Path, items: Iterable[Item], work: Callable[[Trial, Item], None]
) -> None:
    """Do the work for each item on the next free of several pods, of these layouts in turn.

    The first failure ends it all.
    """
    waiting: queue.SimpleQueue[Item] = queue.SimpleQueue()
    for item in items:
        waiting.put(item)
    failures: list[BaseException] = []

    def worker(number: int) -> None:
        try:
            (directory / f"{number}").mkdir()
            layout = layouts[number % len(layouts)]
            with trial(layout, directory / f"{number}") as mine, suppress(queue.Empty):
                while not failures:
                    work(mine, waiting.get_nowait())
        except BaseException as error:  # noqa: BLE001 # it is raised again below
            failures.append(error)

    workers = range(min(SIDE_BY_SIDE, waiting.qsize()))
    threads = [threading.Thread(target=worker, args=(number,)) for number in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def note_names(namespace: Netns) -> list[str]:
    """The alternative names of the pod's NIC that carry our note, where the pod is handed over."""
    [link] = namespace.ip("link", "show", "dev", "eth0-nic")
    return sorted(name for name in link.get("altnames", ()) if name.startswith(NOTE_PREFIX))


def _bound(namespace: Netns) -> str:
    """A look without what differs from one `up` to the next.

    That are carriers and the multicast routes that the kernel makes with them, the neighbours learnt before the
    `up`, which are in the note, and the order in which the links were made.
    """
    lines = sorted(steady(settled(namespace)).splitlines())
    return "\n".join(line for line in lines if " altnames " not in line and '"dst": "ff00::/8"' not in line)


def _same(wanted: str, seen: str, after: str) -> None:
    differing = difference(wanted, seen)
    assert not differing, f"{after}:\n{differing}"


def where_the_facts_are(trial: Trial) -> tuple[str, ...]:
    """Name the places that hold the pod's facts, whole; the quickest to look at is enough."""
    if _equal(_in_journal(trial.agent), trial.facts):
        return ("journal",)
    status = _read(trial.pod.netns)
    places = {"NIC": _on_nic(status, trial.facts.ifname), "note": _in_note(status, trial.facts.ifindex)}
    return tuple(name for name, facts in places.items() if _equal(facts, trial.facts))


def _read(namespace: Netns) -> Status:
    with entered(namespace), NetlinkSocket() as netlink:
        return read(netlink)


def _on_nic(status: Status, ifname: str) -> PodInterface | None:
    try:
        return discover(status, ifname)
    except VmnetError:
        return None


def _in_journal(agent: Agent) -> PodInterface | None:
    for path in agent.state_dir.glob("**/journal.json"):
        with suppress(ValueError):
            return decode(Journal, path.read_bytes()).pod
    return None


def _in_note(status: Status, ifindex: int) -> PodInterface | None:
    link = status.link_of_index(ifindex)
    for entry in status.notes:
        if link and entry.ifname == link.ifname:
            for text in note.read(entry.names):
                with suppress(ValueError):
                    return decode(Journal, text).pod
    return None


def _equal(seen: PodInterface | None, facts: PodInterface) -> bool:
    return seen is not None and _comparable(seen) == _comparable(facts)


def _comparable(pod: PodInterface) -> tuple[object, ...]:
    """Without what is another at each look: when it was, learnt neighbours, lifetimes, the order of a dump."""
    return (
        replace(pod, addresses=(), routes=(), neighbours=(), read_at=0),
        {_timeless(address) for address in pod.addresses},
        {replace(route, lifetime=_shown(route.lifetime)) for route in pod.routes},
        {neighbour for neighbour in pod.neighbours if neighbour.permanent},
    )


def _timeless(address: Address) -> Address:
    return replace(
        address,
        valid_lifetime=_shown(address.valid_lifetime),
        preferred_lifetime=_shown(address.preferred_lifetime),
    )


def _shown(lifetime: int) -> int:
    """1 where it runs, since it is another at each look."""
    return lifetime if lifetime in (0, FOREVER) else 1
