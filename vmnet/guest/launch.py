"""`vmnet launch`: the binding up, the domain on it, both looked after until the domain has ended.

The only importer of libvirt. Its event loop runs in a thread of its own from the first connection to the last, and
every call that may block has a thread too: what they find becomes an item in the inbox, and the main thread does
nothing but take items out, one at a time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vmnet import agent
from vmnet.config import DEFAULT_GRACE
from vmnet.dhcp import lease_state
from vmnet.errors import DomainCrashedError, DomainRefusedError, LibvirtError, RefusedError, UsageError, VmnetError
from vmnet.guest import domain as domains
from vmnet.guest.daemon import Daemon
from vmnet.guest.inbox import Inbox
from vmnet.guest.served import Served
from vmnet.guest.wanted import wanted, with_wishes
from vmnet.kernel import netns
from vmnet.log import say
from vmnet.supervisor import wait_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from vmnet.config import Config
    from vmnet.guest.domain import Domain

DEFAULT_URI = "qemu:///system"
_CONNECT_SECONDS = 60.0
"""How long libvirt may take to answer; the first start on a machine probes QEMU for 4 to 8 s."""
_RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_PRESS_AGAIN_SECONDS = 5.0
"""A guest that is still booting does not hear the power button."""
_KEEPALIVE = (5, 3)
"""Seconds between questions, and how many may go unanswered."""
_QUICK_DEATH_SECONDS = 10.0
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
class _Opened:
    """A connection, or why there is none."""

    connection: Any = None
    error: Any = None


@dataclass(frozen=True, slots=True)
class _Closed:
    connection: Any


@dataclass(frozen=True, slots=True)
class _DaemonMoved:
    """libvirtd of our own has become ready, or has ended."""


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
class _Done:
    """A call has ended as it should."""


@dataclass(frozen=True, slots=True)
class _Lifecycle:
    uuid: str
    event: int
    detail: int


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
        with contextlib.closing(_Libvirt(library, job.uri, inbox)) as libvirt:
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


class _Libvirt:
    """The connection: made, lost and made again; and the libvirtd of our own, if there is one."""

    def __init__(self, library: Any, uri: str, inbox: Inbox[object]) -> None:  # noqa: ANN401
        self.library = library
        self._given = bool(uri)
        self._uri = uri or DEFAULT_URI
        self._inbox = inbox
        self._daemon: Daemon | None = None
        self._opening = False
        self.connection: Any = None
        library.virEventRegisterDefaultImpl()
        threading.Thread(target=self._run_events, name="libvirt events", daemon=True).start()

    def _run_events(self) -> None:
        """Turn libvirt's wheel for as long as the process lives."""
        while True:
            with contextlib.suppress(self.library.libvirtError):
                self.library.virEventRunDefaultImpl()

    def open(self) -> None:
        """Begin to connect, unless that has begun; one `_Opened` comes of it."""
        if self._opening:
            return
        self._opening = True

        def connect() -> _Opened:
            try:
                connection = self.library.open(self._uri)
                with contextlib.suppress(self.library.libvirtError):  # libvirt's own test driver knows none
                    connection.setKeepAlive(*_KEEPALIVE)
                connection.registerCloseCallback(lambda closed, _reason, _: self._inbox.put(_Closed(closed)), None)
                connection.domainEventRegisterAny(
                    None, self.library.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._tell_lifecycle, None
                )
            except self.library.libvirtError as error:
                return _Opened(error=error)
            return _Opened(connection)

        self._inbox.call(connect)

    def _tell_lifecycle(self, _connection: object, domain: Any, event: int, detail: int, _: object) -> None:  # noqa: ANN401
        self._inbox.put(_Lifecycle(domain.UUIDString(), event, detail))

    def take(self, opened: _Opened) -> bool:
        """Take a connection; False where it is none yet, and trying again makes sense.

        Raises:
            LibvirtError: it does not.
        """
        if self.adopt(opened):
            return True
        if self._given:
            raise LibvirtError(f"cannot connect to {self._uri}: {self.reason(opened.error)}")
        if self._daemon is None:
            if opened.error.get_error_code() != self.library.VIR_ERR_SYSTEM_ERROR:
                raise LibvirtError(f"cannot connect to {self._uri}: {self.reason(opened.error)}")
            self.start_daemon()
        elif self._daemon.ended:
            raise LibvirtError(f"libvirtd ended at once: {self._daemon.last_words}")
        return False

    def adopt(self, opened: _Opened) -> bool:
        """Take a connection if it is one."""
        self._opening = False
        self.connection = opened.connection
        return opened.connection is not None

    def start_daemon(self) -> None:
        """Start a libvirtd of our own.

        Raises:
            LibvirtError: there is none, or it cannot be run.
        """
        self._daemon = Daemon(self._inbox, lambda: self._inbox.put(_DaemonMoved()))
        say("info", "libvirtd-started", "no libvirtd answers: started one", pid=self._daemon.pid)

    def restart_daemon(self) -> None:
        """See that the libvirtd of our own runs, if we have one."""
        if self._daemon and self._daemon.ended:
            self._daemon.stop()
            self.start_daemon()

    def drop(self) -> None:
        """Forget a connection that is broken."""
        connection, self.connection = self.connection, None
        if connection is not None:
            with contextlib.suppress(self.library.libvirtError):
                connection.unregisterCloseCallback()
            with contextlib.suppress(self.library.libvirtError):
                connection.close()

    def close(self) -> None:
        """Leave libvirt, and end the libvirtd of our own."""
        self.drop()
        if self._daemon:
            self._daemon.stop()

    def reason(self, error: Any) -> str:  # noqa: ANN401
        """Return libvirt's words in one line, and what helps where we know it."""
        text = " ".join(str(error.get_error_message() or error).split())
        if "virtlogd-sock" in text:
            text += '; run virtlogd, or set stdio_handler = "file" in /etc/libvirt/qemu.conf'
        return text

    def refusal(self, error: Any) -> VmnetError:  # noqa: ANN401
        """Tell whether libvirt refused the domain or could not be asked."""
        lost = self.connection is None or not self.connection.isAlive()
        if lost or error.get_error_domain() == self.library.VIR_FROM_RPC:
            return LibvirtError(f"libvirt failed to start the domain: {self.reason(error)}")
        return DomainRefusedError(f"libvirt refused the domain: {self.reason(error)}")


class _Launch:
    """One domain from before its start until after its end."""

    def __init__(self, config: Config, job: Job, libvirt: _Libvirt, inbox: Inbox[object]) -> None:
        self._config = config
        self._job = job
        self._libvirt = libvirt
        self._inbox = inbox
        self._due: dict[Callable[[], None], float] = {}
        self._served: Served | None = None
        self._deaths = 0
        self._since = 0.0
        self._lease = lease_state.SILENT
        self._domain: Any = None
        self._uuid = ""
        self._name = ""
        self._early: list[_Lifecycle] = []
        self._told = self._destroying = self._panicked = self._keep = False
        self._attempts = 0
        self._code: int | None = None
        self._takers: dict[type, Callable[[Any], None]] = {
            _Signalled: self._signalled,
            _Opened: self._reopened,
            _Closed: self._closed,
            _Started: self._started,
            _Failed: self._failed,
            _Lifecycle: self._lifecycle,
        }

    def run(self, text: str, found: Domain) -> int:
        """Go through all of it; the steps are in the order in which they can fail cheaply."""
        self._keep, self._name = self._job.keep, found.name
        self._connect(until=1)
        self._refuse_running(found)
        outcome = agent.up(self._config)
        journal = outcome.journal
        self._config = replace(self._config, interface=journal.pod.ifname)
        try:
            for warning in journal.lease.warnings:
                say("warning", "not-carried-over", warning)
            tap = journal.settings.tap
            say("info", "plumbed", f"{journal.pod.ifname} is handed over to {tap}", changed=outcome.changed)
            self._serve(journal)
            self._connect()
            self._refuse_running(found, spare=True)
            self._start(domains.set_interface(text, wanted(journal, self._job.model)))
            return self._stay()
        finally:
            if self._served:
                self._served.close()
            if not self._keep:
                agent.down(self._config)
                say("info", "down", f"{journal.pod.ifname} is as it was found")

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
            if isinstance(item, _Opened):
                attempts += 1
                if not self._libvirt.take(item) and attempts == until:
                    return
                retry = time.monotonic() + _RETRY_SECONDS[2]
            elif isinstance(item, _DaemonMoved) or (item is None and retry):
                retry = None
                self._libvirt.open()
            if time.monotonic() >= deadline:
                raise LibvirtError(f"libvirt did not answer within {_CONNECT_SECONDS:.0f} s")

    def _refuse_running(self, found: Domain, *, spare: bool = False) -> None:
        """Refuse a domain that runs already, and with `spare` leave it the binding that it runs on."""
        connection, library = self._libvirt.connection, self._libvirt.library
        if connection is None:
            return
        for look, key in ((connection.lookupByUUIDString, found.uuid), (connection.lookupByName, found.name)):
            with contextlib.suppress(library.libvirtError):
                if key and look(key).isActive():
                    self._keep = self._keep or spare
                    raise DomainRefusedError(f"domain {found.name or key} runs already; end it first")

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

    def _lifecycle(self, event: _Lifecycle) -> None:
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
            ending = "is destroyed" if self._destroying else "was destroyed by somebody else"
            say("warning", "domain-destroyed", f"domain {self._name} {ending}", domain=self._name)
        elif detail in endings and not self._panicked:
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
            say("info", "ending", f"told to end: the guest has {grace:g} s to shut down", seconds=grace)
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
            self._keep = True  # the guest may be running on it
            raise LibvirtError(
                f"libvirt cannot be reached to end domain {self._name}: it may still run, and so its tap stays"
            )
        say("warning", "destroying", f"domain {self._name} has not shut down: destroying it", domain=self._name)
        self._ask("destroy the domain", lambda domain: domain.destroy())

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
        gone = failed.error.get_error_code() in (
            self._libvirt.library.VIR_ERR_NO_DOMAIN,
            self._libvirt.library.VIR_ERR_OPERATION_INVALID,
        )
        if gone:
            return  # it has just ended, and the event says how
        say("warning", "failed", f"libvirt failed to {failed.what}: {self._libvirt.reason(failed.error)}")
        if self._libvirt.connection is not None and self._destroying:
            self._keep = True
            raise LibvirtError(f"domain {self._name} cannot be ended: {self._libvirt.reason(failed.error)}")

    # libvirt goes and comes back

    def _closed(self, closed: _Closed) -> None:
        if closed.connection is not self._libvirt.connection or self._domain is None:
            return  # not ours any more; or the start has failed of it, which says so
        self._libvirt.drop()
        say("warning", "libvirt-lost", f"libvirt is gone; domain {self._name} goes on; connecting again")
        self._attempts = 0
        self._reopen()

    def _reopen(self) -> None:
        self._libvirt.restart_daemon()
        self._libvirt.open()

    def _reopened(self, opened: _Opened) -> None:
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
        say("info", "libvirt-back", f"libvirt is back, domain {self._name} went on", domain=self._name)
        if self._told:
            self._press()

    def _ended_unseen(self) -> None:
        if not self._told:
            self._crashed("it ended while libvirt was away")
        say("info", "domain-ended", f"domain {self._name} has ended", domain=self._name)
        self._code = 0

    # The DHCP server

    def _serve(self, journal: Any) -> None:  # noqa: ANN401
        self._served = Served(self._inbox, self._config.state_dir, journal)
        lease = journal.lease
        say("info", "serving", f"the guest will be {lease.yiaddr}/{lease.prefixlen}, MAC {lease.chaddr}")
        self._watch_server()
        self._served.watch_lease(self._lease_moved)

    def _watch_server(self) -> None:
        self._since = time.monotonic()
        if self._served and not self._served.watch_server(self._server_ended):
            self._server_ended()

    def _server_ended(self) -> None:
        quick = time.monotonic() - self._since < _QUICK_DEATH_SECONDS
        self._deaths = self._deaths + 1 if quick else 1
        self._revive_later("the DHCP server has ended")

    def _revive_later(self, why: str) -> None:
        wait = wait_seconds(self._deaths)
        say("warning", "server-ended", f"{why}: starting another {f'in {wait:.0f} s' if wait else 'now'}")
        self._after(wait, self._revive)

    def _revive(self) -> None:
        try:
            agent.up(replace(self._config, resume=True))
        except RefusedError as error:
            # Somebody ran `vmnet down`, and means it.
            say("warning", "taken-down", f"not starting another DHCP server: {error}")
            self._keep = True
        except VmnetError as error:
            self._deaths += 1
            self._revive_later(str(error))
        else:
            say("info", "server-back", "the guest is served again")
            self._watch_server()

    def _lease_moved(self, state: str) -> None:
        if state in (self._lease, lease_state.SILENT):
            return
        if self._lease == lease_state.SILENT:
            say("info", "guest-asked", "the guest asked for its address", lease=state)
        if state == lease_state.BOUND:
            say("info", "lease-bound", "the guest has its lease", lease=state)
        self._lease = state


def _reap() -> None:
    """Take note of children that were not ours to begin with: QEMU's daemons, where we are process 1."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
