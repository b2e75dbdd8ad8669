"""The loop's handlers over fakes that answer as the kernel does, and what the process may import."""

from __future__ import annotations

import _socket
import errno
import json
import os
import posix
import select
import struct
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.testlib.dhcp.frames import REPLIES, VM_MAC, bootp, compiled, discover, dissect, frame, message
from vmnet.server import loop as room
from vmnet.server import memory, sandbox
from vmnet.server.auxdata import TP_STATUS_CSUMNOTREADY, TP_STATUS_VLAN_VALID
from vmnet.server.compiled import dumps_failure
from vmnet.server.log import Log
from vmnet.server.loop import Server
from vmnet.server.presence import PATIENCE, Presence
from vmnet.server.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKETS, FOREIGN, CONTROL, REPLIES_PIPE, READY, NETWORK, ASKING, WITNESS, DOOR, STATM, NIC = range(3, 14)
KEPT = (CONTROL, DOOR, REPLIES_PIPE, READY, STATM)


class Packets:
    """The tap's socket: frames with their auxdata in, replies out; an OSError in a queue is raised."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.statistics = (0, 0)
        self.incoming: list[tuple[bytes, int, int] | OSError] = []
        self.sent: list[bytes] = []
        self.full: OSError | None = None
        self.closed = False
        self.tap = "tap0"
        self.bound: list[tuple[str, int]] = []
        self.tap_is_there = True

    def fileno(self) -> int:
        return -1 if self.closed else self.descriptor

    def getsockopt(self, level: int, name: int, size: int) -> bytes:
        assert (level, name, size) == (263, 6, 8)
        told, self.statistics = self.statistics, (0, 0)
        return struct.pack("II", *told)

    def recvmsg_into(
        self, buffers: list[bytearray], _space: int, flags: int
    ) -> tuple[int, list[tuple[int, int, bytes]], int, Any]:
        assert flags == _socket.MSG_DONTWAIT
        first = self.incoming.pop(0)
        if isinstance(first, OSError):
            raise first
        data, status, tci = first
        size = min(len(data), len(buffers[0]))
        buffers[0][:size] = data[:size]
        auxdata = struct.pack("IIIHHHH", status, len(data), size, 0, 14, tci, 0)
        return size, [(263, 8, auxdata)], _socket.MSG_TRUNC if size < len(data) else 0, None

    def getsockname(self) -> tuple[str, int, int, int, bytes]:
        return self.tap, 3, 0, 1, b""

    def bind(self, address: tuple[str, int]) -> None:
        if not self.tap_is_there:
            raise OSError(errno.ENODEV, "No such device")
        self.bound.append(address)

    def send(self, data: bytes, flags: int) -> None:
        assert flags == _socket.MSG_DONTWAIT
        if self.full:
            raise self.full
        self.sent.append(data)

    def close(self) -> None:
        self.closed = True


class Control:
    """The listening socket, with who comes to ask."""

    def __init__(self) -> None:
        self.gone = False
        self.caller = b""

    def fileno(self) -> int:
        return CONTROL

    def _accept(self) -> tuple[int, Any]:
        if self.gone:
            raise ConnectionAbortedError
        return 9, self.caller


class Peer:
    """One who asks: with a uid, and perhaps gone already."""

    def __init__(self, uid: int, *, gone: bool = False) -> None:
        self.uid = uid
        self.gone = gone
        self.heard = b""
        self.waits = self.open = True

    def setblocking(self, waits: bool) -> None:
        self.waits = waits

    def getsockopt(self, _level: int, name: int, size: int) -> bytes:
        assert (name, size) == (_socket.SO_PEERCRED, 12)
        return struct.pack("iII", 1234, self.uid, self.uid)

    def send(self, data: bytes) -> None:
        assert not self.waits
        if self.gone:
            raise BrokenPipeError
        self.heard += data

    def close(self) -> None:
        self.open = False


class Poller:
    """Remembers what is watched."""

    def __init__(self) -> None:
        self.watched: set[int] = set()
        self.ready: list[tuple[int, int]] = []
        self.waits: list[int | None] = []

    def poll(self, milliseconds: int | None) -> list[tuple[int, int]]:
        self.waits.append(milliseconds)
        ready, self.ready = self.ready, []
        return ready

    def register(self, descriptor: int, _events: int) -> None:
        self.watched.add(descriptor)

    def unregister(self, descriptor: int) -> None:
        self.watched.remove(descriptor)


class Bench:
    """A server on fakes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.packets, self.foreign, self.witness = Packets(PACKETS), Packets(FOREIGN), Packets(WITNESS)
        self.control, self.poller = Control(), Poller()
        self.headers: list[bytes] = []
        self.now = 50.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        self.pipe: list[bytes] = []
        self.lines: list[bytes] = []
        monkeypatch.setattr(select, "poll", lambda: self.poller)
        self.service = Service(Log(self.lines.append))
        ears: tuple[Any, Any, Any] = self.packets, self.foreign, self.witness
        control: Any = self.control
        self.server = Server(ears, None, (control,), REPLIES_PIPE, self.service)

    def compiled(self, monkeypatch: pytest.MonkeyPatch, *parts: bytes) -> None:
        """Let the compiler write these parts and close its pipe."""
        self.pipe = [*parts, b""]
        with monkeypatch.context() as patched:
            patched.setattr(posix, "read", lambda _descriptor, _size: self.pipe.pop(0))
            patched.setattr(posix, "close", self.closed)
            while REPLIES_PIPE in self.poller.watched:
                self.server.take_replies()

    def closed(self, descriptor: int) -> None:
        assert descriptor == REPLIES_PIPE

    def tell(self) -> None:
        """Let the server see to who has come."""
        self.poller.ready = [(CONTROL, select.POLLIN)]
        self.server.turn()

    def hear(self, data: bytes | OSError, status: int = 0, tci: int = 0) -> list[bytes]:
        """Let a frame come in; what is sent for it."""
        self.packets.incoming.append(data if isinstance(data, OSError) else (data, status, tci))
        self.packets.sent.clear()
        self.server.take_frame()
        return list(self.packets.sent)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench(monkeypatch)
    made.compiled(monkeypatch, compiled(REPLIES))
    return made


def test_the_guest_is_listened_to_once_all_replies_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    assert bench.poller.watched == {CONTROL, REPLIES_PIPE}
    data = compiled(REPLIES)
    bench.compiled(monkeypatch, data[:100], data[100:])
    assert bench.poller.watched == {CONTROL, PACKETS, FOREIGN, WITNESS}
    assert bench.service.state == "serving"


@pytest.mark.parametrize("parts", [[], [b"Traceback"], [compiled(REPLIES)[:500]]])
def test_where_the_compiler_was_killed_it_ends_so_that_both_are_started_again(
    monkeypatch: pytest.MonkeyPatch, parts: list[bytes]
) -> None:
    bench = Bench(monkeypatch)
    monkeypatch.setattr(posix, "_exit", sys.exit)
    with pytest.raises(SystemExit) as ended:
        bench.compiled(monkeypatch, *parts)
    assert ended.value.code == 1
    assert "the guest gets no DHCP" in bench.lines[-1].decode()


@pytest.mark.parametrize("parts", [[dumps_failure("no")], [b"x" * (1 << 20), b"y"]])
def test_without_replies_it_lives_and_answers(monkeypatch: pytest.MonkeyPatch, parts: list[bytes]) -> None:
    bench = Bench(monkeypatch)
    bench.compiled(monkeypatch, *parts)
    assert bench.service.state == "failed"
    assert bench.poller.watched == {CONTROL}
    assert bench.packets.closed
    assert bench.foreign.closed
    assert bench.witness.closed
    assert len(bench.lines) == 1


def test_a_frame_is_answered(bench: Bench) -> None:
    [reply] = bench.hear(discover())
    assert dissect(reply)[1][53] == b"\2"


def test_auxdata_is_heard(bench: Bench) -> None:
    assert bench.hear(discover(checksum=1), TP_STATUS_CSUMNOTREADY)
    assert not bench.hear(discover(checksum=1))
    assert bench.hear(discover(), TP_STATUS_VLAN_VALID, 0xE000)
    assert not bench.hear(discover(), TP_STATUS_VLAN_VALID, 5)
    assert bench.service.ignored == {"udp_checksum": 1, "vlan": 1}


def test_the_frame_before_is_not_read_again(bench: Bench) -> None:
    assert bench.hear(discover())
    assert not bench.hear(discover()[:40])
    assert bench.service.ignored == {"short": 1}


def test_a_frame_longer_than_any_message_is_ignored(bench: Bench) -> None:
    assert not bench.hear(frame(bootp(message(1), length=2100)))
    assert bench.service.ignored == {"too_long": 1}


@pytest.mark.parametrize("refusal", [OSError(100, "Network is down"), BlockingIOError(11, "Try again")])
def test_what_the_kernel_refuses_is_survived(bench: Bench, refusal: OSError) -> None:
    assert not bench.hear(refusal)
    bench.packets.full = refusal
    assert not bench.hear(discover())
    bench.packets.full = None
    assert bench.hear(discover())
    assert bench.service.errors == {f"receive: {refusal.strerror}": 1, f"send: {refusal.strerror}": 1}


@pytest.mark.parametrize(
    ("refusal", "errors"),
    [(OSError(100, "Network is down"), {}), (BlockingIOError(11, "Try again"), {"send: Try again": 1})],
)
def test_that_the_tap_is_not_up_yet_is_no_error_of_what_nobody_asked_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, refusal: OSError, errors: dict[str, int]
) -> None:
    monkeypatch.setattr(bench.service, "due", lambda: 0.0)
    monkeypatch.setattr(bench.service, "tick", lambda: ((b"an advertisement",), ()))
    bench.packets.full = refusal
    bench.server._see_to_what_is_due(1.0)
    assert bench.service.errors == errors


def looked_at(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, headers: list[bytes | OSError], ear: int = FOREIGN
) -> None:
    """Let the server look at that ear's frames, of which the kernel hands over these."""

    def read(descriptor: int, size: int) -> bytes:
        assert (descriptor, size) == (ear, 96)
        header = headers.pop(0)
        if isinstance(header, OSError):
            raise header
        return header

    bench.poller.ready = [(ear, select.POLLIN)]
    with monkeypatch.context() as patched:
        patched.setattr(posix, "read", read)
        bench.server.turn()


def test_foreign_macs_are_told_counted_and_left_alone_for_a_while(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.foreign.statistics, bench.packets.statistics = (70_000, 69_998), (9, 2)
    headers = [discover(source_mac=mac)[:14] for mac in (b"\2\0\0\0\0\7", b"\2\0\0\0\0\7")]
    looked_at(bench, monkeypatch, [*headers, BlockingIOError()])
    assert bench.service.ignored == {"foreign_source_mac": 70_000, "queue_full": 2}
    assert bench.service.errors == {}
    assert [json.loads(line).get("mac") for line in bench.lines] == [None, "02:00:00:00:00:07"]
    assert bench.poller.watched == {CONTROL, PACKETS, WITNESS}

    bench.now += 0.1
    bench.server.turn()
    assert bench.poller.watched == {CONTROL, PACKETS, WITNESS}
    bench.now += 0.2
    bench.server.turn()
    assert bench.poller.watched == {CONTROL, PACKETS, FOREIGN, WITNESS}
    bench.server.turn()
    assert bench.poller.waits == [None, 200, 200, None]


def test_a_flood_of_foreign_frames_keeps_nobody_in_the_loop(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    headers: list[bytes | OSError] = [discover()[:14]] * 1000
    looked_at(bench, monkeypatch, headers)
    assert len(headers) == 1000 - 32


ARP = bytes.fromhex("ffffffffffff020000000001080600010800060400010200000000010a0000050000000000000a000001")


def test_what_the_guest_does_is_seen_and_its_socket_left_alone_for_a_while(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.now += 1
    looked_at(bench, monkeypatch, [ARP, BlockingIOError()], WITNESS)
    assert bench.service.report()["lease"] == "static"
    assert WITNESS not in bench.poller.watched
    bench.now += 0.3
    bench.server.turn()
    assert WITNESS in bench.poller.watched


def test_who_calls_by_that_name_is_shown_the_frames(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.hear(discover())
    bench.control.caller = b"\0vmnet/capture/x"
    lines = [json.loads(line) for line in asked(bench, monkeypatch, Peer(0)).splitlines()]
    assert [(line["sender"], line["word"]) for line in lines] == [("guest", "offer"), ("server", "offer")]
    assert bytes.fromhex(lines[0]["frame"]) == discover()
    assert not asked(bench, monkeypatch, Peer(os.getuid() + 1))


class Nic:
    """Its socket: bound to a link that is there, or was."""

    def __init__(self) -> None:
        self.there = True
        self.name = "eth0-nic"

    def fileno(self) -> int:
        return NIC

    def getsockopt(self, *_: int) -> int:
        return errno.ENETDOWN

    def getsockname(self) -> tuple[str]:
        return (self.name,)

    def bind(self, address: tuple[str, int]) -> None:
        assert address == ("eth0-nic", 0x88B5)
        if not self.there:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        self.name = address[0]


@pytest.fixture
def nic(bench: Bench) -> Nic:
    made = Nic()
    socket: Any = made
    bench.server.watch_nic(Presence(socket, "eth0-nic"))
    return made


@pytest.fixture
def links(bench: Bench) -> Iterator[int]:
    """The netlink socket; what it tells says nothing here."""
    descriptor = os.open(os.devnull, os.O_RDONLY)
    told: Any = SimpleNamespace(fileno=lambda: descriptor)
    bench.server.hear_links(told)
    yield descriptor
    os.close(descriptor)


def _goes(bench: Bench, nic: Nic) -> None:
    nic.there, nic.name = False, ""
    bench.poller.ready = [(NIC, select.POLLERR)]
    bench.server.turn()


def test_a_nic_that_is_gone_for_good_ends_the_server(
    bench: Bench, nic: Nic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would keep the namespace of a deleted pod, with tap and bridge, for ever."""
    monkeypatch.setattr(posix, "_exit", sys.exit)
    _goes(bench, nic)
    assert NIC not in bench.poller.watched
    bench.now += PATIENCE - 1
    bench.server.turn()
    bench.now += 1
    with pytest.raises(SystemExit) as ended:
        bench.server.turn()
    assert ended.value.code == 0
    assert [json.loads(line)["event"] for line in bench.lines[-2:]] == ["nic_gone", "nic_gone_for_good"]


def test_a_nic_that_was_only_moved_away_or_down_or_renamed_does_not(bench: Bench, nic: Nic) -> None:
    lines = len(bench.lines)
    for name in ("eth0-nic", "eth0"):
        nic.name = name
        bench.poller.ready = [(NIC, select.POLLERR)]
        bench.server.turn()
    assert len(bench.lines) == lines
    _goes(bench, nic)
    nic.there = True
    bench.now += 2 * PATIENCE
    bench.server.turn()
    assert json.loads(bench.lines[-1])["event"] == "nic_back"
    assert NIC in bench.poller.watched


def test_a_nic_that_was_down_before_it_was_deleted_is_gone(bench: Bench, nic: Nic, links: int) -> None:
    """Its socket tells of the first alone."""
    bench.poller.ready = [(NIC, select.POLLERR)]
    bench.server.turn()
    assert NIC in bench.poller.watched
    nic.there, nic.name = False, ""
    bench.poller.ready = [(links, select.POLLIN)]
    bench.server.turn()
    assert NIC not in bench.poller.watched
    bench.poller.ready = [(links, select.POLLIN)]
    bench.server.turn()
    assert [json.loads(line)["event"] for line in bench.lines].count("nic_gone") == 1


@pytest.mark.parametrize("state", ["serving", "failed"])
def test_who_asks_hears_the_newest_counts(monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    bench = Bench(monkeypatch)
    bench.compiled(monkeypatch, compiled(REPLIES) if state == "serving" else dumps_failure("no"))
    bench.foreign.statistics, bench.packets.statistics = (5, 0), (300, 100)
    counts = {"foreign_source_mac": 5, "queue_full": 100} if state == "serving" else {}
    for _ in range(2):
        assert json.loads(asked(bench, monkeypatch, Peer(0)))["ignored"] == counts


def asked(bench: Bench, monkeypatch: pytest.MonkeyPatch, peer: Peer) -> bytes:
    """What a peer hears."""
    monkeypatch.setattr(_socket, "socket", lambda fileno: peer)
    bench.tell()
    assert not peer.open
    return peer.heard


def test_status_is_one_line_of_json(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.hear(discover())
    heard = asked(bench, monkeypatch, Peer(0))
    assert heard.endswith(b"\n")
    assert heard.count(b"\n") == 1
    told = json.loads(heard)
    assert (told["state"], told["lease"], told["pid"], told["uid"]) == (
        "serving",
        "offered",
        os.getpid(),
        os.getuid(),
    )
    assert (told["vm_mac"], told["events"], told["reason"]) == (VM_MAC.hex(":"), {"offer": 1}, "")


def test_it_says_how_large_it_is_where_that_can_be_known(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Read anew each time it is asked, by a descriptor that was opened before; proc(5) counts pages."""

    def told() -> object:
        return json.loads(asked(bench, monkeypatch, Peer(0)))["resident_bytes"]

    assert told() is None
    statm = tmp_path / "statm"
    statm.write_text("5120 2468 1024 1 0 999 0\n", encoding="ascii")
    monkeypatch.setattr(memory, "_STATM", str(statm))
    bench.server.statm = memory.open_statm()
    assert told() == 2468 * os.sysconf("SC_PAGESIZE")
    statm.write_text("5120 3000 1024 1 0 999 0\n", encoding="ascii")
    assert told() == 3000 * os.sysconf("SC_PAGESIZE")
    os.close(bench.server.statm)


def test_the_kernel_says_how_large_a_process_is() -> None:
    statm = memory.open_statm()
    assert memory.resident_bytes(statm)
    os.close(statm)


def test_status_is_for_root_and_our_own_user(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(bench, monkeypatch, Peer(os.getuid()))
    assert not asked(bench, monkeypatch, Peer(os.getuid() + 1))


def test_a_peer_that_left_is_nobody_s_trouble(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not asked(bench, monkeypatch, Peer(0, gone=True))
    bench.control.gone = True
    bench.tell()


@pytest.mark.parametrize("grown", ["ignored", "dropped_options"])
def test_status_is_16_kib_at_most_and_json_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, grown: str
) -> None:
    report = {**bench.service.report(), grown: tuple(range(10_000, 20_000))}
    monkeypatch.setattr(bench.service, "report", lambda: report)
    heard = asked(bench, monkeypatch, Peer(0))
    told = json.loads(heard)
    assert len(heard) <= 16384
    assert (told["state"], told[grown], told["pid"]) == ("serving", None, os.getpid())


LINKS = 31


class Main:
    """`main` with everything around it replaced: what it does in which order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, report: dict[str, Any], *ears: str) -> None:
        self.steps: list[str] = []
        self.lines: list[bytes] = []
        self.report = report
        bench = Bench(monkeypatch)
        network = {NETWORK: Packets(NETWORK), ASKING: Packets(ASKING)}
        sockets = {
            PACKETS: bench.packets,
            FOREIGN: bench.foreign,
            WITNESS: bench.witness,
            CONTROL: self,
            DOOR: self,
            NIC: Nic(),
            **network,
        }
        self.given_up: tuple[object, ...] = ()
        numbers = (f"{CONTROL},{DOOR}", str(REPLIES_PIPE), str(READY))
        monkeypatch.setattr(sys, "argv", ["-c", *ears, str(NIC), "eth0-nic", *numbers, "bound/silent", "on"])
        monkeypatch.setattr(_socket, "socket", lambda fileno: sockets[fileno])
        monkeypatch.setattr(sandbox, "enter", self.enter)
        monkeypatch.setattr(room, "open_statm", lambda: STATM)
        monkeypatch.setattr(room, "open_links", lambda: Packets(LINKS))
        monkeypatch.setattr(room, "write_to_stderr", self.lines.append)
        monkeypatch.setattr(room, "_name_process", lambda name: self.steps.append(name.decode()))
        monkeypatch.setattr(room, "_say_ready", lambda ready: self.steps.append(f"ready {ready}"))
        monkeypatch.setattr(Server, "run", lambda server: self.steps.append(f"serve {server.sandbox['on']}"))

    def fileno(self) -> int:
        return CONTROL

    def setblocking(self, waits: bool) -> None:
        assert not waits

    def listen(self, _waiters: int) -> None:
        self.steps.append("listen")

    def enter(self, wish: str, *descriptors: tuple[int, ...]) -> dict[str, Any]:
        self.given_up = descriptors
        self.steps.append(f"enter {wish}")
        return self.report


@pytest.mark.parametrize("on", [True, False])
def test_it_listens_gives_everything_up_says_ready_and_serves(monkeypatch: pytest.MonkeyPatch, on: bool) -> None:
    process = Main(
        monkeypatch, {"on": on, "reached": (), "missed": {}}, *map(str, (PACKETS, FOREIGN, WITNESS, -1, -1)), ""
    )
    room.main()
    assert process.given_up == ((PACKETS, FOREIGN, WITNESS, NIC), (NIC, LINKS), KEPT)
    assert process.steps == ["vmnet-server", "listen", "listen", "enter on", f"ready {READY}", f"serve {on}"]
    assert [json.loads(line)["event"] for line in process.lines] == ([] if on else ["sandbox_off"])


def test_what_hears_the_pod_network_is_mute_and_never_bound_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = map(str, (PACKETS, FOREIGN, WITNESS, NETWORK, ASKING))
    process = Main(monkeypatch, {"on": True, "reached": (), "missed": {}}, *numbers, "k6t-eth0")
    room.main()
    assert process.given_up == ((PACKETS, FOREIGN, WITNESS, ASKING, NIC), (NETWORK, NIC, LINKS), KEPT)


HEAVY = {"dataclasses", "typing", "json", "re", "enum", "logging", "argparse", "selectors", "subprocess", "socket"}
HEAVY |= {"contextlib", "collections", "functools", "ipaddress", "threading", "pathlib"}
HEAVY |= {"array", "os"}  # they import collections.abc


def test_the_process_imports_nothing_heavy() -> None:
    """Follows the imports by their text: an import of this test's own would find everything loaded already."""
    root = Path(room.__file__).parents[2]
    todo, seen = {"vmnet.server.loop"}, set()
    while todo:
        name = todo.pop()
        seen.add(name)
        lines = (root / f"{name.replace('.', '/')}.py").read_text(encoding="utf-8").splitlines()
        words = [line.split() for line in lines if line.startswith(("import ", "from "))]
        rooms = ("vmnet.server", "vmnet.server.dhcp", "vmnet.server.ipv6")
        modules = {f"{word[1]}.{word[3]}" if word[1] in rooms else word[1] for word in words}
        assert not HEAVY & modules, name
        todo |= {module for module in modules if module.startswith("vmnet.")} - seen
    assert {
        "vmnet.server.dhcp.request",
        "vmnet.server.dhcp.answer",
        "vmnet.server.dhcp.replies",
        "vmnet.server.dhcp.lease_state",
    } <= seen
    assert {"vmnet.server.sandbox", "vmnet.server.seccomp"} <= seen


@pytest.mark.usefixtures("links")
def test_a_tap_that_is_made_anew_is_listened_to_again(bench: Bench) -> None:
    bench.packets.incoming.append(OSError(errno.ENETDOWN, "Network is down"))
    bench.packets.tap, bench.packets.tap_is_there = "", False
    bench.poller.ready = [(PACKETS, select.POLLERR)]

    bench.server.turn()
    bench.server.turn()
    assert bench.packets.bound == []
    assert bench.poller.waits == [None, 200]
    bench.packets.tap_is_there, bench.foreign.tap_is_there = True, False
    bench.server.turn()
    assert bench.service.report()["events"] == {}
    bench.foreign.tap_is_there = True
    bench.server.turn()
    assert bench.packets.bound == [("tap0", 3), ("tap0", 3)]
    assert bench.foreign.bound == bench.witness.bound == [("tap0", 3)]
    assert bench.service.report()["events"] == {"rebound": 1}
    bench.server.turn()
    assert bench.poller.waits[-1] is None


def _goes_down(bench: Bench) -> None:
    bench.packets.incoming.append(OSError(errno.ENETDOWN, "Network is down"))
    bench.poller.ready = [(PACKETS, select.POLLERR)]
    bench.server.turn()


@pytest.mark.usefixtures("links")
def test_a_tap_that_is_merely_down_is_still_ours(bench: Bench) -> None:
    _goes_down(bench)
    bench.server.turn()
    assert bench.poller.waits == [None, None]
    assert bench.packets.bound == []


def test_a_tap_that_was_down_before_it_was_deleted_is_listened_to_again(bench: Bench, links: int) -> None:
    """Its socket tells of the first alone; even a deletion by one command takes the tap down first."""
    _goes_down(bench)
    bench.packets.tap, bench.packets.tap_is_there = "", False
    bench.poller.ready = [(links, select.POLLIN)]
    bench.server.turn()
    bench.packets.tap_is_there = True
    bench.server.turn()
    assert bench.poller.waits == [None, None, 200]
    assert bench.packets.bound == [("tap0", 3)]


def test_without_a_netlink_socket_a_tap_that_went_down_is_looked_at_now_and_then(bench: Bench) -> None:
    _goes_down(bench)
    bench.server.turn()
    assert bench.packets.bound == []
    bench.packets.tap = ""
    bench.server.turn()
    assert bench.poller.waits == [None, 200, 200]
    assert bench.packets.bound == [("tap0", 3)]
