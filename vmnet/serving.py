"""Getting a server going: the socket early, the replies beside the plumbing, READY when neither can fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmnet import processes
from vmnet.dhcp.packet_socket import open_packet_socket
from vmnet.errors import KernelError, UnexpectedError
from vmnet.model import CreateLink

if TYPE_CHECKING:
    import socket

    from vmnet.journal import BindingDirectory, Journal
    from vmnet.model import Change


class ServerStart:
    """The server of a binding while it is being brought up: started as soon as its tap exists."""

    def __init__(self, directory: BindingDirectory, journal: Journal) -> None:
        self._directory = directory
        self._journal = journal
        self._serving = not processes.trouble(directory, processes.ask_server(directory))
        self._log = processes.open_log(directory)
        self._ready: int | None = None
        # Compiling takes longest, so it begins first and runs beside the plumbing.
        self._compiler = None if self._serving else processes.start_compiler(journal.lease, self._log)
        self.started = False

    def after(self, change: Change) -> None:
        """Serve a tap as soon as it exists: from then on the kernel keeps what the guest sends."""
        if isinstance(change, CreateLink) and change.link.ifname == self._journal.settings.tap:
            self._serving = False  # a server that lives still listens to the tap that is gone
            self.see_to_it()

    def see_to_it(self) -> None:
        """Start the server unless one is serving this very tap.

        Raises:
            KernelError: the tap cannot be listened to.
        """
        if self._serving:
            processes.record(self._directory)
            return
        processes.stop_server(self._directory)
        if self._compiler is None:
            self._compiler = processes.start_compiler(self._journal.lease, self._log)
        with open_packets(self._journal) as packets:
            self._ready = processes.start_server(self._directory, packets, self._compiler.replies, self._log)
        self._serving = self.started = True

    def await_ready(self) -> None:
        """Wait for the server's word.

        Raises:
            UnexpectedError: it did not start, or the replies cannot be compiled. A compiler that fails later is
                the server's to tell: in its log, and to `status`.
        """
        if self._ready is None or self._compiler is None:
            return
        processes.await_ready(self._ready, self._directory)
        if processes.failed(self._compiler.pid):
            raise UnexpectedError(f"the replies cannot be compiled: {processes.last_words(self._directory)}")

    def abandon(self) -> None:
        """End what this bring-up started."""
        if self.started:
            processes.stop_server(self._directory)


def open_packets(journal: Journal) -> socket.socket:
    """Open the server's packet socket on the tap: from then on the kernel keeps what the guest sends.

    Raises:
        KernelError: the tap is gone, or CAP_NET_RAW is missing.
    """
    tap, lease = journal.settings.tap, journal.lease
    try:
        return open_packet_socket(tap, (lease.server_id, *(entry.address for entry in lease.neighbours)))
    except OSError as error:
        missing = "CAP_NET_RAW" if isinstance(error, PermissionError) else ""
        raise KernelError(error.errno or 0, f"open a packet socket on {tap}", missing) from error
