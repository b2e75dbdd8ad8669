"""The server has given everything up, and serves: as root's child and as a container's, as its users start it.

┌ pod ─────────────────────────────────────────────────────────────┐
│ vmnet-server   no capability, no file, no new call ─── tap0 ─────┤── guest
└──────────────────────────────────────────────────────────────────┘
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import select
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import Ether

import vmnet
from testbed import agent as agents
from testbed import clients
from testbed.layouts import LAYOUTS
from testbed.netns import TestbedError, entered, run
from testbed.patience import PATIENCE, attempts
from testbed.pods import must_answer
from testbed.snapshot import difference, snapshot
from testbed.tap_copier import open_wire
from testbed.tap_guest import VNET_HDR, raw_tap, tap_guest
from tests import figures
from tests.extent import chosen, sampled
from tests.netns import probes
from vmnet.server.log import LARGEST_LOG

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from testbed.agent import Agent
    from testbed.pods import Pod
    from testbed.tap_guest import RawTap

ROOT = str(Path(vmnet.__file__).parents[1])
OWN, NOBODY, SOMEBODY = "65525", "65534", "1234"
OFFER, ACK = 2, 5
EXCHANGES = 20
STAGES = [
    "descriptors",
    "bounding",
    "user",
    "capabilities",
    "no_new_privs",
    "limits",
    "landlock",
    "seccomp",
]
CONTAINER_MISSES = {
    "bounding": "CAP_SETPCAP is missing",
    "user": "CAP_SETUID or CAP_SETGID is missing",
}
LIMITS = {
    "Max file size": str(4 << 20),
    "Max core file size": "0",
    "Max processes": "0",
    "Max open files": "16",
    "Max data size": str(64 << 20),
    "Max address space": str(256 << 20),
    "Max locked memory": "0",
}
"""As /proc/PID/limits calls them."""
FURTHER_DESCRIPTORS = 3
"""READY and the compiler's pipe, which are closed by and by, and one who asks."""


@pytest.fixture(params=[False, True], ids=["root", "container"])
def mine(pod: Pod, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Agent]:
    """Both kinds of vmnet for one pod, nothing done yet."""
    made = replace(agents.agent(pod, tmp_path), confined=request.param)
    yield made
    made.clear()


AS_BOTH = pytest.mark.parametrize("mine", chosen([False, True], bool), ids=["root", "container"], indirect=True)
"""What root's child has first been seen to be and to do, a sample shows as a container's, which can do less."""


def table(text: str) -> dict[str, str]:
    """What a file says in lines of `name: value`."""
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def limits(pid: int) -> dict[str, str]:
    """The hard limits of a process."""
    lines = Path(f"/proc/{pid}/limits").read_text(encoding="ascii").splitlines()[1:]
    columns = [re.split(r"\s{2,}", line.strip()) for line in lines]
    return {column[0]: column[2] for column in columns}


def test_the_running_server_holds_nothing(mine: Agent) -> None:
    mine.up()
    [server] = mine.servers()
    shown = table(Path(f"/proc/{server}/status").read_text(encoding="ascii"))
    held = {name: int(shown[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")}
    assert held == dict.fromkeys(held, 0)
    assert (shown["NoNewPrivs"], shown["Seccomp"], shown["Threads"]) == ("1", "2", "1")
    assert limits(server).items() >= LIMITS.items()
    if not mine.confined:
        assert int(shown["CapBnd"], 16) == 0
        assert set(shown["Uid"].split()) == set(shown["Gid"].split()) == {OWN}
        assert shown["Groups"] == ""


def test_status_shows_the_stages(mine: Agent) -> None:
    mine.up()
    missed = CONTAINER_MISSES if mine.confined else {}
    told = mine.status()["server"]["sandbox"]
    assert told == {"on": True, "reached": [stage for stage in STAGES if stage not in missed], "missed": missed}
    text = mine.run("status").stdout
    assert f"sandbox: {', '.join(told['reached'])}" in text
    assert text.count("not reached") == len(missed)


@pytest.mark.host_privileges("becoming somebody needs CAP_SETUID")
def test_the_server_becomes_who_is_asked_for(pod: Pod, agent: Agent) -> None:
    del pod
    agent.up("--server-user", SOMEBODY)
    [server] = agent.servers()
    shown = table(Path(f"/proc/{server}/status").read_text(encoding="ascii"))
    assert set(shown["Uid"].split()) == {SOMEBODY}
    assert set(shown["Gid"].split()) == {NOBODY}


@pytest.mark.host_privileges("it looks for what is left of them")
def test_off_is_loud_and_gives_nothing_up(pod: Pod, agent: Agent) -> None:
    del pod
    said = agent.up("--sandbox", "off")
    [server] = agent.servers()
    shown = table(Path(f"/proc/{server}/status").read_text(encoding="ascii"))
    assert (shown["Uid"].split()[0], shown["Seccomp"], shown["NoNewPrivs"]) == ("0", "0", "0")
    assert [json.loads(line)["level"] for line in said.stderr.splitlines() if "sandbox-off" in line] == ["warning"]
    assert "sandbox: OFF" in agent.run("status").stdout
    assert agent.status()["server"]["sandbox"]["on"] is False
    [log] = agent.logs()
    assert '"event":"sandbox_off"' in log.read_text(encoding="ascii")


@AS_BOTH
def test_what_its_starter_s_caller_left_open_is_closed(pod: Pod, mine: Agent) -> None:
    del pod
    read_end, write_end = os.pipe()
    argv = mine.argv("up")
    subprocess.run(argv, pass_fds=(read_end, write_end), check=True, capture_output=True, timeout=PATIENCE)
    os.close(write_end)
    # The compiler, which has not seen the guest and will not, may have a moment to live.
    assert select.select([read_end], [], [], PATIENCE)[0], "somebody can still write"
    pipe = f"pipe:[{os.fstat(read_end).st_ino}]"
    os.close(read_end)
    [server] = mine.servers()
    assert pipe not in set(_open_files(server))


@AS_BOTH
@pytest.mark.parametrize("layout", ["bridge-dual"])
def test_the_gateway_is_asked_for_through_the_bridge_of_today(pod: Pod, mine: Agent) -> None:
    """The server binds its socket for that itself, and hears the answer by one that may neither bind nor send."""
    mine.up()
    [server] = mine.servers()
    for _ in range(2):
        with entered(pod.node), open_wire(pod.host_ifname) as network, raw_tap(pod.netns) as tap:
            network.settimeout(0.2)
            for _ in attempts("the gateway to be looked for"):
                if _is_asked_for(network, pod):
                    break
                ask_for_the_router(tap, pod)  # again: it is passed on once a second at most
        pod.netns.ip_batch("link delete k6t-eth0")
        mine.up()
    assert mine.servers() == [server]
    report = mine.status()["server"]
    assert report["sandbox"]["reached"][-3:] == ["limits", "landlock", "seccomp"]
    assert report["ipv6"]["routers"][0]["mac"] == LAYOUTS["bridge-dual"].node_mac
    assert report["errors"] == {}
    assert len(list(_open_files(server))) + FURTHER_DESCRIPTORS <= int(LIMITS["Max open files"])


def ask_for_the_router(tap: RawTap, pod: Pod) -> None:
    """As a guest does that sends by its default route."""
    target = probes.OUR_ROUTER
    to = Ether(src=pod.mac, dst="33:33:ff:65:74:01") / IPv6(src=pod.address6, dst=probes.OUR_GROUP, hlim=255)
    tap.send(bytes(to / ICMPv6ND_NS(tgt=target) / ICMPv6NDOptSrcLLAddr(lladdr=pod.mac)))
    tap.receive(lambda frame: ICMPv6ND_NA in Ether(frame) and Ether(frame)[ICMPv6ND_NA].tgt == target)


def _is_asked_for(network: socket.socket, pod: Pod) -> bool:
    """Whether the pod network hears somebody look for the gateway as the VM would, while it says anything."""
    with contextlib.suppress(TimeoutError):
        while True:
            packet = Ether(network.recv(2048)[VNET_HDR:])
            if ICMPv6ND_NS in packet and packet[ICMPv6ND_NS].tgt == LAYOUTS[pod.layout].gateway6:
                assert (packet.src, packet[IPv6].src) == (pod.mac, pod.address6)
                return True
    return False


def _open_files(pid: int) -> Iterator[str]:
    """What a process holds open; the server closes the compiler's pipe about now."""
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            yield str(entry.readlink())


def test_it_serves_and_the_pod_comes_back(pod: Pod, mine: Agent, tmp_path: Path) -> None:
    found = snapshot(pod)
    mine.up()
    with tap_guest(pod.netns, pod.mac, tmp_path) as guest:
        assert clients.lease("udhcpc", guest).mac == pod.mac
        must_answer(guest.netns, pod.peer)
        status = mine.status()
        assert (status["drift"], status["server"]["lease"]) == ([], "bound")
    mine.down()
    assert mine.servers() == []
    assert difference(found, snapshot(pod)) == ""


@AS_BOTH
def test_twenty_exchanges_and_a_tap_made_anew(pod: Pod, mine: Agent) -> None:
    mine.up()
    [server] = mine.servers()
    with raw_tap(pod.netns) as tap:
        for xid in range(EXCHANGES):
            exchange(tap, pod, xid)
    pod.netns.ip_batch("link delete tap0", "tuntap add tap0 mode tap vnet_hdr", "link set tap0 up")
    with raw_tap(pod.netns) as tap:
        with figures.timed("a tap made anew is served again", at_most=1):
            answered(tap, pod)
        for xid in range(EXCHANGES):
            exchange(tap, pod, xid)
    report = mine.status()["server"]
    assert (report["pid"], report["events"]["rebound"]) == (server, 1)
    assert report["events"]["ack_selecting"] == 2 * EXCHANGES
    assert report["errors"].keys() <= {"receive: Network is down"}


@AS_BOTH
def test_a_tap_made_anew_after_it_was_down_is_served(pod: Pod, mine: Agent) -> None:
    """Of its deletion no packet socket tells any more; and each deletion takes a link down first."""
    mine.up()
    pod.netns.ip_batch("link set tap0 down")
    assert mine.status()["server"]["errors"] == {"receive: Network is down": 1}
    pod.netns.ip_batch("link delete tap0", "tuntap add tap0 mode tap vnet_hdr", "link set tap0 up")
    with raw_tap(pod.netns) as tap:
        answered(tap, pod)
    assert mine.status()["server"]["events"]["rebound"] == 1


@AS_BOTH
def test_a_tap_set_down_and_up_is_still_the_same(pod: Pod, mine: Agent) -> None:
    """The server may ask for the name of its link; else it would take this for a tap that is gone."""
    mine.up()
    pod.netns.ip_batch("link set tap0 down", "link set tap0 up")
    with raw_tap(pod.netns) as tap:
        answered(tap, pod)
    report = mine.status()["server"]
    assert report["errors"] == {"receive: Network is down": 1}
    assert "rebound" not in report["events"]


def test_a_full_log_is_survived_and_the_next_server_s_is_new(pod: Pod, agent: Agent) -> None:
    agent.up()
    [log] = agent.logs()
    os.truncate(log, LARGEST_LOG)
    pod.netns.ip_batch("link delete tap0", "tuntap add tap0 mode tap vnet_hdr", "link set tap0 up")
    with raw_tap(pod.netns) as tap:
        answered(tap, pod)
        exchange(tap, pod, 7)
    assert log.stat().st_size == LARGEST_LOG
    assert agent.status()["server"]["events"]["rebound"] == 1

    pod.netns.ip_batch("link delete tap0")
    agent.up()
    with raw_tap(pod.netns) as tap:
        exchange(tap, pod, 8)
    assert '"event":"serving"' in log.read_text(encoding="ascii")
    assert log.stat().st_size < LARGEST_LOG / 2


REFUSES_SECCOMP = """
import os, platform, struct, sys
from array import array
sys.path.insert(0, sys.argv[1])
from vmnet.server.sandbox import _prctl
number = {"x86_64": 157, "aarch64": 167}[platform.machine()]
lines = (
    (0x20, 0, 0, 0), (0x15, 0, 3, number),  # is it prctl,
    (0x20, 0, 0, 16), (0x15, 0, 1, 22),     # and PR_SET_SECCOMP?
    (0x06, 0, 0, 0x5000D), (0x06, 0, 0, 0x7FFF0000),
)
program = array("B", b"".join(struct.pack("HBBI", *line) for line in lines))
_prctl(38, 1)
_prctl(22, 2, struct.pack("HP", len(lines), program.buffer_info()[0]))
os.execvp(sys.argv[2], sys.argv[2:])
"""
"""A filter around vmnet that answers its own filter with EACCES."""


def test_where_seccomp_is_refused_no_guest_is_served(pod: Pod, agent: Agent) -> None:
    found = snapshot(pod)
    up = agent.argv("up")
    at = up.index("env")
    done = run([*up[:at], sys.executable, "-I", "-c", REFUSES_SECCOMP, ROOT, *up[at:]], check=False)
    assert done.returncode == 4
    assert "the DHCP server did not start: PermissionError: [Errno 13] seccomp: " in done.stderr
    assert difference(found, snapshot(pod)) == ""


ENTERS = """
import ctypes, errno, fcntl, mmap, os, platform, resource, socket, sys
root, wish, walls, directory = sys.argv[1:]
sys.path.insert(0, root)
from vmnet.server import sandbox
if walls == "without seccomp":
    sandbox.seccomp.program = lambda machine, packets, mute: b""
libc = ctypes.CDLL(None, use_errno=True)
machine = platform.machine() == "aarch64"
packet, asking, deaf, mute = (socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) for _ in range(4))
packet.bind(("eth0", 0))
mute.bind(("eth0", 0))
frame = bytes.fromhex("ffffffffffff02000000000788b5") + bytes(46)
other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
stream = socket.socket()
memory = mmap.mmap(-1, 4096)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
def kernel(numbers, *arguments):
    checked(libc.syscall(numbers[machine], *arguments))
def refusal(operation):
    try:
        operation()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"
bindable, silent = (packet.fileno(), asking.fileno()), (deaf.fileno(), mute.fileno())
report = sandbox.enter(wish, bindable, silent, (other.fileno(), stream.fileno()))
told = refusal(lambda: ({operation}))
os.write(1, told.encode())
os._exit(0)
"""
"""A process that goes through the server's own entry and then tries something."""
FORBIDDEN = {
    "open a file": 'os.open("/etc/passwd", os.O_RDONLY)',
    "make a directory": 'os.mkdir(directory + "/made")',
    "an IP socket": "socket.socket(socket.AF_INET)",
    "another packet socket": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "a netlink socket": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "connect": 'other.connect(("127.0.0.1", 9))',
    "bind another socket": 'other.bind(("127.0.0.1", 0))',
    "send to an address": 'other.sendto(b"x", ("127.0.0.1", 9))',
    "set an option of the socket": "packet.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, 1)",
    "another ioctl": "fcntl.ioctl(packet, 0x5451)",
    "send by a mute socket": "mute.send(frame)",
    "write by a mute socket": "os.write(mute.fileno(), frame)",
    "write by a mute socket, from several buffers": "os.writev(mute.fileno(), [frame])",
    "send a message by a mute socket": "mute.sendmsg([frame])",
    "send by a mute socket to a link": 'mute.sendto(frame, ("eth0", 0x88B5))',
    "send by a speaking socket to another link": 'packet.sendto(frame, ("eth0", 0x88B5))',
    "a mute socket under another number": "os.dup(mute.fileno())",
    "bind a mute socket": 'deaf.bind(("eth0", 0))',
    "bind a mute socket anew": 'mute.bind(("eth0", 0))',
    "a ring to send by": "mute.setsockopt(263, 13, bytes.fromhex('00100000010000000010000001000000'))",
    "execute": 'os.execv("/bin/echo", ["echo", "-n", "done"])',
    "fork": "os.fork() or os._exit(0)",
    "trace": "checked(libc.ptrace(0, 0, 0, 0))",
    "signal another process": "os.kill(os.getppid(), 0)",
    "hold another process": "os.pidfd_open(os.getppid())",
    "mount": 'checked(libc.mount(b"none", b"/mnt", b"tmpfs", 0, b""))',
    "unshare": "checked(libc.unshare(0x00020000))",
    "become root": "os.setuid(0)",
    "get memory to execute": "mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC)",
    "make memory executable": "checked(libc.mprotect(ctypes.c_void_p(address), 4096, 5))",
    "a file of memory": 'os.memfd_create("x")',
    "memory that is shared, and so not counted": "mmap.mmap(-1, 4096, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)",
    "memory that grows down, and so is not counted": "mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | 0x20 | 0x100)",
    "a larger pipe": "fcntl.fcntl(1, 1031, 1 << 20)",
    "a larger socket buffer": "packet.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)",
    "bpf": "kernel((321, 280), 0, (ctypes.c_uint32 * 32)(2, 4, 4, 1), 128)",
    "io_uring": "kernel((425, 425), 1, ctypes.create_string_buffer(120))",
    "prctl": "checked(libc.prctl(15, b'x', 0, 0, 0))",
}
ALLOWED = {
    "send by the tap's socket": "packet.send(frame)",
    "bind the tap's socket anew": 'packet.bind(("eth0", 0))',
    "bind the socket to ask with": 'asking.bind(("eth0", 0))',
    "ask": '(asking.bind(("eth0", 0)), asking.send(frame))',
}
"""What serving takes: else those above would show nothing."""
WITHOUT_SECCOMP = {
    "open a file": ("EACCES", "Landlock"),
    "make a directory": ("EACCES", "Landlock"),
    "connect by TCP": ("EACCES", "Landlock"),
    "another packet socket": ("EPERM", "no capability"),
    "fork": ("EAGAIN", "limit of processes"),
    "mount": ("EPERM", "no capability"),
    "become root": ("EPERM", "nobody"),
    "signal another process": ("EPERM", "nobody, Landlock"),
    "more files": ("EMFILE", "limit of files"),
}
"""What the other stages refuse by themselves, and which of them."""
OPERATIONS = {
    **FORBIDDEN,
    **ALLOWED,
    "connect by TCP": 'stream.connect(("127.0.0.1", 9))',
    "more files": "[os.dup(1) for _ in range(16)]",
}


def tried(pod: Pod, directory: Path, operation: str, wish: str, walls: str = "") -> str:
    """What becomes of an operation, in a namespace of mounts that goes with it."""
    program = ENTERS.replace("{operation}", OPERATIONS[operation])
    words = ["unshare", "--mount", sys.executable, "-I", "-c", program, ROOT, wish, walls, str(directory)]
    return pod.netns.run(*words).stdout


@pytest.mark.parametrize("operation", sampled(FORBIDDEN, 3))
def test_what_an_intruder_would_do_is_denied(pod: Pod, tmp_path: Path, operation: str) -> None:
    assert tried(pod, tmp_path, operation, "off") == "done", "this shows nothing"
    assert tried(pod, tmp_path, operation, "on") == errno.errorcode[errno.EPERM]


@pytest.mark.parametrize("operation", ALLOWED)
def test_what_serving_takes_is_not(pod: Pod, tmp_path: Path, operation: str) -> None:
    assert tried(pod, tmp_path, operation, "on") == "done"


@pytest.mark.parametrize("operation", WITHOUT_SECCOMP)
def test_the_other_walls_stand_without_seccomp(pod: Pod, tmp_path: Path, operation: str) -> None:
    assert tried(pod, tmp_path, operation, "on", "without seccomp") == WITHOUT_SECCOMP[operation][0]


def exchange(tap: RawTap, pod: Pod, xid: int) -> None:
    """A lease: DISCOVER, OFFER, REQUEST, ACK; each answer comes the first time."""
    tap.send(message(pod.mac, xid, [("message-type", "discover")]))
    offer = Ether(tap.receive(is_answer(OFFER, xid)))
    [server_id] = [option[1] for option in offer[DHCP].options if option[0] == "server_id"]
    chosen = [("message-type", "request"), ("requested_addr", offer[BOOTP].yiaddr), ("server_id", server_id)]
    tap.send(message(pod.mac, xid, chosen))
    tap.receive(is_answer(ACK, xid))


def answered(tap: RawTap, pod: Pod) -> None:
    """Wait until a server hears this tap."""
    for xid, _ in enumerate(attempts("the new tap to be served"), 1000):
        tap.send(message(pod.mac, xid, [("message-type", "discover")]))
        with contextlib.suppress(TestbedError):
            tap.receive(is_answer(OFFER, xid), timeout=0.05)
            return


def message(mac: str, xid: int, options: list[tuple[str, str]]) -> bytes:
    """What a guest without an address broadcasts."""
    return bytes(
        Ether(src=mac, dst="ff:ff:ff:ff:ff:ff")
        / IP(src="0.0.0.0", dst="255.255.255.255")  # noqa: S104 -- what a host without address says
        / UDP(sport=68, dport=67)
        / BOOTP(chaddr=bytes.fromhex(mac.replace(":", "")), xid=xid)
        / DHCP(options=[*options, "end"])
    )


def is_answer(kind: int, xid: int) -> Callable[[bytes], bool]:
    """Whether a frame is the answer of that kind in that exchange."""

    def wanted(frame: bytes) -> bool:
        packet = Ether(frame)
        return DHCP in packet and packet[BOOTP].xid == xid and ("message-type", kind) in packet[DHCP].options

    return wanted
