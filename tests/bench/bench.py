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
from socket import AF_INET6, inet_pton
from typing import TYPE_CHECKING

from testbed.netns import entered, run
from testbed.pods import pod
from testbed.tap_guest import raw_tap
from vmnet.server.ipv6.packet import checksum

if TYPE_CHECKING:
    import resource
    from collections.abc import Callable, Iterator, Sequence

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
_KIND = 284
_OFFER, _ACK = 2, 5
_SOLICIT, _ADVERTISE = 1, 2
_VNET_HDR = 10


@dataclass(frozen=True, slots=True)
class Started:
    """One bring-up: what it took, in milliseconds, until it returned; and the DHCP server it left."""

    wall: float
    cpu: float
    server: int
    state_dir: str = ""


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
        yield made, Started(wall, cpu, int(record.split()[0]), state)
        run(made.netns.command(VMNET, "down", *place))


@contextmanager
def by_hand_up(layout: str = "bridge") -> Iterator[tuple[Pod, Started]]:
    """Bring a fresh pod up with a shell script and dnsmasq."""
    with pod(layout) as made, tempfile.TemporaryDirectory(prefix="vmnet-bench-") as state:
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


@dataclass(frozen=True, slots=True)
class Question:
    """A request as a guest writes it to its tap, and what its answer, from there, has at which place."""

    frame: bytes
    place: slice
    wanted: bytes
    kind: int
    kind_at: int


def discover(made: Pod, xid: int) -> Question:
    """A DISCOVER with the usual parameter request list."""
    return _question4(made, xid, bytes([53, 1, 1]), _OFFER)


def reboot(made: Pod, xid: int) -> Question:
    """An INIT-REBOOT REQUEST for the pod's address: no server identifier, so both servers take the same bytes."""
    address = bytes(map(int, made.address.split(".")))
    return _question4(made, xid, bytes([53, 1, 3, 50, 4]) + address, _ACK)


def _question4(made: Pod, xid: int, options: bytes, kind: int) -> Question:
    frame = request(made.mac, options + bytes([55, 8, 1, 3, 6, 12, 15, 26, 119, 121, 255]))
    octets = xid.to_bytes(4)
    # op, htype, hlen, hops, xid: a hairpin bridge on the node sends the guest's own broadcast back, whose op is 1.
    place = slice(_VNET_HDR + _OP, _VNET_HDR + _XID + 4)
    whole = bytes(_VNET_HDR) + frame[:_XID] + octets + frame[_XID + 4 :]
    return Question(whole, place, b"\2\1\6\0" + octets, kind, _VNET_HDR + _KIND)


def solicit(made: Pod, xid: int) -> Question:
    """A SOLICIT of a client that asks for what the usual ones do (RFC 9915 §21)."""
    hardware = bytes.fromhex(made.mac.replace(":", ""))
    client_id = struct.pack("!HHHH6s", 1, 10, 3, 1, hardware)
    options = client_id + struct.pack("!HH12xHHHHHHHH", 3, 12, 8, 2, 0, 6, 6, 23, 24, 39)
    message = struct.pack("!I", _SOLICIT << 24 | xid) + options
    udp = struct.pack("!4H", 546, 547, 8 + len(message), 0) + message
    addresses = inet_pton(AF_INET6, "fe80::5") + inet_pton(AF_INET6, "ff02::1:2")
    udp = udp[:6] + checksum(addresses, 17, udp).to_bytes(2) + udp[8:]
    link = bytes.fromhex("333300010002") + hardware + b"\x86\xdd"
    frame = bytes(_VNET_HDR) + link + struct.pack("!IHBB", 6 << 28, len(udp), 17, 1) + addresses + udp
    kind_at = _VNET_HDR + 14 + 40 + 8
    wanted = bytes([_ADVERTISE]) + xid.to_bytes(3)
    return Question(frame, slice(kind_at, kind_at + 4), wanted, _ADVERTISE, kind_at)


def exchange_once(tap: RawTap, question: Question) -> float:
    """Send a request and await its answer; return microseconds.

    Raises:
        RuntimeError: none came, although it was sent again and again.
    """
    for _ in range(_TRIES):
        took = _answered(tap, question)
        if took is not None:
            return took
    raise RuntimeError(f"no answer after {_TRIES} requests of a second each")


def _answered(tap: RawTap, question: Question) -> float | None:
    """Send a request; return the microseconds until its answer, None where a second goes by without one."""
    place, wanted = question.place, question.wanted
    poll = select.poll()
    poll.register(tap.descriptor, select.POLLIN)
    began = time.perf_counter_ns()
    os.write(tap.descriptor, question.frame)
    while poll.poll(1000):
        answer = os.read(tap.descriptor, 2048)
        if answer[place] == wanted:
            took = (time.perf_counter_ns() - began) / 1000
            assert answer[question.kind_at] == question.kind, answer.hex()
            return took
    return None


def exchange_p50(made: Pod, asked: Callable[[Pod, int], Question]) -> float:
    """Median of many exchanges in microseconds; both ends must be on one core already."""
    questions = [asked(made, xid) for xid in range(1, 101 + EXCHANGES)]
    with raw_tap(made.netns) as tap:
        os.set_blocking(tap.descriptor, True)
        for question in questions[:100]:
            exchange_once(tap, question)
        return statistics.median(exchange_once(tap, question) for question in questions[100:])


def exchange_figures(made: Pod, server: int, *asked: Callable[[Pod, int], Question]) -> tuple[float, ...]:
    """Of each exchange, the best of several medians, client and server on one core."""
    os.sched_setaffinity(server, {CORE})
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {CORE})
    try:
        return tuple(min(exchange_p50(made, one) for _ in range(REPEATS)) for one in asked)
    finally:
        os.sched_setaffinity(0, before)


def memory(pid: int) -> tuple[float, float]:
    """RSS and PSS in MiB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    rss, pss = (re.findall(rf"^{name}: +(\d+) kB", text, re.MULTILINE)[0] for name in ("Rss", "Pss"))
    return int(rss) / 1024, int(pss) / 1024


def first_offer(made: Pod) -> float:
    """Send one DISCOVER right now and never again; return milliseconds until its OFFER."""
    with raw_tap(made.netns) as tap:
        os.set_blocking(tap.descriptor, True)
        return exchange_once(tap, discover(made, 7)) / 1000


def kernel_milliseconds() -> float:
    """How long the changes of one `up` take in the kernel's hands, measured inside the agent."""
    code = (
        "import sys, time\n"
        "from vmnet.agent import converge\n"
        "from vmnet.cli import main as cli\n"
        "spent = 0\n"
        "real = converge.apply\n"
        "def apply(netlink, change):\n"
        "    global spent\n"
        "    began = time.perf_counter()\n"
        "    real(netlink, change)\n"
        "    spent += time.perf_counter() - began\n"
        "converge.apply = apply\n"
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


def start_milliseconds(words: Sequence[str | Path]) -> float:
    """CPU time of a program from its start to its end."""
    return timed([str(word) for word in words])[1]


PYTHON = (sys.executable, "-I", "-S", "-c", "pass")
PROBE = (
    *(sys.executable, "-I", "-S", "-c"),
    "import sys; sys.path.append(sys.argv.pop(1)); from vmnet.__main__ import main; main()",
    str(Path(__file__).parents[2]),
)
"""What the image's command does (deploy/image/vmnet)."""


def probe_milliseconds(repeats: int) -> tuple[float, float]:
    """CPU time of `vmnet probe` as in the image, and of a Python that does nothing: medians."""
    with vmnet_up() as (made, started):
        first_offer(made)
        words = made.netns.command(*PROBE, "probe", "--state-dir", started.state_dir)
        probes = [start_milliseconds(words) for _ in range(repeats)]
    return statistics.median(probes), statistics.median(start_milliseconds(PYTHON) for _ in range(repeats))
