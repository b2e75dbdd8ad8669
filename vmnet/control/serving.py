"""Getting a server going: the socket early, the replies beside the plumbing, READY when neither can fail."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

from vmnet.bindings.names import bridge_name, nic_name
from vmnet.control import call, processes
from vmnet.control.packet_filter import Hearing
from vmnet.control.packet_socket import Gateways, open_packet_sockets, open_presence
from vmnet.errors import KernelError, UnexpectedError
from vmnet.model.change import CreateLink

if TYPE_CHECKING:
    from vmnet.control.packet_socket import PacketSockets
    from vmnet.model.change import Change
    from vmnet.saved.journal import BindingDirectory
    from vmnet.saved.schema import Journal


class ServerStart:
    """The server of a binding while it is being brought up: started as soon as its tap exists."""

    def __init__(self, directory: BindingDirectory, journal: Journal) -> None:
        self._directory = directory
        self._journal = journal
        self._serving = not processes.trouble(directory, call.ask_server(directory))
        self._log = processes.open_log(directory)
        self._started: tuple[int, int] | None = None  # the compiler's pid, and who hears of READY
        # Compiling takes longest, so it begins first and runs beside the plumbing.
        self._compiler = None if self._serving else processes.start_compiler(journal.leases, self._log)

    @property
    def started(self) -> bool:
        """Whether this bring-up has started a server."""
        return self._started is not None

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
            if not self.started:
                processes.record(self._directory)
            return
        processes.stop_server(self._directory)
        if self._compiler is None:
            self._compiler = processes.start_compiler(self._journal.leases, self._log)
        with open_packets(self._journal) as packets:
            compiler, self._compiler = self._compiler, None  # what it compiles can be read once
            ready = processes.start_server(
                self._directory, packets, compiler.replies, self._log, self._journal.settings
            )
        self._started = (compiler.pid, ready)
        self._serving = True

    def await_ready(self) -> None:
        """Wait for the server's word.

        Raises:
            UnexpectedError: it did not start, or the replies cannot be compiled. A compiler that fails later is
                the server's to tell: in its log, and to `status`.
        """
        if self._started is None:
            return
        compiler, ready = self._started
        processes.await_ready(ready, self._directory)
        if processes.failed(compiler):
            raise UnexpectedError(f"the replies cannot be compiled: {processes.last_words(self._directory)}")

    def abandon(self) -> None:
        """End what this bring-up started."""
        if self.started:
            processes.stop_server(self._directory)


def open_packets(journal: Journal) -> PacketSockets:
    """Open the server's packet sockets on the tap: from then on the kernel keeps what the guest sends.

    Raises:
        KernelError: the tap is gone, or CAP_NET_RAW is missing.
    """
    tap = journal.settings.tap
    try:
        packets = open_packet_sockets(tap, hearing(journal), followed(journal))
    except OSError as error:
        missing = "CAP_NET_RAW" if isinstance(error, PermissionError) else ""
        raise KernelError(error.errno or 0, f"open a packet socket on {tap}", missing) from error
    return replace(packets, presence=_presence(journal), nic=nic_name(journal.pod.ifname))


def _presence(journal: Journal) -> socket.socket | None:
    """Have the server be told when the NIC goes, whatever it is called by now; it serves without."""
    with contextlib.suppress(OSError):
        return open_presence(socket.if_indextoname(journal.pod.ifindex))
    return None


def hearing(journal: Journal) -> Hearing:
    """Say what of the guest's frames is for the server."""
    lease, lease6 = journal.lease, journal.lease6
    return Hearing(
        vm_mac=bytes.fromhex(journal.vm_mac.replace(":", "")),
        arp_targets=(lease.server_id, *(entry.address for entry in lease.neighbours)) if lease else (),
        ipv6=lease6 is not None,
        solicited=tuple(router.gateway for router in lease6.routers if router.permanent) if lease6 else (),
    )


def followed(journal: Journal) -> Gateways | None:
    """Name the gateways whose MACs may change under the guest's feet, and where they are; None without any.

    Raises:
        OSError: the NIC is gone.
    """
    routers = journal.lease6.routers if journal.lease6 else ()
    gateways = tuple(router.gateway for router in routers if router.gateway and not router.permanent)
    pod = journal.pod
    return Gateways(gateways, socket.if_indextoname(pod.ifindex), bridge_name(pod.ifname)) if gateways else None
