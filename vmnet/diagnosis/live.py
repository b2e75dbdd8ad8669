"""`vmnet status --watch`: shown again whenever something has changed, until Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import os
import select
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmnet.agent.place import at
from vmnet.control import processes
from vmnet.diagnosis import status
from vmnet.diagnosis.sight import look_at_all
from vmnet.diagnosis.until_ctrl_c import until_ctrl_c
from vmnet.errors import RefusedError
from vmnet.show import screen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vmnet.agent.place import Place
    from vmnet.diagnosis.sight import Sight
    from vmnet.settings.config import Config

_EVENT_BYTES = 4096


def watch(config: Config, seconds: float, *, as_json: bool) -> int:
    """Show until Ctrl-C, and look every so many seconds. Returns what `status` would at the end.

    On a terminal the outline stands and is renewed; elsewhere each change is a block of lines, or one of JSON.
    """
    sights: tuple[Sight, ...] = ()
    with until_ctrl_c() as goes_on, at(config) as place, _shown(as_json=as_json) as show:
        with contextlib.closing(News()) as news:
            while goes_on():
                sights = look_at_all(place, config)
                show(sights)
                news.wait(place, sights, seconds)
    return status.exit_code(sights)


@contextlib.contextmanager
def _shown(*, as_json: bool) -> Iterator[Callable[[tuple[Sight, ...]], None]]:
    """Give what shows the sights of a moment."""
    if as_json or not screen.is_terminal():
        yield _Changes(as_json=as_json)
        return
    with screen.live() as update:
        yield lambda sights: update(status.outlines(sights))


class _Changes:
    """Prints the sights when they are not as the last ones."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._before: object = None

    def __call__(self, sights: tuple[Sight, ...]) -> None:
        told = status.values(sights)
        now = status.standing(told)
        if now == self._before:
            return
        if self._as_json:
            print(json.dumps(told), flush=True)  # noqa: T201 # what was asked for goes to stdout
        else:
            screen.show(status.outlines(sights), again=self._before is not None)
        self._before = now


class News:
    """Tells when a server has logged something since it was asked last."""

    def __init__(self) -> None:
        self._watches: dict[str, _Watch] = {}

    def wait(self, place: Place, sights: tuple[Sight, ...], seconds: float) -> None:
        """Wait for it, at most so long; not at all where a log is another one than the last time."""
        if self._follow(place, sights):
            return  # what it said before it was watched is yet to be seen
        for descriptor in select.select([watch.descriptor for watch in self._watches.values()], [], [], seconds)[
            0
        ]:
            os.read(descriptor, _EVENT_BYTES)

    def close(self) -> None:
        """Watch no more."""
        for ifname in tuple(self._watches):
            self._forget(ifname)

    def _forget(self, ifname: str) -> None:
        watch = self._watches.pop(ifname, None)
        if watch:
            os.close(watch.descriptor)

    def _follow(self, place: Place, sights: tuple[Sight, ...]) -> bool:
        """Watch the logs of these bindings and no others; returns whether one was not watched already."""
        for ifname in self._watches.keys() - {sight.ifname for sight in sights}:
            self._forget(ifname)
        others = [sight.ifname for sight in sights if sight.ifname and self._is_another(place, sight.ifname)]
        return bool(others)  # each of them is watched, so none may be passed over

    def _is_another(self, place: Place, ifname: str) -> bool:
        """Watch the log of a binding; returns whether that is not the one watched already."""
        with contextlib.suppress(OSError, RefusedError):
            directory = place.state.existing(ifname)
            if directory:
                log = os.stat(processes.LOG, dir_fd=directory.descriptor, follow_symlinks=False)
                watched = self._watches.get(ifname)
                if watched and watched.log == (log.st_dev, log.st_ino):
                    return False
                self._forget(ifname)
                self._watches[ifname] = _Watch(processes.watch_log(directory), (log.st_dev, log.st_ino))
                return True
        self._forget(ifname)
        return False


@dataclass(frozen=True, slots=True)
class _Watch:
    """An inotify descriptor, and which file it is on."""

    descriptor: int
    log: tuple[int, int]
