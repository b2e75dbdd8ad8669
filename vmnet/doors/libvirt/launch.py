"""`vmnet launch`: the binding up, the domain on it, both looked after until the domain has ended.

The only importer of libvirt. Whatever may block or happens elsewhere becomes an item in the inbox, and this thread
does nothing but take items out, one at a time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

from vmnet.agent import lifecycle
from vmnet.domain import read as domains
from vmnet.domain.splice import set_interface
from vmnet.domain.wanted import wanted, with_wishes
from vmnet.doors.libvirt.connection import Closed, DaemonMoved, Libvirt, Lifecycle, Opened, reason
from vmnet.doors.libvirt.inbox import Inbox
from vmnet.doors.libvirt.served import Served
from vmnet.errors import DomainCrashedError, DomainRefusedError, LibvirtError, RefusedError, UsageError
from vmnet.kernel import netns
from vmnet.settings.advice import at_this_place, place_flags
from vmnet.settings.config import DEFAULT_GRACE, SANDBOX_OFF
from vmnet.show.log import escape, say
from vmnet.show.termination import leave

if TYPE_CHECKING:
    from collections.abc import Callable

    from vmnet.domain.read import Domain
    from vmnet.settings.config import Config

_CONNECT_SECONDS = 60.0
"""How long libvirt may take to answer; the first start on a machine probes QEMU for 4 to 8 s."""
_RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_PRESS_AGAIN_SECONDS = 5.0
"""A guest that is still booting does not hear the power button."""
_BY_SIGNAL = 128


@dataclass(frozen=True, slots=True)
class Job:
    """What `vmnet launch` was asked for beyond the binding."""

    path: str
    """The file with the domain's XML."""
    uri: str = ""
    """Where libvirt is; empty for the system's own, which is started where it does not run."""
    grace: float = DEFAULT_GRACE
    """Seconds from SIGTERM until the domain is destroyed."""
    model: str = ""
    keep: bool = False
    """Whether the binding outlives the domain."""


@dataclass(frozen=True, slots=True)
class _Signalled:
    number: int


@dataclass(frozen=True, slots=True)
class _Started:
    """The domain, or why it was refused."""

    domain: Any = None
    error: Any = None


@dataclass(frozen=True, slots=True)
class _Failed:
    """A call that was to end the domain did not work."""

    what: str
    error: Any


@dataclass(frozen=True, slots=True)
class _Lives:
    """Whether a domain's QEMU lives."""

    yes: bool
    domain: Any


@dataclass(frozen=True, slots=True)
class _Done:
    """A call has ended as it should."""


class _ToldToEnd(Exception):  # noqa: N818 # nothing went wrong
    """A signal came before there was a domain to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def launch(config: Config, job: Job) -> int:
    """Bring the binding up, start the domain on it, and stay until it has ended. Returns the exit code.

    Raises:
        UsageError: the file is no domain's XML that we take. Nothing was touched.
        LibvirtError: libvirt cannot be reached, or was lost for good.
        DomainRefusedError: libvirt would not start the domain; the pod is as it was found.
        DomainCrashedError: the domain ended by itself, and not by shutting down.
        VmnetError: as of `agent.up` and `agent.down`.
    """
    text = _read(job.path)
    found = domains.parse(text)
    config = with_wishes(config, found)
    library = _library()
    if config.netns:
        netns.enter(config.netns)  # libvirtd and QEMU shall be inside
    inbox: Inbox[object] = Inbox()
    with contextlib.closing(inbox), inbox.signals(signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, item=_Signalled):
        with contextlib.closing(Libvirt(library, job.uri, inbox)) as libvirt:
            try:
                return _Launch(config, job, libvirt, inbox).run(text, found)
            except _ToldToEnd as told:
                say("info", "ended", f"ended by signal {told.number} before the domain was started")
                return _BY_SIGNAL + told.number


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return domains.decoded(file.read(domains.LARGEST + 1))
    except (OSError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"cannot read {path!r}: {getattr(error, 'strerror', None) or error}") from error


def _library() -> Any:  # noqa: ANN401 # a module
    try:
        import libvirt
    except ImportError as error:
        raise LibvirtError("libvirt's Python module is missing: pip install 'vmnet[libvirt]'") from error
    libvirt.registerErrorHandler(lambda _context, _error: None, None)  # we say it ourselves, in one line
    return libvirt


class _Launch:
    """One domain from before its start until after its end."""

    def __init__(self, config: Config, job: Job, libvirt: Libvirt, inbox: Inbox[object]) -> None:
        self._config = config
        self._job = job
        self._libvirt = libvirt
        self._inbox = inbox
        self._due: dict[Callable[[], None], float] = {}
        self._served: Served | None = None
        self._domain: Any = None
        self._uuid = ""
        self._name = ""
        self._early: list[Lifecycle] = []
        self._told = self._destroying = self._panicked = self._keep = False
        self._attempts = 0
        self._code: int | None = None
        self._takers: dict[type, Callable[[Any], None]] = {
            _Signalled: self._signalled,
            Opened: self._reopened,
            Closed: self._closed,
            _Started: self._started,
            _Failed: self._failed,
            Lifecycle: self._lifecycle,
            _Lives: self._seen_again,
        }

    def run(self, text: str, found: Domain) -> int:
        """Go through all of it; the steps are in the order in which they can fail cheaply."""
        self._keep, self._name = self._job.keep, found.name
        self._connect(until=1)
        self._refuse_running(found)
        outcome = lifecycle.up(self._config)
        journal = outcome.journal
        self._config = replace(self._config, interface=journal.pod.ifname)
        left_up = 0
        try:
            for warning in journal.leases.warnings:
                say("warning", "not-carried-over", warning)
            if not journal.settings.sandbox:
                say("warning", "sandbox-off", SANDBOX_OFF)
            tap = journal.settings.tap
            say("info", "plumbed", f"{journal.pod.ifname} is handed over to {tap}", changed=outcome.changed)
            addresses = ", ".join(journal.leases.addresses)
            say("info", "serving", f"the guest will be {addresses}, MAC {journal.vm_mac}")
            self._served = Served(self._inbox, self._config, journal, self._after)
            self._connect()
            self._refuse_running(found, spare=True)
            self._start(set_interface(text, wanted(journal, self._job.model)))
            code = self._stay()
        finally:
            if self._served:
                self._served.close()
            if not self._keep and not (self._served and self._served.taken_down):
                left_up = self._give_back(journal.pod.ifname)
        return code or left_up

    def _give_back(self, ifname: str) -> int:
        """Give the pod back; where that is refused, say so, and return the exit code."""
        try:
            lifecycle.down(self._config)
        except RefusedError as error:  # as where libvirt was lost: the domain runs on, and keeps its network
            message = at_this_place(str(error), place_flags(self._config))
            say("warning", "left-up", message)
            leave(escape(message))
            return error.exit_code
        say("info", "down", f"{ifname} is as it was found")
        return 0

    # Before the domain

    def _connect(self, until: int = 0) -> None:
        """Wait for a connection, or until so many attempts have failed: by then a libvirtd of ours is starting."""
        deadline = time.monotonic() + _CONNECT_SECONDS
        if self._libvirt.connection is None:
            self._libvirt.open()
        attempts = 0
        retry: float | None = None
        while self._libvirt.connection is None:
            item = self._inbox.next(min(deadline, retry or deadline))
            if isinstance(item, _Signalled) and item.number != signal.SIGCHLD:
                raise _ToldToEnd(item.number)
            if isinstance(item, Opened):
                attempts += 1
                if not self._libvirt.take(item) and attempts == until:
                    return
                retry = time.monotonic() + _RETRY_SECONDS[2]
            elif isinstance(item, DaemonMoved) or (item is None and retry):
                retry = None
                self._libvirt.open()
            if time.monotonic() >= deadline:
                raise LibvirtError(
                    f"libvirt did not answer within {_CONNECT_SECONDS:.0f} s; check libvirtd's log, or name "
                    "another libvirt with --connect"
                )

    def _refuse_running(self, found: Domain, *, spare: bool = False) -> None:
        """Refuse a domain that runs already, and with `spare` leave it the binding that it runs on."""
        connection, library = self._libvirt.connection, self._libvirt.library
        if connection is None:
            return
        for look, key in ((connection.lookupByUUIDString, found.uuid), (connection.lookupByName, found.name)):
            with contextlib.suppress(library.libvirtError):
                if key and (there := look(key)).isActive() and self._lives(there):
                    self._keep = self._keep or spare
                    raise DomainRefusedError(
                        f"domain {found.name or key} is already running; to start it anew from this file, shut it "
                        "down first"
                    )

    def _lives(self, domain: Any) -> bool:  # noqa: ANN401 # a virDomain
        """Whether its QEMU lives: a libvirtd that has just started takes every domain of before for alive.

        After SIGKILL of a container, that is. It finds out in a job of that domain: a question that takes a job,
        too, is answered only then.
        """
        self._ask_whether_it_lives(domain)
        while True:
            item = self._inbox.next(None)
            if isinstance(item, _Signalled) and item.number != signal.SIGCHLD:
                raise _ToldToEnd(item.number)
            if isinstance(item, _Lives):
                return item.yes

    def _ask_whether_it_lives(self, domain: Any) -> None:  # noqa: ANN401 # a virDomain
        library = self._libvirt.library

        def ask() -> _Lives:
            try:
                domain.memoryStats()
            except library.libvirtError as error:
                return _Lives(error.get_error_code() not in _gone(library), domain)
            return _Lives(True, domain)

        self._inbox.call(ask)

    def _start(self, xml: str) -> None:
        """Define and start the domain in one step, transiently: when it ends, nothing of it is left behind."""
        connection, library = self._libvirt.connection, self._libvirt.library

        def create() -> _Started:
            try:
                return _Started(connection.createXML(xml, 0))
            except library.libvirtError as error:
                return _Started(error=error)

        self._inbox.call(create)

    # While it runs

    def _stay(self) -> int:
        """Take one item after the other until the domain has ended."""
        while self._code is None:
            item = self._inbox.next(min(self._due.values(), default=None))
            taker = self._takers.get(type(item))
            if taker:
                taker(item)
            for act in [act for act, when in self._due.items() if when <= time.monotonic()]:
                del self._due[act]
                act()
        return self._code

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        self._due[act] = time.monotonic() + seconds

    def _started(self, started: _Started) -> None:
        if started.error is not None:
            raise self._libvirt.refusal(started.error)
        self._domain = started.domain
        self._uuid, self._name = started.domain.UUIDString(), started.domain.name()
        say("info", "domain-started", f"domain {self._name} is started", domain=self._name, uuid=self._uuid)
        early, self._early = self._early, []
        for event in early:
            self._lifecycle(event)
        if self._told:
            self._press()

    def _lifecycle(self, event: Lifecycle) -> None:
        if not self._uuid:
            self._early.append(event)
        elif event.uuid == self._uuid:
            self._happened(event.event, event.detail)

    def _happened(self, event: int, detail: int) -> None:
        library = self._libvirt.library
        if event == library.VIR_DOMAIN_EVENT_CRASHED:
            self._panicked = True
            say("warning", "guest-panicked", f"the guest in {self._name} panicked", domain=self._name)
        elif event == library.VIR_DOMAIN_EVENT_STOPPED:
            self._stopped(detail)

    def _stopped(self, detail: int) -> None:
        library = self._libvirt.library
        endings = {
            library.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN: "has shut down",
            library.VIR_DOMAIN_EVENT_STOPPED_MIGRATED: "was migrated away",
            library.VIR_DOMAIN_EVENT_STOPPED_SAVED: "was saved",
        }
        if detail == library.VIR_DOMAIN_EVENT_STOPPED_DESTROYED and not self._panicked:
            ending = "is destroyed" if self._destroying else "was destroyed by another libvirt client"
            say("warning", "domain-destroyed", f"domain {self._name} {ending}", domain=self._name)
        elif detail in endings:
            say("info", "domain-ended", f"domain {self._name} {endings[detail]}", domain=self._name)
        else:
            self._crashed("its guest panicked" if self._panicked else "QEMU ended by itself")
        self._code = 0

    def _crashed(self, how: str) -> None:
        raise DomainCrashedError(f"domain {self._name} crashed: {how}; see /var/log/libvirt/qemu/{self._name}.log")

    # The end that we are asked for

    def _signalled(self, signalled: _Signalled) -> None:
        if signalled.number == signal.SIGCHLD:
            _reap()
        elif self._told:
            if self._domain is not None:
                self._destroy()
        else:
            self._told = True
            grace = self._job.grace
            say("info", "ending", f"stopping: the guest has {grace:g} s to shut down", seconds=grace)
            self._after(grace, self._destroy)
            if self._domain is not None:
                self._press()

    def _press(self) -> None:
        """Press the guest's power button, and again after a while."""
        flag = self._libvirt.library.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN
        if not self._destroying:
            self._after(_PRESS_AGAIN_SECONDS, self._press)
            self._ask("shut the guest down", lambda domain: domain.shutdownFlags(flag))

    def _destroy(self) -> None:
        """End the domain without asking its guest."""
        if self._destroying:
            return
        self._destroying = True
        if self._libvirt.connection is None or self._domain is None:
            self._give_up()
        say("warning", "destroying", f"domain {self._name} has not shut down: destroying it", domain=self._name)
        self._ask("destroy the domain", lambda domain: domain.destroy())

    def _give_up(self) -> NoReturn:
        self._keep = True  # the guest may be running on it
        raise LibvirtError(
            f"cannot reach libvirt to stop domain {self._name}, which may still be running: its tap stays; stop "
            "the domain, then run `vmnet down`"
        )

    def _ask(self, what: str, call: Callable[[Any], object]) -> None:
        """Do something with the domain that may take long; where libvirt is away, it has to be asked again."""
        domain, error = self._domain, self._libvirt.library.libvirtError
        if self._libvirt.connection is None:
            return

        def ask() -> object:
            try:
                call(domain)
            except error as failure:
                return _Failed(what, failure)
            return _Done()

        self._inbox.call(ask)

    def _failed(self, failed: _Failed) -> None:
        if failed.error.get_error_code() in _gone(self._libvirt.library):
            return  # it has just ended, and the event says how
        say("warning", "failed", f"libvirt failed to {failed.what}: {reason(failed.error)}")
        if self._libvirt.connection is not None and self._destroying:
            self._keep = True
            raise LibvirtError(f"domain {self._name} cannot be ended: {reason(failed.error)}")

    # libvirt goes and comes back

    def _closed(self, closed: Closed) -> None:
        if closed.connection is not self._libvirt.connection or self._domain is None:
            return  # not ours any more; or the start has failed of it, which says so
        self._libvirt.drop()
        if self._destroying:
            self._give_up()
        say(
            "warning",
            "libvirt-lost",
            f"lost the connection to libvirt; domain {self._name} keeps running; reconnecting",
        )
        self._attempts = 0
        self._reopen()

    def _reopen(self) -> None:
        self._libvirt.restart_daemon()
        self._libvirt.open()

    def _reopened(self, opened: Opened) -> None:
        if not self._libvirt.adopt(opened):
            self._after(_RETRY_SECONDS[min(self._attempts, len(_RETRY_SECONDS) - 1)], self._reopen)
            self._attempts += 1
            return
        try:
            self._domain = opened.connection.lookupByUUIDString(self._uuid)
        except self._libvirt.library.libvirtError as error:
            if error.get_error_code() == self._libvirt.library.VIR_ERR_NO_DOMAIN:
                self._ended_unseen()
            return  # lost again, which the close callback says
        self._ask_whether_it_lives(self._domain)  # of one that has died libvirtd then tells nobody

    def _seen_again(self, lives: _Lives) -> None:
        if self._libvirt.connection is None or lives.domain is not self._domain:
            return  # lost again
        if not lives.yes:
            self._ended_unseen()
            return
        say("info", "libvirt-back", f"libvirt is back, domain {self._name} went on", domain=self._name)
        if self._told:
            self._press()

    def _ended_unseen(self) -> None:
        if not self._told:
            self._crashed("it ended while libvirt was away")
        say("info", "domain-ended", f"domain {self._name} has ended", domain=self._name)
        self._code = 0


def _gone(library: Any) -> tuple[int, int]:  # noqa: ANN401 # a module
    """Return the codes of errors that say that the domain does not run."""
    return library.VIR_ERR_NO_DOMAIN, library.VIR_ERR_OPERATION_INVALID


def _reap() -> None:
    """Take note of children that were not ours to begin with: QEMU's daemons, where we are process 1."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
