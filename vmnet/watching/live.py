"""`vmnet status --watch`: shown again whenever something has changed, until Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import os
import select
from typing import TYPE_CHECKING

from vmnet import agent, processes, screen
from vmnet.errors import RefusedError
from vmnet.watching import status
from vmnet.watching.sight import look

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vmnet.agent import Place
    from vmnet.config import Config
    from vmnet.watching.sight import Sight

_EVENT_BYTES = 4096


def watch(config: Config, seconds: float, *, as_json: bool) -> int:
    """Show until Ctrl-C, and look every so many seconds. Returns 7 where it ends in drift, else 0.

    On a terminal the outline stands and is renewed; elsewhere each change is a block of lines, or one of JSON.
    """
    sight = None
    with contextlib.suppress(KeyboardInterrupt), agent.at(config) as place, _shown(as_json=as_json) as show:
        with contextlib.closing(News()) as news:
            while True:
                sight = look(place, config)
                show(sight)
                news.wait(place, sight, seconds)
    return 7 if sight and sight.report.drift else 0


@contextlib.contextmanager
def _shown(*, as_json: bool) -> Iterator[Callable[[Sight], None]]:
    """Give what shows a sight."""
    if as_json or not screen.is_terminal():
        yield _Changes(as_json=as_json)
        return
    with screen.live() as update:
        yield lambda sight: update(status.outline(sight))


class _Changes:
    """Prints a sight when it is not as the last one."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._before: object = None

    def __call__(self, sight: Sight) -> None:
        told = status.value(sight)
        now = status.standing(told)
        if now == self._before:
            return
        if self._as_json:
            print(json.dumps(told, ensure_ascii=False), flush=True)  # noqa: T201 # what was asked for goes to stdout
        else:
            screen.show(status.outline(sight), again=self._before is not None)
        self._before = now


class News:
    """Tells when the server has logged something since it was asked last."""

    def __init__(self) -> None:
        self._descriptor = -1
        self._watched: tuple[int, int] | None = None

    def wait(self, place: Place, sight: Sight, seconds: float) -> None:
        """Wait for it, at most so long; not at all where the log is another one than the last time."""
        if self._is_another(place, sight):
            return  # what it said before it was watched is yet to be seen
        if select.select([self._descriptor] if self._descriptor >= 0 else [], [], [], seconds)[0]:
            os.read(self._descriptor, _EVENT_BYTES)

    def close(self) -> None:
        """Watch no more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._watched = -1, None

    def _is_another(self, place: Place, sight: Sight) -> bool:
        """Watch the log of the binding that was seen; returns whether that is not the one watched already."""
        journal = sight.report.journal
        with contextlib.suppress(OSError, RefusedError):
            directory = place.state.existing(journal.pod.ifname) if journal else None
            if directory:
                log = os.stat(processes.LOG, dir_fd=directory.descriptor)
                if (log.st_dev, log.st_ino) == self._watched:
                    return False
                self.close()
                self._descriptor = processes.watch_log(directory)
                self._watched = log.st_dev, log.st_ino
                return True
        self.close()
        return False
