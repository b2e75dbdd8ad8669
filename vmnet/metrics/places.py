"""Who is heard at once: a new connection always finds a place, and whoever holds most of them gives one up.

A client that is slow, or means harm, looks like one whose request is on its way. So nobody is turned away before
he has said what he wants; where all places are taken, a connection of the peer that has most is closed instead,
the one that has waited longest.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_PEER = struct.Struct("iII")
"""`struct ucred`: pid, uid, gid."""


def peer_of(connection: socket.socket, address: object) -> str:
    """Return who connected: an IP address, or of a unix socket the user and process."""
    if connection.family != socket.AF_UNIX:
        return str(address[0]) if isinstance(address, tuple) else ""
    try:
        said = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    except OSError:
        return ""
    pid, uid, _ = _PEER.unpack(said)
    return f"{uid}/{pid}"


class Requests:
    """Connections whose request is not complete yet."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._peers: dict[socket.socket, str] = {}
        """The one that has waited longest is the first."""

    def enter(self, connection: socket.socket, peer: str) -> None:
        """Give it a place. Where there is none, the longest waiting one of the peer that has most makes room."""
        with self._lock:
            while len(self._peers) >= self._most:
                longest = _first_of_most(self._peers.items())
                del self._peers[longest]
                _hang_up(longest)
            self._peers[connection] = peer

    def leave(self, connection: socket.socket) -> None:
        """Give its place back: the request is complete, or the connection about to be closed."""
        with self._lock:
            self._peers.pop(connection, None)


class Answers:
    """Connections that wait for a long answer, or do not take it.

    One that waits keeps a thread busy until the answer is made, so it cannot make room; one that takes it can.
    """

    def __init__(self, most: int, of_a_peer: int, texts: int) -> None:
        self._most, self._of_a_peer, self._texts = most, of_a_peer, texts
        self._lock = threading.Lock()
        self._peers: dict[socket.socket, str] = {}
        self._sent: dict[socket.socket, bytes] = {}
        """What is being sent to whom; the one that has been at it longest is the first."""

    def enter(self, connection: socket.socket, peer: str) -> bool:
        """Give it a place, if there is one or somebody who does not take his answer can make room."""
        with self._lock:
            if self._of(peer) >= self._of_a_peer and not self._end_one_of(peer):
                return False
            if len(self._peers) >= self._most and not self._end_one_of(None):
                return False
            self._peers[connection] = peer
            return True

    def begin(self, connection: socket.socket, text: bytes) -> None:
        """Say that it is being sent this text. Of different texts only so many are kept for who is slow."""
        with self._lock:
            if connection in self._peers:
                self._sent[connection] = text
            while len(set(map(id, self._sent.values()))) > self._texts:
                self._end(next(iter(self._sent)))

    def leave(self, connection: socket.socket) -> None:
        """Give its place back."""
        with self._lock:
            self._peers.pop(connection, None)
            self._sent.pop(connection, None)

    def _of(self, peer: str) -> int:
        return sum(one == peer for one in self._peers.values())

    def _end_one_of(self, peer: str | None) -> bool:
        """End the longest of those that are being sent something: of that peer, or of the one that has most."""
        those = [(one, self._peers[one]) for one in self._sent if peer in (None, self._peers[one])]
        if those:
            self._end(_first_of_most(those))
        return bool(those)

    def _end(self, connection: socket.socket) -> None:
        del self._sent[connection], self._peers[connection]
        _hang_up(connection)


def _first_of_most(connections: Iterable[tuple[socket.socket, str]]) -> socket.socket:
    """Return the first connection of the peer that has most of these."""
    those = list(connections)
    counts = Counter(peer for _, peer in those)
    most = max(counts.values())
    return next(connection for connection, peer in those if counts[peer] == most)


def _hang_up(connection: socket.socket) -> None:
    """Wake the thread that reads or writes there, which closes it."""
    with suppress(OSError):  # it has left already
        connection.shutdown(socket.SHUT_RDWR)
