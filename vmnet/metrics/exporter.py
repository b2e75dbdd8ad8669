"""`vmnet exporter`: all bindings of a node for Prometheus, over HTTP on a unix socket or a TCP port.

Whoever asks is not trusted: he gets so many seconds and so many octets, and so many are heard at once
(vmnet.metrics.places). Whether it lives is answered whoever else asks.
"""

from __future__ import annotations

import io
import os
import resource
import signal
import socket
import socketserver
import stat
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING

from vmnet import __version__
from vmnet.errors import UsageError
from vmnet.metrics import scrape
from vmnet.metrics import text as metrics
from vmnet.metrics.places import Answers, Requests, peer_of
from vmnet.show.log import say

if TYPE_CHECKING:
    from collections.abc import Callable

_REQUEST_SECONDS, _ANSWER_SECONDS = 5.0, 10.0
"""How long a request may take to come, and its answer to go. Prometheus itself gives up after 10 s."""
_LARGEST_REQUEST = 8192
_AT_ONCE = 32
"""Requests that are read, and scrapes that are answered, each."""
_OF_A_PEER = 16
"""Scrapes of one peer: others are answered, too, while it waits for that many."""
_TEXTS = 3
"""Different answers that are kept for who is slow to take them; each may be some megabytes."""
_BACKLOG = 128
_UNIX = "unix:"
_PAGE = b"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>vmnet exporter</title></head>
<body><h1>vmnet exporter</h1><p><a href="/metrics">Metrics</a></p></body></html>
"""


class Shared:
    """One text for all who asked before it was begun: many askers cost no more than one."""

    def __init__(self, make: Callable[[], bytes]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._began = float("-inf")
        self._text = b""

    def text(self) -> bytes:
        """Return a text that is no older than this call."""
        asked = time.monotonic()
        with self._lock:
            if self._began < asked:
                began = time.monotonic()
                self._text = self._make()
                self._began = began
            return self._text


class Handler(BaseHTTPRequestHandler):
    """One request of one connection."""

    protocol_version = "HTTP/1.1"
    server_version = f"vmnet/{__version__}"
    sys_version = ""
    server: _Exporter

    def setup(self) -> None:
        """Read the request's head before anything looks at it: all of it, or nothing, in the time there is."""
        super().setup()
        read = head(self.connection)
        self.server.requests.leave(self.connection)
        self.rfile = io.BufferedReader(io.BytesIO(read))
        self.connection.settimeout(_ANSWER_SECONDS)

    def do_GET(self) -> None:
        """Answer."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._scrape()
        elif path == "/healthz":
            self._answer("text/plain", b"ok\n")
        elif path == "/":
            self._answer("text/html; charset=utf-8", _PAGE)
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    do_HEAD = do_GET  # noqa: N815 # http.server's name

    def _scrape(self) -> None:
        answers = self.server.answers
        if not answers.enter(self.connection, peer_of(self.connection, self.client_address)):
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, "too many scrapes at once")
            return
        text = self.server.shared.text()
        answers.begin(self.connection, text)
        self._answer(metrics.CONTENT_TYPE, text)

    def _answer(self, kind: str, body: bytes) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")  # whoever kept one open would keep others out
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def address_string(self) -> str:
        """Return whose request it was; a unix socket's caller has no address."""
        return str(self.client_address[0]) if self.client_address else "unix"

    def log_message(self, *_: object) -> None:
        """Say nothing: a request is no event."""


def head(connection: socket.socket) -> bytes:
    """Return the request up to the empty line; nothing where it is too long or too late, or the client left."""
    deadline = time.monotonic() + _REQUEST_SECONDS
    read = b""
    while b"\r\n\r\n" not in read and b"\n\n" not in read:
        left = deadline - time.monotonic()
        if left <= 0 or len(read) >= _LARGEST_REQUEST:
            return b""
        connection.settimeout(left)
        try:
            part = connection.recv(_LARGEST_REQUEST - len(read))
        except OSError:
            return b""
        if not part:
            return b""
        read += part
    return read


class _Exporter(socketserver.ThreadingMixIn, socketserver.BaseServer):
    """The listening socket, with a thread for each connection; `places` says how many there may be."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, listening: socket.socket, shared: Shared) -> None:
        super().__init__(listening.getsockname(), Handler)
        self.socket = listening
        self.shared = shared
        self.requests = Requests(_AT_ONCE)
        self.answers = Answers(_AT_ONCE, _OF_A_PEER, _TEXTS)

    def fileno(self) -> int:
        """Return what is waited on."""
        return self.socket.fileno()

    def get_request(self) -> tuple[socket.socket, object]:
        """Accept."""
        return self.socket.accept()

    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        """Hear the request in a thread of its own."""
        self.requests.enter(request, peer_of(request, client_address))
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        """Close, and give back what places it has. It is called also where there is no room for a thread."""
        self.requests.leave(request)
        self.answers.leave(request)
        request.close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Survive it. That a client left is no news."""
        del request, client_address
        error = sys.exception()
        if not isinstance(error, OSError):
            say("error", "request_failed", f"a request failed: {type(error).__name__}: {error}; a bug in vmnet")


def listening(address: str) -> socket.socket:
    """Return a socket that listens at `unix:PATH` or HOST:PORT; a path is for its owner alone.

    Raises:
        UsageError: nobody can listen there.
    """
    try:
        return _at_path(address.removeprefix(_UNIX)) if address.startswith(_UNIX) else _at_port(address)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot listen at {address}: {reason}; name unix:PATH or HOST:PORT") from error


def _at_path(path: str) -> socket.socket:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        try:
            asking.connect(path)
        except ConnectionRefusedError:
            if stat.S_ISSOCK(os.lstat(path).st_mode):  # of any other file connect(2) says the same
                os.unlink(path)  # its exporter has died
        except OSError:
            pass  # there is none, or what is there is not ours to remove
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        made.bind(path)
    except OSError:
        made.close()
        raise
    finally:
        os.umask(mask)
    made.listen(_BACKLOG)
    return made


def _at_port(address: str) -> socket.socket:
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ValueError("no port")
    bare = host.removeprefix("[").removesuffix("]")
    if ":" in bare and bare == host:
        raise ValueError("an IPv6 address stands in brackets")
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    return socket.create_server((bare, int(port)), family=family, backlog=_BACKLOG)


def export(address: str, state_dirs: list[str]) -> int:
    """Serve until SIGTERM or SIGINT.

    Raises:
        UsageError: nobody can listen there.
    """
    _allow_many_files()
    with listening(address) as door:
        shared = Shared(lambda: metrics.text(*scrape.scraped(state_dirs)))
        exporter = _Exporter(door, shared)

        def end(_number: int, _frame: object) -> None:
            # It waits for the loop to end, which is the one that this handler interrupts.
            threading.Thread(target=exporter.shutdown).start()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)
        where = address if address.startswith(_UNIX) else "{}:{}".format(*door.getsockname()[:2])
        say("info", "listening", f"metrics at {where}", address=where)
        exporter.serve_forever()
        if address.startswith(_UNIX):
            os.unlink(address.removeprefix(_UNIX))
    say("info", "ended", "the exporter has ended")
    return 0


def _allow_many_files() -> None:
    """Each binding takes two descriptors while it is asked."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
