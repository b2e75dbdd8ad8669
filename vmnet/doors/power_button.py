"""QEMU's parent: on SIGTERM the guest's power button is pressed, and QEMU is ended only if that does not help.

It is started as `python -I -S -c … ROOT SOCKET GRACE COMMAND …`, needs no capability and no state, and may be
process 1. It stays beside the VM, so it does without whatever costs memory, as vmnet.doors.supervisor does.

SOCKET is where QEMU listens for QMP, its control protocol. What answers there is not trusted: nothing that it says
is more than skipped, and nothing that it does not say is waited for beyond GRACE.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # `signal` wraps it; typeshed does not
import _socket
import os
import select
import sys
import time

from vmnet.doors.supervisor import NOT_EXECUTABLE, NOT_FOUND, catch_signals, exit_code, name_process, say
from vmnet.show.termination import leave

_PRESSING = (_signal.SIGTERM, _signal.SIGINT)
_COMMANDS = b'{"execute":"qmp_capabilities"}{"execute":"system_powerdown"}'
"""QMP takes commands only after the first one (qemu-qmp-ref(7)); QEMU reads them one after the other."""
_AGAIN_SECONDS = 5.0
"""A guest that is still booting does not hear the button."""
_REACH_SECONDS = 2.0
"""How long QEMU may take from its start until its socket is there."""
_RETRY_SECONDS = 0.2
_TERM_SECONDS = 5.0
"""From SIGTERM to SIGKILL."""
_MOST_BYTES = 1 << 16
"""That are read of the socket at a time; a flood is left for the next time."""


class PowerButton:
    """The button of one guest: a connection that lasts for one press."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket: _socket.socket | None = None

    def fileno(self) -> int:
        """The descriptor to watch for what QEMU says; -1 without a connection."""
        return self._socket.fileno() if self._socket else -1

    def press(self) -> str:
        """Press it; return why that was not possible, empty where QEMU was told."""
        self.release()
        made = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK)
        try:
            made.connect(self._path)
            made.send(_COMMANDS)
        except (OSError, ValueError) as error:
            made.close()
            return getattr(error, "strerror", None) or str(error)
        self._socket = made
        return ""

    def skip(self) -> None:
        """Take what QEMU says, so that it can say more; hang up where it has."""
        try:
            said = self._socket.recv(_MOST_BYTES) if self._socket else b""
        except OSError:
            said = b""
        if not said:
            self.release()

    def release(self) -> None:
        """Hang up."""
        if self._socket:
            self._socket.close()
        self._socket = None


class Parent:
    """The loop over signals, the button and what is due."""

    def __init__(self, button: PowerButton, grace: float, wakeup: int) -> None:
        self._button = button
        self._grace = grace
        self._wakeup = wakeup
        self._pid = 0
        self._pressed = self._told = False
        self._give_up = self._next = self._kill = float("inf")
        """When QEMU gets SIGTERM, the button is pressed again, and QEMU gets SIGKILL."""
        self._unreached = float("inf")
        """Until when the socket may be missing."""

    def run(self, command: list[str]) -> int:
        """Run QEMU to its end; return its exit code, or a shell's where it cannot be run."""
        try:
            self._pid = os.posix_spawnp(
                command[0], command, os.environ, setsigmask=(), setsigdef=(_signal.SIGPIPE, _signal.SIGXFSZ)
            )
        except (OSError, ValueError) as error:
            reason = f"cannot run {command[0]!r}: {getattr(error, 'strerror', None) or error}"
            say("error", "command", reason)
            leave(reason)
            return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
        while True:
            code = self._turn()
            if code is not None:
                return code

    def _turn(self) -> int | None:
        poller = select.poll()
        poller.register(self._wakeup, select.POLLIN)
        if self._button.fileno() >= 0:
            poller.register(self._button.fileno(), select.POLLIN)
        due = min(self._give_up, self._next, self._kill)
        wait = None if due == float("inf") else max(0.0, due - time.monotonic()) * 1000
        for descriptor, _ in poller.poll(wait):
            if descriptor == self._wakeup:
                code = self._take_signals()
                if code is not None:
                    return code
            else:
                self._button.skip()
        self._see_to_what_is_due(time.monotonic())
        return None

    def _take_signals(self) -> int | None:
        for number in os.read(self._wakeup, 4096):
            if number == _signal.SIGCHLD:
                code = self._reap()
                if code is not None:
                    return code
            elif number not in _PRESSING:
                self._signal(number)
            elif self._pressed:
                self._end("second signal")
            else:
                self._begin_to_end(time.monotonic())
        return None

    def _reap(self) -> int | None:
        """Take note of every child that has ended, also of those that were not ours to begin with."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return None
            if not pid:
                return None
            if pid == self._pid:
                return exit_code(status)

    def _begin_to_end(self, now: float) -> None:
        say("info", "ending", f"stopping: the guest has {self._grace:g} s to shut down")
        self._pressed = True
        self._give_up = now + self._grace
        self._unreached = now + _REACH_SECONDS
        self._next = now

    def _see_to_what_is_due(self, now: float) -> None:
        if now >= self._kill:
            self._kill = float("inf")
            self._signal(_signal.SIGKILL)
        elif now >= self._give_up:
            self._end("the guest has not shut down")
        elif now >= self._next:
            self._press(now)

    def _press(self, now: float) -> None:
        why = self._button.press()
        if not why:
            if not self._told:
                say("info", "power-button", "the guest's power button is pressed")
            self._told = True
            self._next = now + _AGAIN_SECONDS
        elif self._told or now < self._unreached:
            self._next = now + _RETRY_SECONDS
        else:
            self._end(f"cannot press the guest's power button ({why}; --qmp must name the socket of QEMU's -qmp)")

    def _end(self, why: str) -> None:
        """Ask QEMU itself to end, and see to it that it does."""
        if self._kill != float("inf"):
            return
        say("warning", "power-cut", f"{why}: ending QEMU")
        self._button.release()
        self._next = self._give_up = float("inf")
        self._kill = time.monotonic() + _TERM_SECONDS
        self._signal(_signal.SIGTERM)

    def _signal(self, number: int) -> None:
        try:
            os.kill(self._pid, number)
        except OSError:
            return  # it has just ended, or changed its uid and we may not


def main() -> None:
    """Be QEMU's parent until it has ended, and exit as it did."""
    path, grace, *command = sys.argv[1:]
    name_process(b"vmnet-power")
    button = PowerButton(path)
    sys.exit(Parent(button, float(grace), catch_signals()).run(command))
