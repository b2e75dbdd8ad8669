"""Finding all bindings under state directories, of whichever network namespace, and asking their servers.

A state directory that a pattern finds is a volume of some pod, whose root can make anything of it. So what is
read, held and shown has a limit, of each and of all together, and what is left out is counted. Where all together
are too many, each state directory's first binding comes before any second one: a pod takes no other's place.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from vmnet.control import call
from vmnet.errors import VmnetError
from vmnet.kernel.netns import boot_id
from vmnet.metrics.text import Binding, Scrape
from vmnet.saved.journal import StateDirectory, namespaces
from vmnet.saved.schema import Here

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vmnet.saved.journal import BindingDirectory

_OF_A_NODE, _OF_A_POD = 512, 16
"""Bindings of one state directory: of one that was named outright, and of one that a pattern found."""
_IN_ALL = 512
"""Bindings that are asked. With what their reports may be, the exporter stays within 64 MiB."""
_MOST_OCTETS = 2 << 20
"""Of all reports that are read; a server's is some 1 to 3 KiB."""
_ENTRIES_EACH = 4
"""Entries that are read of a directory for each binding that it may have."""
_MOST_PODS = 4096
"""Entries that are read of the directory in which a pattern looks."""
ANY = "*"
"""Stands for one step of a path, once: a pod's directory among those of all pods."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A state directory: what the label says of it, where it is, and how many bindings it may have."""

    name: str
    root: str
    at_most: int


@dataclass(slots=True)
class _Seen:
    """What was found in state directories. Of bindings it has the place within the directory, too."""

    bindings: list[tuple[int, Binding, str]]
    untrusted: int = 0
    crowded: int = 0


@dataclass(frozen=True, slots=True)
class _Found:
    """A binding and its directory."""

    rank: int
    binding: Binding
    directory: BindingDirectory


def scraped(patterns: Sequence[str]) -> tuple[list[Binding], Scrape]:
    """Find all bindings, ask all servers at once. Of the bindings those that matter most are the first."""
    began = time.monotonic()
    seen = _Seen([])
    for pattern in dict.fromkeys(patterns):
        places, more = _matching(pattern)
        seen.crowded += more
        for place in places:
            seen.crowded += _look(place, seen)
    seen.bindings.sort(key=lambda one: one[0])  # stable: in each rank they stay as they were found
    found, left_out = _opened(seen)
    answers = call.answers_of([one.directory for one in found])
    bindings, unread = _reported(found, answers)
    return bindings, Scrape(time.monotonic() - began, seen.untrusted, seen.crowded, left_out + unread)


def _matching(pattern: str) -> tuple[list[_Place], bool]:
    """Return the state directories that a pattern names, and whether there are too many to read all.

    What ANY stands for is the name of one, else it is the path.
    """
    before, any_, after = pattern.partition(ANY)
    if not any_:
        return [_Place(pattern, pattern, _OF_A_NODE)], False
    try:
        with os.scandir(before) as entries:
            names = [entry.name for entry in islice(entries, _MOST_PODS + 1)]
    except OSError:
        return [], False  # no pod has been here yet
    places = [_Place(name, f"{before}{name}{after}", _OF_A_POD) for name in sorted(names[:_MOST_PODS])]
    return [place for place in places if os.path.isdir(place.root)], len(names) > _MOST_PODS


def _look(place: _Place, seen: _Seen) -> bool:
    """Add what is in a state directory; returns whether there is more.

    Of too many namespaces those with the largest cookies are looked at: within a boot, they are the newest.
    """
    entries = _ENTRIES_EACH * place.at_most
    cookies, crowded = namespaces(place.root, entries)
    crowded |= len(cookies) > place.at_most
    there: list[tuple[int, str]] = []
    for cookie in cookies[: -place.at_most - 1 : -1]:
        try:
            ifnames, more = StateDirectory(place.root, cookie).first_bindings(entries)
        except VmnetError:
            seen.untrusted += 1
            continue
        crowded |= more
        there += ((cookie, ifname) for ifname in ifnames)
        if len(there) > place.at_most:
            crowded = True
            break
    for rank, (cookie, ifname) in enumerate(there[: place.at_most]):
        seen.bindings.append((rank, Binding(ifname, cookie, place.name, None), place.root))
    return crowded


def _opened(seen: _Seen) -> tuple[list[_Found], int]:
    """Open the bindings' directories, and count those that cannot be trusted; also returns how many are left."""
    found: list[_Found] = []
    for looked, (rank, binding, root) in enumerate(seen.bindings):
        if len(found) == _IN_ALL:
            return found, len(seen.bindings) - looked
        try:
            directory = StateDirectory(root, binding.netns).existing(binding.interface)
        except VmnetError:
            seen.untrusted += 1
            continue
        if directory:
            found.append(_Found(rank, binding, directory))
    return found, 0


def _reported(found: Iterable[_Found], answers: Iterable[bytes]) -> tuple[list[Binding], int]:
    """Return the bindings with their reports, and of how many the report is not read: it is the longest."""
    boot = boot_id()
    bindings: list[Binding] = []
    read = unread = 0
    for one, answer in sorted(zip(found, answers, strict=True), key=lambda both: (both[0].rank, len(both[1]))):
        read += len(answer)
        if read > _MOST_OCTETS:
            unread += 1
            continue
        report = call.understood(answer)
        if report or _is_bound(one.directory, Here(one.binding.netns, boot)):
            bindings.append(replace(one.binding, report=report))
    return bindings, unread


def _is_bound(directory: BindingDirectory, here: Here) -> bool:
    """Whether there is a binding whose server does not answer: not what `down` or an earlier boot left."""
    try:
        return not directory.is_left(here)
    except VmnetError:
        return True
