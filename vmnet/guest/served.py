"""The DHCP server of a binding as seen from beside it: whether it lives, and how far the guest has come."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING

from vmnet import processes
from vmnet.dhcp import lease_state
from vmnet.errors import UnexpectedError
from vmnet.journal import StateDirectory
from vmnet.kernel.inotify import watch_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from vmnet.guest.inbox import Inbox
    from vmnet.journal import Journal


class Served:
    """Watches one binding's server. The callbacks run within `inbox.next`."""

    def __init__(self, inbox: Inbox[object], state_dir: str, journal: Journal) -> None:
        directory = StateDirectory(state_dir, journal.netns_cookie).existing(journal.pod.ifname)
        if directory is None:
            raise UnexpectedError(f"the facts of {journal.pod.ifname} are gone; did somebody run `vmnet down`?")
        self._directory = directory
        self._inbox = inbox
        self._pidfd = self._log = -1

    def watch_server(self, ended: Callable[[], None]) -> bool:
        """Call `ended` once when the server has. Returns whether there is one to watch."""
        self._close(self._pidfd)
        self._pidfd = -1
        pid = processes.server_pid(self._directory)
        if pid is None:
            return False
        try:
            self._pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return False

        def tell() -> None:
            self._close(self._pidfd)
            self._pidfd = -1
            ended()

        self._inbox.watch(self._pidfd, tell)
        return True

    def watch_lease(self, changed: Callable[[str], None]) -> None:
        """Call `changed` with the lease's state now and whenever the server has something to say."""

        def look() -> None:
            with contextlib.suppress(BlockingIOError):
                os.read(self._log, 65536)
            changed(self._lease())

        self._log = watch_file(f"/proc/self/fd/{self._directory.descriptor}/{processes.LOG}")
        self._inbox.watch(self._log, look)
        changed(self._lease())

    def _lease(self) -> str:
        answer = processes.ask_server(self._directory)
        try:
            return str(json.loads(answer)["lease"]) if answer else lease_state.SILENT
        except (ValueError, KeyError, TypeError):
            return lease_state.SILENT

    def _close(self, descriptor: int) -> None:
        if descriptor >= 0:
            self._inbox.forget(descriptor)
            os.close(descriptor)

    def close(self) -> None:
        """Watch no more."""
        self._close(self._pidfd)
        self._close(self._log)
        self._pidfd = self._log = -1
