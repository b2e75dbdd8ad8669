"""Finding all bindings under state directories, of whichever network namespace, and asking their servers."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from vmnet import server_call
from vmnet.errors import VmnetError
from vmnet.journal import StateDirectory, namespaces
from vmnet.kernel.netns import boot_id
from vmnet.metrics import Binding, Scrape
from vmnet.plumbing.names import is_link_name
from vmnet.schema import Here

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vmnet.journal import BindingDirectory

_MOST = 1024
"""Bindings that are looked at in one state directory: whoever owns it can make any number."""
ANY = "*"
"""Stands for one step of a path, once: a pod's directory among those of all pods."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A binding and its directory."""

    binding: Binding
    directory: BindingDirectory


def scraped(patterns: Sequence[str]) -> tuple[list[Binding], Scrape]:
    """Find all bindings, ask all servers at once."""
    began = time.monotonic()
    found: list[_Found] = []
    untrusted = crowded = 0
    for name, root in (place for pattern in patterns for place in _matching(pattern)):
        there = list(islice(_below(name, root), _MOST + 1))
        crowded += len(there) > _MOST
        untrusted += there.count(None)
        found += filter(None, there[:_MOST])
    bindings = list(_asked(found))
    return bindings, Scrape(time.monotonic() - began, untrusted, crowded)


def _matching(pattern: str) -> Iterator[tuple[str, str]]:
    """Give the state directories that a pattern names, each with a name: what ANY stands for, else the path."""
    before, any_, after = pattern.partition(ANY)
    if not any_:
        yield pattern, pattern
        return
    try:
        with os.scandir(before) as entries:
            names = sorted(entry.name for entry in entries)
    except OSError:
        return  # no pod has been here yet
    yield from ((name, root) for name in names if os.path.isdir(root := f"{before}{name}{after}"))


def _below(name: str, root: str) -> Iterator[_Found | None]:
    """Give the bindings in a state directory; None for each directory that cannot be trusted."""
    for cookie in namespaces(root):
        state = StateDirectory(root, cookie)
        try:
            ifnames = state.bindings()
        except VmnetError:
            yield None
            continue
        for ifname in filter(is_link_name, ifnames):
            try:
                directory = state.existing(ifname)
            except VmnetError:
                yield None
            else:
                if directory:
                    yield _Found(Binding(ifname, cookie, name, None), directory)


def _asked(found: list[_Found]) -> Iterator[Binding]:
    answers = server_call.ask_servers([one.directory for one in found])
    boot = boot_id()
    for one, answer in zip(found, answers, strict=True):
        if answer or _is_bound(one.directory, Here(one.binding.netns, boot)):
            yield replace(one.binding, report=answer)


def _is_bound(directory: BindingDirectory, here: Here) -> bool:
    """Whether there is a binding whose server does not answer: not what `down` or an earlier boot left."""
    try:
        return not directory.is_left(here)
    except VmnetError:
        return True
