"""TCP between two namespaces: what a ping cannot show are unfinished checksums and segments of many frames."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from testbed.netns import TestbedError, entered
from testbed.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.netns import Netns

CHUNK = bytes(1 << 16)
ROUNDS = 8


def must_carry(source: Netns, target: Netns, address: str) -> None:
    """Connect from one namespace to an address of the other, and have all that is sent come back."""
    with echoing(target, address) as port:
        must_echo(source, address, port)


@contextmanager
def echoing(namespace: Netns, address: str) -> Iterator[int]:
    """Send back what comes on one connection to that address; gives the port."""
    with _opened(namespace, address) as listening:
        listening.bind((address, 0))
        listening.listen()
        echo = threading.Thread(target=_echo, args=(listening,))
        echo.start()
        try:
            yield listening.getsockname()[1]
        finally:
            echo.join()


def must_echo(source: Netns, address: str, port: int) -> None:
    """Have all that is sent to an address and port come back."""
    with _opened(source, address) as calling:
        try:
            calling.connect((address, port))
            back = _round_trips(calling)
        except OSError as error:
            raise TestbedError(f"TCP from {source.name} to {address}: {error}") from error
    if back != ROUNDS * len(CHUNK):
        raise TestbedError(
            f"TCP from {source.name} to {address}: of {ROUNDS * len(CHUNK)} octets {back} came back"
        )


def _opened(namespace: Netns, address: str) -> socket.socket:
    with entered(namespace):
        made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    made.settimeout(PATIENCE)
    return made


def _echo(listening: socket.socket) -> None:
    try:
        connection, _ = listening.accept()
        with connection:
            connection.settimeout(PATIENCE)
            while chunk := connection.recv(len(CHUNK)):
                connection.sendall(chunk)
    except OSError:
        return  # whoever called learns it by what does not come back


def _round_trips(calling: socket.socket) -> int:
    """Send chunk by chunk; give how many octets came back."""
    back = 0
    for number in range(1, ROUNDS + 1):
        calling.sendall(CHUNK)
        while back < number * len(CHUNK):
            received = len(calling.recv(len(CHUNK)))
            if not received:
                return back
            back += received
    return back
