"""What is measured, and how: two ways to bring the same pod up, one client, one run."""

from __future__ import annotations

import os
import re
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.netns import entered, run
from testbed.pods import pod
from testbed.tap_guest import raw_tap

if TYPE_CHECKING:
    import resource
    from collections.abc import Iterator

    from testbed.pods import Pod
    from testbed.tap_guest import RawTap

VMNET = Path(sys.executable).with_name("vmnet")
BY_HAND = Path(__file__).with_name("plumb-by-hand.sh")
CORE = max(os.sched_getaffinity(0))
EXCHANGES = 2000
REPEATS = 3
_TRIES = 5
_XID = 14 + 20 + 8 + 4
_OP = 14 + 20 + 8
_OFFER, _ACK = 2, 5


@dataclass(frozen=True, slots=True)
class Started:
    """One bring-up: what it took, in milliseconds, until it returned; and the DHCP server it left."""

    wall: float
    cpu: float
    server: int


def milliseconds(usage: resource.struct_rusage) -> float:
    """CPU time, user and system."""
    return (usage.ru_utime + usage.ru_stime) * 1000


def timed(argv: list[str]) -> tuple[float, float]:
    """Run a program to its end; return wall and CPU milliseconds, of it and what it waited for.

    Raises:
        RuntimeError: it failed; with what it said.
    """
    began = time.monotonic()
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    _, status, usage = os.wait4(process.pid, 0)
    wall = (time.monotonic() - began) * 1000
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.stdout is not None
    said = process.stdout.read().decode(errors="replace")
    process.stdout.close()
    if process.returncode:
        raise RuntimeError(f"{' '.join(argv)}: exit code {process.returncode}\n{said}")
    return wall, milliseconds(usage)


@contextmanager
def vmnet_up(layout: str = "bridge") -> Iterator[tuple[Pod, Started]]:
    """Bring a fresh pod up with vmnet."""
    with pod(layout) as made, tempfile.TemporaryDirectory(prefix="vmnet-bench-") as state:
        place = ["--state-dir", state]
        settings = ["--resolv-conf", str(made.resolv_conf), "--hostname", "vm"]
        wall, cpu = timed(made.netns.command(VMNET, "up", *place, *settings))
        record = next(Path(state).glob("netns-*/eth0/server.pid")).read_text()
        yield made, Started(wall, cpu, int(record.split()[0]))
        run(made.netns.command(VMNET, "down", *place))


@contextmanager
def by_hand_up() -> Iterator[tuple[Pod, Started]]:
    """Bring a fresh pod up with a shell script and dnsmasq."""
    with pod("bridge") as made, tempfile.TemporaryDirectory(prefix="vmnet-bench-") as state:
        wall, cpu = timed(made.netns.command("sh", BY_HAND, state))
        yield made, Started(wall, cpu, int(Path(state, "dnsmasq.pid").read_text()))


def request(mac: str, options: bytes) -> bytes:
    """A DHCP request as a guest sends it; UDP checksum 0, so that a new xid needs no new one (RFC 768)."""
    hardware = bytes.fromhex(mac.replace(":", ""))
    bootp = struct.pack("!4BIHH16x6s10x192x", 1, 1, 6, 0, 0, 0, 0, hardware) + b"\x63\x82\x53\x63" + options
    bootp = bootp.ljust(300, b"\0")
    ip = bytearray(struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(bootp), 0, 0, 64, 17, 0, bytes(4), b"\xff" * 4))
    total = sum(struct.unpack("!10H", ip))
    ip[10:12] = (0xFFFF - total % 0xFFFF).to_bytes(2)
    udp = struct.pack("!4H", 68, 67, 8 + len(bootp), 0)
    return b"\xff" * 6 + hardware + b"\x08\x00" + bytes(ip) + udp + bootp


def discover_frame(mac: str) -> bytes:
    """A DISCOVER with the usual parameter request list."""
    return request(mac, bytes([53, 1, 1, 55, 8, 1, 3, 6, 12, 15, 26, 119, 121, 255]))


def request_frame(made: Pod) -> bytes:
    """An INIT-REBOOT REQUEST for the pod's address: no server identifier, so both servers take the same bytes."""
    address = bytes(map(int, made.address.split(".")))
    return request(
        made.mac, bytes([53, 1, 3, 50, 4]) + address + bytes([55, 8, 1, 3, 6, 12, 15, 26, 119, 121, 255])
    )


def exchange_once(tap: RawTap, frame: bytes, xid: int, kind: int) -> float:
    """Send a request and await its answer; return microseconds.

    Raises:
        RuntimeError: none came, although it was sent again and again.
    """
    for _ in range(_TRIES):
        took = _answered(tap, frame, xid, kind)
        if took is not None:
            return took
    raise RuntimeError(f"no answer after {_TRIES} requests of a second each")


def _answered(tap: RawTap, frame: bytes, xid: int, kind: int) -> float | None:
    """Send a request; return the microseconds until its answer, None where a second goes by without one."""
    wanted = xid.to_bytes(4)
    whole = bytes(10) + frame[:_XID] + wanted + frame[_XID + 4 :]
    poll = select.poll()
    poll.register(tap.descriptor, select.POLLIN)
    began = time.perf_counter_ns()
    os.write(tap.descriptor, whole)
    while poll.poll(1000):
        answer = os.read(tap.descriptor, 2048)
        # A hairpin bridge on the node sends the guest's own broadcast back.
        if answer[10 + _XID : 14 + _XID] == wanted and answer[10 + _OP] == 2:
            took = (time.perf_counter_ns() - began) / 1000
            assert answer[10 + 284] == kind, answer[10:].hex()
            return took
    return None


def exchange_p50(made: Pod, frame: bytes, kind: int) -> float:
    """Median of many exchanges in microseconds; both ends must be on one core already."""
    with raw_tap(made.netns) as tap:
        os.set_blocking(tap.descriptor, True)
        for xid in range(1, 101):
            exchange_once(tap, frame, xid, kind)
        return statistics.median(exchange_once(tap, frame, xid, kind) for xid in range(1000, 1000 + EXCHANGES))


def exchange_figures(made: Pod, server: int) -> tuple[float, float]:
    """DISCOVER→OFFER and REQUEST→ACK, best of several medians, client and server on one core."""
    os.sched_setaffinity(server, {CORE})
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {CORE})
    try:
        offers = min(exchange_p50(made, discover_frame(made.mac), _OFFER) for _ in range(REPEATS))
        acks = min(exchange_p50(made, request_frame(made), _ACK) for _ in range(REPEATS))
    finally:
        os.sched_setaffinity(0, before)
    return offers, acks


def memory(pid: int) -> tuple[float, float]:
    """RSS and PSS in MiB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    rss, pss = (re.findall(rf"^{name}: +(\d+) kB", text, re.MULTILINE)[0] for name in ("Rss", "Pss"))
    return int(rss) / 1024, int(pss) / 1024


def first_offer(made: Pod) -> float:
    """Send one DISCOVER right now and never again; return milliseconds until its OFFER."""
    with raw_tap(made.netns) as tap:
        os.set_blocking(tap.descriptor, True)
        return exchange_once(tap, discover_frame(made.mac), 7, _OFFER) / 1000


def kernel_milliseconds() -> float:
    """How long the changes of one `up` take in the kernel's hands, measured inside the agent."""
    code = (
        "import sys, time\n"
        "from vmnet import agent, cli\n"
        "spent = 0\n"
        "real = agent.apply\n"
        "def apply(netlink, change):\n"
        "    global spent\n"
        "    began = time.perf_counter()\n"
        "    real(netlink, change)\n"
        "    spent += time.perf_counter() - began\n"
        "agent.apply = apply\n"
        "code = cli.main(sys.argv[1:])\n"
        "print(spent * 1000 if code == 0 else code)\n"
    )
    with pod("bridge") as made, tempfile.TemporaryDirectory(prefix="vmnet-bench-") as state:
        place = ["--state-dir", state]
        up: list[str | Path] = ["up", *place, "--resolv-conf", made.resolv_conf]
        answer = run(made.netns.command(sys.executable, "-c", code, *up))
        run(made.netns.command(VMNET, "down", *place))
        return float(answer.stdout)


def silence_milliseconds() -> float:
    """The longest gap in a stream of frames from the node, as seen on the pod's NIC, while `up` runs."""
    import socket

    with pod("bridge") as made, tempfile.TemporaryDirectory(prefix="vmnet-bench-") as state:
        with entered(made.netns):
            listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5))
            listener.bind((made.ifname, 0x88B5))
        with entered(made.node):
            sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            sender.bind((made.host_ifname, 0))
        frame = b"\xff" * 6 + bytes.fromhex("027600000001") + b"\x88\xb5" + bytes(46)
        place = ["--state-dir", state]
        process = subprocess.Popen(
            made.netns.command(VMNET, "up", *place, "--resolv-conf", made.resolv_conf), stderr=subprocess.DEVNULL
        )
        longest, last = 0.0, time.perf_counter()
        listener.settimeout(0.001)
        while process.poll() is None:
            sender.send(frame)
            try:
                listener.recv(64)
            except TimeoutError:
                continue
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
        sender.close()
        listener.close()
        run(made.netns.command(VMNET, "down", *place))
        return longest * 1000
