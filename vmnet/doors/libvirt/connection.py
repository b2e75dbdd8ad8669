"""The connection to libvirt: made, lost and made again; and the libvirtd of our own, if there is one.

libvirt's event loop runs in a thread of its own from the beginning, and every call that may block has one too:
what they find becomes an item in the inbox. libvirt's module is handed in: `launch` is its only importer.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vmnet.doors.libvirt.daemon import Daemon
from vmnet.errors import DomainRefusedError, LibvirtError
from vmnet.kernel.inspect import effective_capabilities
from vmnet.show.log import say

if TYPE_CHECKING:
    from vmnet.doors.libvirt.inbox import Inbox
    from vmnet.errors import VmnetError

DEFAULT_URI = "qemu:///system"
_DAEMONS = {"CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "SETGID": 6, "SETUID": 7, "SETPCAP": 8}
"""linux/capability.h; docs/guide/containers.md says what each is for."""
_KEEPALIVE = (5, 3)
"""Seconds between questions, and how many may go unanswered."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection, or why there is none."""

    connection: Any = None
    error: Any = None


@dataclass(frozen=True, slots=True)
class Closed:
    """A connection is broken."""

    connection: Any


@dataclass(frozen=True, slots=True)
class DaemonMoved:
    """libvirtd of our own has become ready, or has ended."""


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """Something has happened to a domain, in libvirt's numbers (virDomainEventType)."""

    uuid: str
    event: int
    detail: int


class Libvirt:
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
        """Begin to connect, unless that has begun; one `Opened` comes of it."""
        if self._opening:
            return
        self._opening = True

        def connect() -> Opened:
            try:
                connection = self.library.open(self._uri)
                with contextlib.suppress(self.library.libvirtError):  # libvirt's own test driver knows none
                    connection.setKeepAlive(*_KEEPALIVE)
                connection.registerCloseCallback(lambda closed, _reason, _: self._inbox.put(Closed(closed)), None)
                connection.domainEventRegisterAny(
                    None, self.library.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._tell_lifecycle, None
                )
            except self.library.libvirtError as error:
                return Opened(error=error)
            return Opened(connection)

        self._inbox.call(connect)

    def _tell_lifecycle(self, _connection: object, domain: Any, event: int, detail: int, _: object) -> None:  # noqa: ANN401
        self._inbox.put(Lifecycle(domain.UUIDString(), event, detail))

    def take(self, opened: Opened) -> bool:
        """Take a connection; False where it is none yet, and trying again makes sense.

        Raises:
            LibvirtError: it does not.
        """
        if self.adopt(opened):
            return True
        if self._given:
            raise LibvirtError(f"cannot connect to {self._uri}: {reason(opened.error)}")
        if self._daemon is None:
            if opened.error.get_error_code() != self.library.VIR_ERR_SYSTEM_ERROR:
                raise LibvirtError(f"cannot connect to {self._uri}: {reason(opened.error)}")
            self.start_daemon()
        elif self._daemon.ended:
            raise LibvirtError(f"libvirtd exited right after its start: {self._daemon.last_words}")
        return False

    def adopt(self, opened: Opened) -> bool:
        """Take a connection if it is one."""
        self._opening = False
        self.connection = opened.connection
        return opened.connection is not None

    def start_daemon(self) -> None:
        """Start a libvirtd of our own.

        Raises:
            LibvirtError: there is none, or it cannot be run.
        """
        self._daemon = Daemon(self._inbox, lambda: self._inbox.put(DaemonMoved()))
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

    def refusal(self, error: Any) -> VmnetError:  # noqa: ANN401
        """Tell whether libvirt refused the domain or could not be asked."""
        lost = self.connection is None or not self.connection.isAlive()
        if lost or error.get_error_domain() == self.library.VIR_FROM_RPC:
            return LibvirtError(f"libvirt failed to start the domain: {reason(error)}")
        lacking = missing_capabilities(effective_capabilities()) if self._daemon else ()
        names = ", ".join(lacking)
        helps = f"; libvirtd in this container lacks the capabilities {names}: add them" if lacking else ""
        return DomainRefusedError(f"libvirt refused the domain: {reason(error)}{helps}")


def missing_capabilities(held: int) -> tuple[str, ...]:
    """Name those of libvirtd's that are not among these, by which it starts QEMU as another user without any."""
    return tuple(name for name, bit in _DAEMONS.items() if not held >> bit & 1)


def reason(error: Any) -> str:  # noqa: ANN401 # a libvirtError
    """Return libvirt's words in one line, and what helps where we know it."""
    text = " ".join(str(error.get_error_message() or error).split())
    if "virtlogd-sock" in text:
        text += '; run virtlogd, or set stdio_handler = "file" in /etc/libvirt/qemu.conf'
    return text
