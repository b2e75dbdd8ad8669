"""The DHCP server of a binding, looked after from beside it: whether it lives, and how far the guest has come."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from vmnet.agent import lifecycle
from vmnet.control import call, processes
from vmnet.doors.supervisor import has_journal, wait_seconds
from vmnet.errors import UnexpectedError, VmnetError
from vmnet.saved.journal import StateDirectory
from vmnet.server import lease_state
from vmnet.show.log import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from vmnet.control.report import ServerReport
    from vmnet.doors.libvirt.inbox import Inbox
    from vmnet.saved.schema import Journal
    from vmnet.settings.config import Config

_QUICK_DEATH_SECONDS = 10.0
_LOOK_SECONDS, _MISSES = 20.0, 2
"""How often the server is asked whether it lives, and how often in a row it may miss to answer."""


class Served:
    """Replaces a server that dies, and says when the guest asks and when it has its lease."""

    def __init__(
        self,
        inbox: Inbox[object],
        config: Config,
        journal: Journal,
        after: Callable[[float, Callable[[], None]], None],
    ) -> None:
        """Begin. `after` is to call a function in so many seconds, from the thread that takes from the inbox."""
        directory = StateDirectory(config.state_dir, journal.netns_cookie).existing(journal.pod.ifname)
        if directory is None:
            raise UnexpectedError(
                f"the saved configuration of {journal.pod.ifname} is gone; did somebody run `vmnet down`?"
            )
        self._directory = directory
        self._inbox = inbox
        self._config = replace(config, interface=journal.pod.ifname, resume=True)
        self._after = after
        self._pidfd = -1
        self._since = 0.0
        self._deaths = self._misses = 0
        self._lease = lease_state.SILENT
        self.taken_down = False
        """Whether somebody else has given the pod back."""
        self._log = self._watch_log()
        self._see(call.ask_server(directory))
        self._watch_server()
        after(_LOOK_SECONDS, self._look)

    def close(self) -> None:
        """Look after it no more."""
        self._close(self._pidfd)
        self._close(self._log)
        self._pidfd = self._log = -1

    def _close(self, descriptor: int) -> None:
        if descriptor >= 0:
            self._inbox.forget(descriptor)
            os.close(descriptor)

    def _watch_log(self) -> int:
        """Be told when the server says something; -1 where no watch is left, and `_look` has to do."""
        try:
            log = processes.watch_log(self._directory)
        except OSError:
            return -1
        self._inbox.watch(log, self._log_grew)
        return log

    def _watch_server(self) -> None:
        self._since = time.monotonic()
        pid = processes.server_pid(self._directory)
        try:
            self._pidfd = os.pidfd_open(pid) if pid else -1
        except ProcessLookupError:
            self._pidfd = -1
        if self._pidfd < 0:
            self._ended()
        else:
            self._inbox.watch(self._pidfd, self._ended)

    def _look(self) -> None:
        """See how the guest stands; end a server that lives and does not answer: it is stopped, or it hangs."""
        self._after(_LOOK_SECONDS, self._look)
        said = call.ask_server(self._directory) if self._pidfd >= 0 else None
        self._see(said)
        self._misses = self._misses + 1 if self._pidfd >= 0 and said is None else 0
        if self._misses >= _MISSES:
            self._misses = 0
            say("warning", "server-silent", "the DHCP server does not answer: ending it")
            try:
                processes.stop_server(self._directory)  # its end is seen to
            except VmnetError as error:
                say("error", "server-silent", str(error))

    def _ended(self) -> None:
        self._close(self._pidfd)
        self._pidfd = -1
        quick = time.monotonic() - self._since < _QUICK_DEATH_SECONDS
        self._deaths = self._deaths + 1 if quick else 1
        self._revive_later("the DHCP server has ended")

    def _revive_later(self, why: str) -> None:
        wait = wait_seconds(self._deaths)
        say("warning", "server-ended", f"{why}: starting another {f'in {wait:.0f} s' if wait else 'now'}")
        self._after(wait, self._revive)

    def _revive(self) -> None:
        try:
            lifecycle.up(self._config)
        except VmnetError as error:
            self._failed(error)
        else:
            say("info", "server-back", "the guest is served again")
            self._watch_server()

    def _failed(self, error: VmnetError) -> None:
        """Try again for as long as the facts are there, and so something to come back to."""
        if has_journal(self._directory.descriptor):
            self._deaths += 1
            self._revive_later(str(error))
            return
        # Somebody ran `vmnet down`, and means it.
        say("warning", "taken-down", f"not starting another DHCP server: {error}")
        self.taken_down = True

    def _log_grew(self) -> None:
        """Ask the server, which has just said something, how the guest stands."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._log, 65536)
        self._see(call.ask_server(self._directory))

    def _see(self, said: ServerReport | None) -> None:
        if said:
            self._moved_to(_farthest(said))

    def _moved_to(self, state: str) -> None:
        # A server that was just started has heard nothing, which tells nothing of the guest.
        if state in (self._lease, lease_state.SILENT):
            return
        if self._lease == lease_state.SILENT:
            say("info", "guest-asked", "the guest asked for its address", lease=state)
        if state in lease_state.HOLDING and self._lease not in lease_state.HOLDING:
            say("info", "lease-bound", "the guest has its lease", lease=state)
        self._lease = state


def _farthest(said: ServerReport) -> str:
    """How the guest stands with the family that it has come farther with: a pod may have but one."""
    heard = [family.lease for family in said.families if family.lease != lease_state.SILENT]
    holding = [state for state in heard if state in lease_state.HOLDING]
    return next(iter((*holding, *heard)), lease_state.SILENT)
