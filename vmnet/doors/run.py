"""`vmnet run`: bring the binding up, then become the small process that stays beside the command."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import vmnet
from vmnet.agent import lifecycle
from vmnet.errors import RefusedError, UnexpectedError, VmnetError
from vmnet.saved.journal import StateDirectory
from vmnet.settings.advice import at_this_place, place_flags
from vmnet.settings.config import DEFAULT_GRACE
from vmnet.show.log import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from vmnet.saved.journal import BindingDirectory
    from vmnet.saved.schema import Journal
    from vmnet.settings.config import Config

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(vmnet.__file__)))
_ENTER = "import sys; sys.path.append(sys.argv[1]); from vmnet.doors.supervisor import main; main()"
_PRESS = "import sys; sys.path.append(sys.argv.pop(1)); from vmnet.doors.power_button import main; main()"
_PR_SET_CHILD_SUBREAPER = 36
"""linux/prctl.h."""
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
_LATER = (*_ENDING, signal.SIGUSR1, signal.SIGUSR2)
"""What would end us half-way through `up`."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to run once the binding is up, and whether the binding outlives it."""

    command: tuple[str, ...] = ()
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Tell:
    """Who is told when the binding is up, and when it was given back without the command having been started."""

    ready: Callable[[lifecycle.Outcome], None]
    given_back: Callable[[Journal | None], None]


@dataclass(frozen=True, slots=True)
class Guest:
    """How QEMU's guest is shut down."""

    qmp: str
    """Where QEMU listens for QMP."""
    grace: float = DEFAULT_GRACE
    """Seconds from SIGTERM until QEMU is ended."""

    def parent(self, command: tuple[str, ...]) -> tuple[str, ...]:
        """Return the command that runs QEMU, `command`, and presses its guest's power button on SIGTERM."""
        words = (sys.executable, "-I", "-S", "-c", _PRESS, _ROOT)
        return (*words, os.path.abspath(self.qmp), f"{self.grace:g}", *command)


def become_parent(guest: Guest, command: tuple[str, ...]) -> NoReturn:
    """Become the small process that stays QEMU's parent, without a binding."""
    # From here on signals wait for it: the kernel keeps them over exec.
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    words = guest.parent(command)
    os.execv(words[0], words)  # noqa: S606 # no shell is the point


def run(config: Config, job: Job, tell: Tell) -> int:
    """Bring the binding up, tell of it, and become the supervisor. Returns only where it was told to end first.

    Raises:
        VmnetError: as of `agent.up`, or of giving back what nobody can be in charge of; the command was not
            started.
        RefusedError: another `vmnet run` is in charge of the binding, or nobody can be.
    """
    noted = _note_signals()
    outcome = lifecycle.up(config)
    tell.ready(outcome)
    try:
        directory = _directory(config, outcome)
        is_ours = _claim(directory)
    except VmnetError:
        if outcome.changed and not job.keep:
            _give_back(config, tell)
        raise
    if not is_ours:
        raise RefusedError(
            "another `vmnet run` already manages this binding; leave it running. Ending it also ends its COMMAND "
            "and the VM's network"
        )
    # From here on signals wait for the supervisor: the kernel keeps them over exec.
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    if noted:
        if not job.keep:
            _give_back(config, tell)
        return 128 + noted[0]
    arguments = [directory.path, "keep" if job.keep else "", str(directory.descriptor), *job.command]
    return _become_supervisor(arguments, directory.descriptor)


def _give_back(config: Config, tell: Tell) -> None:
    try:
        tell.given_back(lifecycle.down(config))
    except RefusedError as error:  # the binding was there before us, and so was its VM
        say("warning", "left-up", at_this_place(str(error), place_flags(config)))


def _become_supervisor(arguments: list[str], held: int) -> NoReturn:
    _adopt_orphans()
    sys.stdout.flush()
    os.set_inheritable(held, True)
    words = [sys.executable, "-I", "-S", "-c", _ENTER, _ROOT, *arguments]
    os.execv(sys.executable, words)  # noqa: S606 # no shell is the point


def _note_signals() -> list[int]:
    """Put off whatever would end us: `up` is short, and a process 1 without handlers would never hear of it."""
    noted: list[int] = []

    def note(number: int, _frame: object) -> None:
        if number in _ENDING:
            noted.append(number)

    for number in _LATER:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, note)
    return noted


def _directory(config: Config, outcome: lifecycle.Outcome) -> BindingDirectory:
    journal = outcome.journal
    directory = StateDirectory(config.state_dir, journal.netns_cookie).existing(journal.pod.ifname)
    if directory is None:
        raise UnexpectedError(
            f"the saved configuration of {journal.pod.ifname} is gone; did somebody run `vmnet down`?"
        )
    return directory


def _claim(directory: BindingDirectory) -> bool:
    """Be the only one in charge of the binding for as long as its directory is open; say whether we are.

    The directory itself is locked: that takes no room on a full disk.

    Raises:
        RefusedError: no lock is to be had.
    """
    try:
        fcntl.flock(directory.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise RefusedError(
            f"cannot take charge of the binding in {directory.path}: {error.strerror}; the state directory must "
            "be where flock(2) works"
        ) from error
    return True


def _adopt_orphans() -> None:
    """Be told of what the command leaves behind, and of the server that `vmnet up` starts. Kept over exec."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
