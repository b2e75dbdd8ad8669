"""Who is answered by an exporter when others are slow, many, or deaf: real connections on the loopback."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from testbed.patience import PATIENCE, wait_until_so
from vmnet.metrics import exporter
from vmnet.metrics.exporter import Shared, listening
from vmnet.metrics.places import peer_of

if TYPE_CHECKING:
    from collections.abc import Iterator


class Node:
    """An exporter at a port of the loopback, with few places, whose text is made when the test allows it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, number in {
            "_AT_ONCE": 4,
            "_OF_A_PEER": 3,
            "_REQUEST_SECONDS": PATIENCE,
            "_ANSWER_SECONDS": PATIENCE,
        }.items():
            monkeypatch.setattr(exporter, name, number)
        self.may_make = threading.Event()
        self.connections = contextlib.ExitStack()
        self.text = b"# text\n"
        self.door = listening("127.0.0.1:0")
        self.exporter = exporter._Exporter(self.door, Shared(self.make))

    def make(self) -> bytes:
        assert self.may_make.wait(PATIENCE)
        return self.text

    def asked(self, request: bytes, source: str = "127.0.0.1") -> socket.socket:
        """A connection that has sent this; the exporter has taken it."""
        address = self.door.getsockname()
        connection = socket.create_connection(address, PATIENCE, source_address=(source, 0))
        self.connections.enter_context(connection)
        connection.sendall(request)
        self.exporter.handle_request()
        return connection

    def sends(self, number: int) -> bool:
        """Whether it is sending its text to so many."""
        return len(self.exporter.answers._sent) == number

    def answer(self, path: str, source: str = "127.0.0.1") -> bytes:
        """What is answered to a request that comes now."""
        with self.asked(f"GET {path} HTTP/1.1\r\n\r\n".encode(), source) as connection:
            return everything(connection)


def everything(connection: socket.socket) -> bytes:
    """What comes until the exporter hangs up."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(1 << 20):
            parts.append(part)
    return b"".join(parts)


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    made = Node(monkeypatch)
    with made.door, made.connections:
        yield made
        made.may_make.set()


PART = b"GET /"


def test_slow_clients_keep_nobody_out(node: Node) -> None:
    """The one that has waited longest ends, and no other does; they may come again as often as they like."""
    node.may_make.set()
    slow = [node.asked(PART) for _ in range(4)]
    for _ in range(3):
        assert node.answer("/healthz").endswith(b"ok\n")
        assert everything(slow.pop(0)) == b""
        slow.append(node.asked(PART))
        assert node.answer("/metrics").endswith(node.text)
        assert everything(slow.pop(0)) == b""
        slow.append(node.asked(PART))
    for connection in slow:
        connection.sendall(b"healthz HTTP/1.1\r\n\r\n")
        assert everything(connection).endswith(b"ok\n")


def test_the_peer_that_has_most_makes_room(node: Node) -> None:
    first = node.asked(PART, "127.0.0.2")
    many = [node.asked(PART, "127.0.0.3") for _ in range(3)]
    last = node.asked(PART, "127.0.0.2")
    assert everything(many[0]) == b""
    for connection in (first, *many[1:], last):
        connection.sendall(b"healthz HTTP/1.1\r\n\r\n")
        assert everything(connection).endswith(b"ok\n")


SCRAPE = b"GET /metrics HTTP/1.1\r\n\r\n"


def test_whoever_scrapes_much_keeps_no_other_out(node: Node) -> None:
    """Nor /healthz, while all who scrape wait."""
    waiting = [node.asked(SCRAPE) for _ in range(3)]
    wait_until_so(lambda: len(node.exporter.answers._peers) == 3, "three scrapes that wait")
    assert node.answer("/metrics").startswith(b"HTTP/1.1 503 ")
    other = node.asked(SCRAPE, "127.0.0.2")
    wait_until_so(lambda: len(node.exporter.answers._peers) == 4, "a fourth")
    assert node.answer("/metrics", "127.0.0.3").startswith(b"HTTP/1.1 503 ")
    for source in ("127.0.0.1", "127.0.0.3"):
        assert node.answer("/healthz", source).endswith(b"ok\n")
    node.may_make.set()
    for connection in (*waiting, other):
        assert everything(connection).endswith(node.text)


def test_whoever_does_not_take_his_answer_makes_room(node: Node) -> None:
    node.text = b"#" * (32 << 20) + b"\n"  # more than sockets hold
    node.may_make.set()
    deaf = []
    for number in range(1, 4):
        deaf.append(node.asked(SCRAPE))
        wait_until_so(functools.partial(node.sends, number), "answers that are being sent")
    assert node.answer("/metrics").endswith(node.text)
    assert len(everything(deaf[0])) < len(node.text)
    for connection in deaf[1:]:
        assert everything(connection).endswith(node.text)


def test_the_peer_of_a_unix_socket_is_a_process() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert peer_of(ours, "") == f"{os.getuid()}/{os.getpid()}"
