"""Getting a server going: the socket early, the replies beside the plumbing, READY when neither can fail."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from vmnet import processes
from vmnet.dhcp.packet_socket import open_packet_socket
from vmnet.errors import UnexpectedError
from vmnet.model import CreateLink

if TYPE_CHECKING:
    from vmnet.journal import BindingDirectory, Journal
    from vmnet.model import Change


class ServerStart:
    """The server of a binding while it is being brought up: started as soon as its tap exists."""

    def __init__(self, directory: BindingDirectory, journal: Journal, *, serving: bool) -> None:
        self._directory = directory
        self._journal = journal
        self._serving = serving
        self._ready: int | None = None
        self._compiler = 0
        self._log = processes.open_log(directory)
        self._replies: int | None = None
        self.started = False
        if not serving:
            self._compile()

    def _compile(self) -> None:
        """Begin with what takes longest: it runs beside the plumbing."""
        self._compiler, self._replies = processes.start_compiler(self._journal.lease, self._log)

    def after(self, change: Change) -> None:
        """Bind the socket as soon as the tap exists: from then on the kernel keeps what the guest sends."""
        if isinstance(change, CreateLink) and change.link.ifname == self._journal.settings.tap:
            self._serving = False
            self.see_to_it()

    def see_to_it(self) -> None:
        """Start the server unless one is serving this very tap."""
        if self._serving:
            return
        processes.stop_server(self._directory)
        if self._replies is None:
            self._compile()
        replies, self._replies = self._replies, None
        tap = self._journal.settings.tap
        packets = open_packet_socket(tap)
        if replies is None:
            raise UnexpectedError("the compiler of the replies was not started")
        _, self._ready = processes.start_server(self._directory, packets, replies, self._log)
        packets.close()
        self._serving = self.started = True

    def await_ready(self) -> None:
        """Wait for the server's word; a compiler that has failed by now is our error, a later one the server's."""
        if self._ready is not None:
            processes.await_ready(self._ready, self._directory)
            if processes.failed(self._compiler):
                raise UnexpectedError(f"the replies cannot be compiled: {processes.last_words(self._directory)}")

    def abandon(self) -> None:
        """End what this bring-up started."""
        if self.started:
            processes.stop_server(self._directory)
        if self._replies is not None:
            os.close(self._replies)
