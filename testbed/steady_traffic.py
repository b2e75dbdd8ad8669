"""Up to a thousand datagrams a second each way between a guest and the peer, each numbered: losses are known.

    guest 9000/udp ◀── tap0 ── k6t-eth0 ── eth0-nic ── node ──▶ 9000/udp at the peer's address

It runs in a process of its own, so that what the test does meanwhile does not delay it. Not more are under way at
a time than the queues on the way hold: then a machine that is busy makes it slower, and loses nothing.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed.netns import Netns, TestbedError, entered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.pods import Pod
    from testbed.tap_guest import TapGuest

PORT = 9000
PER_SECOND = 1000
TICK = 0.001
"""Seconds between two looks at the clock and the sockets."""
UNDER_WAY = 100
"""Datagrams that were sent and have not come. A tap's queue holds 500 (drivers/net/tun.c), a link's 1,000."""
NUMBER = struct.Struct("!Q")
SO_RCVBUFFORCE = 33
RECEIVE_BUFFER = 1 << 24
SETTLE = 10.0
"""Seconds without any: then what has not come is lost."""


@dataclass(frozen=True, slots=True)
class Direction:
    """What went one way."""

    sent: int
    received: int

    @property
    def lost(self) -> int:
        """How many did not come."""
        return self.sent - self.received


@dataclass(slots=True)
class Traffic:
    """Traffic that flows until `stop`."""

    pid: int
    stop_end: int
    report_end: int
    seconds: float = 0.0
    to_peer: Direction = Direction(0, 0)
    to_guest: Direction = Direction(0, 0)

    def stop(self) -> None:
        """End it, wait for what is under way, and count."""
        os.close(self.stop_end)
        with open(self.report_end, encoding="ascii") as pipe:
            report = json.loads(pipe.read() or "null")
        os.waitpid(self.pid, 0)
        if report is None:
            raise TestbedError("the traffic ended without a report")
        self.seconds = report["seconds"]
        self.to_peer, self.to_guest = Direction(*report["to_peer"]), Direction(*report["to_guest"])


def give_addresses(guest: TapGuest, pod: Pod) -> None:
    """Configure the guest by hand, as DHCP would."""
    guest.netns.ip_batch(
        f"address add {pod.address}/{pod.prefixlen} dev {guest.ifname}",
        f"route add {pod.gateway} dev {guest.ifname}",
        f"route add default via {pod.gateway} dev {guest.ifname}",
    )


@contextmanager
def steady_traffic(guest: TapGuest, pod: Pod) -> Iterator[Traffic]:
    """Let traffic flow while the block lasts; it has begun to arrive both ways when the block begins."""
    inside, outside = _socket(guest.netns, pod.address), _socket(pod.node, pod.peer)
    inside.connect((pod.peer, PORT))
    outside.connect((pod.address, PORT))
    stop_read, stop_write = os.pipe()
    report_read, report_write = os.pipe()
    _wait_for_arrival(inside, outside)
    pid = os.fork()
    if pid == 0:
        os.close(stop_write)
        signal.setitimer(signal.ITIMER_REAL, 0)
        report = _flow(inside, outside, stop_read)
        os.write(report_write, json.dumps(report).encode())
        os._exit(0)
    for descriptor in (stop_read, report_write):
        os.close(descriptor)
    inside.close()
    outside.close()
    traffic = Traffic(pid, stop_write, report_read)
    try:
        yield traffic
    finally:
        traffic.stop()


def _socket(namespace: Netns, address: str) -> socket.socket:
    with entered(namespace):
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
    made.bind((address, PORT))
    made.setblocking(False)
    return made


def _wait_for_arrival(*ends: socket.socket) -> None:
    """Send from each end until one has come to the other; take back what else has come."""
    for source, target in (ends, ends[::-1]):
        for _ in range(20):
            source.send(b"first")
            if select.select([target], [], [], 0.5)[0]:
                break
        else:
            raise TestbedError("no datagram arrives")
    while select.select(ends, [], [], 0.3)[0]:
        for end in ends:
            _arrived(end)


def _arrived(end: socket.socket) -> set[int]:
    """Take the numbers of all datagrams that wait."""
    numbers: set[int] = set()
    while True:
        try:
            data = end.recv(64)
        except BlockingIOError:
            return numbers
        if len(data) == NUMBER.size:
            numbers.add(NUMBER.unpack(data)[0])


def _flow(inside: socket.socket, outside: socket.socket, stop: int) -> dict[str, object]:
    began, sent = time.monotonic(), 0
    at_peer: set[int] = set()
    at_guest: set[int] = set()
    while not select.select([stop], [], [], TICK)[0]:
        due = min(int((time.monotonic() - began) * PER_SECOND), min(len(at_peer), len(at_guest)) + UNDER_WAY)
        for number in range(sent, due):
            inside.send(NUMBER.pack(number))
            outside.send(NUMBER.pack(number))
        sent = max(sent, due)
        at_peer |= _arrived(outside)
        at_guest |= _arrived(inside)
    seconds = time.monotonic() - began
    silent = 0.0
    while (len(at_peer) < sent or len(at_guest) < sent) and silent < SETTLE:
        silent = 0.0 if select.select([inside, outside], [], [], TICK)[0] else silent + TICK
        at_peer |= _arrived(outside)
        at_guest |= _arrived(inside)
    return {"seconds": seconds, "to_peer": (sent, len(at_peer)), "to_guest": (sent, len(at_guest))}
