"""`vmnet run`: a command with the pod's network handed over beside it, and everything put back when it has ended.

┌ pod ───────────────────────────────────────────────┐
│ vmnet-run ─┬─ COMMAND            signals, exit code│
│            ├─ vmnet-server       kept alive        │
│            └─ orphans            reaped            │
│ eth0-nic ── k6t-eth0 ── tap0                       │
└────────────────────────────────────────────────────┘
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from testbed import clients
from testbed.agent import HOSTNAME, VMNET
from testbed.netns import background, entered, kill, run, wait_for_end, wait_for_file
from testbed.patience import PATIENCE, attempts, wait_until_so
from testbed.pods import must_answer
from testbed.snapshot import difference, snapshot
from testbed.tap_guest import tap_guest
from testbed.watch import watched
from tests import figures
from tests.netns.mounts import read_only
from tests.netns.tap_holder import HOLDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from testbed.agent import Agent
    from testbed.netns import Background, Completed
    from testbed.pods import Pod

LARGEST_KIB = 24 * 1024
SIGNALS = ("HUP", "INT", "TERM", "USR1", "USR2", "WINCH", "CONT")
TELLS_SIGNALS = f"""
import os, signal
def tell(number, _):
    os.write(1, b"got %s\\n" % signal.Signals(number).name.encode())
for name in {SIGNALS}:
    signal.signal(getattr(signal, "SIG" + name), tell)
signal.signal(signal.SIGQUIT, lambda n, _: os._exit(5))
os.write(1, b"listening\\n")
while True:
    signal.pause()
"""
LEAVES_ORPHANS = """
import os, time
def orphan(code):
    read_end, write_end = os.pipe()
    if os.fork() == 0:
        pid = os.fork()
        if pid == 0:
            os._exit(code)
        os.write(write_end, b"%d" % pid)
        os._exit(0)
    os.wait()
    return int(os.read(read_end, 16))
middle, told = os.pipe()
gone, over = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        os.close(over)
        os.read(gone, 1)  # until all who can write have gone: our parent has been waited for
        os.write(told, b"%d" % os.getppid())
        os._exit(0)
    os._exit(0)
os.wait()
os.close(over)
print("adopted by:", os.read(middle, 16).decode(), flush=True)
left = {orphan(code) for code in range(20)}
deadline = time.monotonic() + 10
while left and time.monotonic() < deadline:
    left = {pid for pid in left if os.path.exists(f"/proc/{pid}")}
    time.sleep(0.01)  # that a zombie is gone is no event to anybody but its parent
print("zombies:", len(left), "parent:", os.getppid(), flush=True)
"""


def argv(agent: Agent, command: Sequence[str | Path], *flags: str | Path, env: Sequence[str] = ()) -> list[str]:
    """What is typed in the pod, in an environment that says no more than `env`."""
    words: list[str | Path] = ["--resolv-conf", agent.resolv_conf, "--hostname", HOSTNAME, *flags]
    if command:
        words += ["--", *command]
    typed = agent.argv("run", *words)
    place = typed.index("-i") + 1
    return [*typed[:place], *env, *typed[place:]]


def to_the_end(agent: Agent, *command: str | Path, flags: Sequence[str | Path] = ()) -> Completed:
    return run(argv(agent, command, *flags), check=False)


@contextmanager
def running(agent: Agent, log: Path, *command: str | Path, env: Sequence[str] = ()) -> Iterator[Background]:
    """Run it beside us; the block begins when the pod is handed over."""
    with background(argv(agent, command, env=env), log) as program:
        program.wait_for('"event": "ready"', PATIENCE)
        yield program


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "run.log"


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)]
)
def test_exit_code_is_the_commands_and_the_pod_is_as_it_was_found(
    pod: Pod, agent: Agent, tmp_path: Path, script: str, code: int
) -> None:
    found = snapshot(pod)
    links = tmp_path / "links"
    done = to_the_end(agent, "sh", "-c", f"ip -br link >{links}; {script}")
    assert done.returncode == code
    assert "k6t-eth0" in links.read_text(encoding="ascii")
    assert difference(found, snapshot(pod)) == ""
    for pid in pod.netns.processes():
        wait_for_end(pid)  # a compiler may outlive its binding, a server may not


@pytest.mark.parametrize(
    "refusal",
    [("no-such-program", 127, "No such file"), ("/etc/passwd", 126, "Permission denied")],
)
def test_a_command_that_cannot_be_run(
    pod: Pod, agent: Agent, tmp_path: Path, refusal: tuple[str, int, str]
) -> None:
    command, code, reason = refusal
    found, last_word = snapshot(pod), tmp_path / "last-word"
    done = run(argv(agent, (command,), env=(f"VMNET_TERMINATION_LOG={last_word}",)), check=False)
    assert done.returncode == code
    [error] = [json.loads(line) for line in done.stderr.splitlines() if '"error"' in line]
    assert command in error["message"]
    assert reason in error["message"]
    assert last_word.read_text(encoding="utf-8") == error["message"] + "\n"
    assert difference(found, snapshot(pod)) == ""


def test_words_after_the_dashes_are_the_commands_own(pod: Pod, agent: Agent) -> None:
    del pod
    done = to_the_end(agent, "sh", "-c", 'printf "<%s>" "$@"', "sh", "--keep", "--", "-x", "")
    assert done.stdout == "<--keep><--><-x><>"


def test_signals_reach_the_command_once_each(pod: Pod, agent: Agent, log: Path) -> None:
    found = snapshot(pod)
    with running(agent, log, sys.executable, "-I", "-S", "-c", TELLS_SIGNALS) as program:
        program.wait_for("^listening$", PATIENCE)
        before = program.text.count("got SIGCONT")
        for name in SIGNALS:
            program.process.send_signal(getattr(signal, f"SIG{name}"))
            program.wait_for(f"^got SIG{name}$", PATIENCE)
        program.process.send_signal(signal.SIGQUIT)
        assert program.wait(PATIENCE) == 5
        said = program.text.splitlines()
    assert before == 0
    assert {name: said.count(f"got SIG{name}") for name in SIGNALS} == dict.fromkeys(SIGNALS, 1)
    assert difference(found, snapshot(pod)) == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_without_a_command_until_told_to_end(pod: Pod, agent: Agent, log: Path, number: signal.Signals) -> None:
    found = snapshot(pod)
    with running(agent, log) as program:
        assert agent.status()["state"] == "up"
        program.process.send_signal(number)
        assert program.wait(PATIENCE) == 0
    assert difference(found, snapshot(pod)) == ""


def test_a_signal_while_up_is_at_work_is_not_lost(pod: Pod, agent: Agent, log: Path, tmp_path: Path) -> None:
    found, started = snapshot(pod), tmp_path / "started"
    agent.up()
    [lock] = agent.state_dir.glob("netns-*/lock")
    with lock.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with background(argv(agent, ("touch", started)), log) as program:
            program.wait_for(f"waiting for process {os.getpid()} ")
            program.process.send_signal(signal.SIGTERM)
            fcntl.flock(held, fcntl.LOCK_UN)
            assert program.wait(PATIENCE) == 143
    assert not started.exists()
    assert "eth0 is as it was found" in log.read_text(encoding="utf-8")
    assert difference(found, snapshot(pod)) == ""


TELLS_THAT_IT_HOLDS = """
with open(os.environ["HELD"], "w") as held:
    held.write(str(os.getpid()))
os.close(1)
os.close(2)
signal.pause()
"""
LEAVES_A_VM = f"""
import os, sys
if os.fork():
    os._exit(0)
os.setsid()
sys.argv[1:] = ["tap0"]
{HOLDS.replace("signal.pause()", TELLS_THAT_IT_HOLDS)}
"""
"""As `qemu -daemonize` does: the command ends, its VM lives."""


def test_a_vm_that_the_command_leaves_behind_keeps_its_network(pod: Pod, agent: Agent, tmp_path: Path) -> None:
    held = tmp_path / "held"
    leave = f"{shlex.quote(sys.executable)} -I -S -c {shlex.quote(LEAVES_A_VM)}; until [ -s {held} ]; do :; done"
    done = run(argv(agent, ("sh", "-c", leave), env=(f"HELD={held}",)), check=False, timeout=30)
    pid = int(held.read_text(encoding="ascii"))
    try:
        assert done.returncode == 3
        assert f"(pid {pid}); shut that VM down first" in done.stderr
        assert agent.run("status").returncode == 0
    finally:
        kill(pid)
    agent.down()


def test_who_is_told_to_end_takes_the_network_of_what_is_left_behind(
    pod: Pod, agent: Agent, tmp_path: Path, log: Path
) -> None:
    found, held = snapshot(pod), tmp_path / "held"
    leave = f"{shlex.quote(sys.executable)} -I -S -c {shlex.quote(LEAVES_A_VM)}; exec sleep 1000"
    with running(agent, log, "sh", "-c", leave, env=(f"HELD={held}",)) as program:
        wait_for_file(held, PATIENCE)
        program.process.send_signal(signal.SIGTERM)
        assert program.wait(PATIENCE) == 128 + signal.SIGTERM
    kill(int(held.read_text(encoding="ascii")))
    assert difference(found, snapshot(pod)) == ""


def test_orphans_are_reaped(pod: Pod, agent: Agent) -> None:
    del pod
    done = to_the_end(agent, sys.executable, "-I", "-S", "-c", LEAVES_ORPHANS)
    found = re.search(r"^adopted by: (\d+)\nzombies: 0 parent: (\d+)$", done.stdout, re.MULTILINE)
    assert found, done
    assert found[1] == found[2]


def test_process_1_reaps_and_hears_signals(pod: Pod, agent: Agent, log: Path) -> None:
    found = snapshot(pod)
    container = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    words = argv(agent, (sys.executable, "-I", "-S", "-c", LEAVES_ORPHANS + TELLS_SIGNALS))
    place = words.index("--") + 1
    with background([*words[:place], *container, *words[place:]], log) as program:
        program.wait_for("^zombies: 0 parent: 1$", PATIENCE)
        program.wait_for("^listening$", PATIENCE)
        [first] = children(program.process.pid)
        os.kill(first, signal.SIGTERM)
        program.wait_for("^got SIGTERM$", PATIENCE)
        os.kill(first, signal.SIGQUIT)
        assert program.wait(PATIENCE) == 5
    assert difference(found, snapshot(pod)) == ""


def children(pid: int) -> list[int]:
    """The children of a process."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def test_a_killed_server_is_replaced_and_nothing_else_is_touched(
    pod: Pod, agent: Agent, log: Path, tmp_path: Path
) -> None:
    with running(agent, log, "sleep", "600") as program:
        [server] = agent.servers()
        with watched(pod.netns) as watch:
            kill(server)
            with figures.timed("a killed server is replaced", at_most=1):
                program.wait_for(r'"event": "ready"(.|\n)*"event": "ready"', PATIENCE)
            assert watch.changes() == []
        [another] = agent.servers()
        with tap_guest(pod.netns, pod.mac, tmp_path) as guest:
            clients.lease("udhcpc", guest)
            must_answer(guest.netns, pod.peer)
            status = agent.status()
        assert program.text.count("server-ended") == 1
    assert another != server
    assert (status["drift"], status["server"]["lease"]) == ([], "bound")


def test_a_server_that_somebody_stops_is_replaced(pod: Pod, agent: Agent, log: Path) -> None:
    """Another process of its user can; it would answer nobody, and live."""
    del pod
    with running(agent, log, "sleep", "600") as program:
        [server] = agent.servers()
        os.kill(server, signal.SIGSTOP)
        program.wait_for(r'"event": "ready"(.|\n)*"event": "ready"', PATIENCE)
        assert program.text.count('"event":"server-stopped"') == 1
        assert agent.servers() != [server]


@pytest.mark.host_privileges("a confined vmnet does not see what is mounted later")
def test_where_the_state_directory_became_read_only_the_server_is_started_again_later(
    pod: Pod, agent: Agent, log: Path
) -> None:
    """As after an error of the disk. The command goes on all the while."""
    with running(agent, log, "sleep", "600") as program:
        [server] = agent.servers()
        with read_only(agent.state_dir), watched(pod.netns) as watch:
            kill(server)
            program.wait_for("`vmnet up` failed with exit code 3: starting another", PATIENCE)
            assert "Read-only file system; name another place with --state-dir" in program.text
            assert watch.changes() == []
        program.wait_for(r'"event": "ready"(.|\n)*"event": "ready"', PATIENCE)
        assert agent.status()["drift"] == []
        assert program.process.poll() is None


@pytest.mark.host_privileges("a confined vmnet does not see what is mounted later")
def test_where_the_state_directory_became_read_only_the_pod_is_given_back_later(
    pod: Pod, agent: Agent, log: Path, tmp_path: Path
) -> None:
    found, fifo = snapshot(pod), tmp_path / "fifo"
    os.mkfifo(fifo)
    with running(agent, log, "cat", fifo) as program:
        [server] = agent.servers()
        with read_only(agent.state_dir):
            fifo.write_bytes(b"")  # `cat` ends well
            assert program.wait(PATIENCE) == 3
        assert "Read-only file system; name another place with --state-dir" in program.text
        assert agent.servers() == [server]
    assert agent.status()["drift"] == []
    agent.down()
    assert difference(found, snapshot(pod)) == ""


KILLS_THE_FIRST_COMPILER = """
import os, sys
from vmnet.cli import main as cli
from vmnet.control import processes
def start_compiler(leases, log):
    read_end, write_end = os.pipe()
    os.close(write_end)
    return processes.Compiler(0, read_end)
processes.start_compiler = start_compiler
sys.exit(cli.main())
"""
"""vmnet, whose compiler dies right after READY; the next `up` beside the command is a process of its own."""


def test_a_compiler_that_is_killed_right_after_ready_is_started_again(pod: Pod, agent: Agent, log: Path) -> None:
    typed = argv(agent, ("sleep", "600"))
    place = typed.index(str(VMNET))
    with background(
        [*typed[:place], sys.executable, "-c", KILLS_THE_FIRST_COMPILER, *typed[place + 1 :]], log
    ) as it:
        it.wait_for(r'"event": "ready"(.|\n)*"event": "ready"', PATIENCE)
        wait_for_serving(agent)
        assert agent.status()["server"]["yiaddr"] == pod.address


@pytest.mark.parametrize("how", ["<&- >&- 2>&-", ">/dev/full 2>/dev/full", ">&-"])
def test_closed_and_full_standard_streams_are_nobodys_error(
    pod: Pod, agent: Agent, tmp_path: Path, how: str
) -> None:
    found, made = snapshot(pod), tmp_path / "made"
    words = argv(agent, ("sh", "-c", f"touch {made}; exit 3"))
    done = run(["sh", "-c", f'exec "$@" {how}', "sh", *words], check=False)
    assert (done.returncode, made.exists()) == (3, True), done.stderr
    assert "a bug in vmnet" not in done.stderr
    assert difference(found, snapshot(pod)) == ""


def test_servers_that_die_quickly_are_replaced_more_and_more_slowly(pod: Pod, agent: Agent, log: Path) -> None:
    del pod
    with running(agent, log, "sleep", "600") as program:
        for death in (1, 2, 3):
            [server] = agent.servers()
            kill(server)
            program.wait_for(rf'(?s)("server-ended".*){{{death}}}', PATIENCE)
            if death < 3:
                program.wait_for(rf'(?s)("event": "ready".*){{{death + 1}}}', PATIENCE)
        waits = [
            json.loads(line)["message"].split(": ")[1] for line in program.text.splitlines() if "ended" in line
        ]
    assert waits == ["starting another now", "starting another now", "starting another in 1 s"]


AT_A_TERMINAL = """
import os, signal, sys
signal.signal(signal.SIGINT, lambda *_: os.write(1, b"interrupted\\n"))
for line in sys.stdin:
    os.write(1, b"read " + line.encode())
"""


class Terminal:
    """A person's end of a terminal."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.text = ""

    def type(self, text: str, answer: str) -> None:
        """Type, and wait for what comes of it."""
        begin = len(self.text)
        os.write(self._descriptor, text.encode())
        self.wait_for(answer, begin)

    def wait_for(self, answer: str, begin: int = 0) -> None:
        """Wait until it shows `answer`."""
        for _ in attempts(f"{answer!r} at the terminal"):
            if answer in self.text[begin:]:
                return
            if select.select([self._descriptor], [], [], PATIENCE)[0]:
                self.text += os.read(self._descriptor, 4096).decode()


def test_the_command_has_the_terminal(pod: Pod, agent: Agent) -> None:
    found = snapshot(pod)
    ours, theirs = pty.openpty()
    terminal = Terminal(ours)
    words = argv(agent, (sys.executable, "-I", "-S", "-c", AT_A_TERMINAL), env=("TERM=dumb",))
    with subprocess.Popen(["setsid", "--ctty", *words], stdin=theirs, stdout=theirs, stderr=theirs) as process:
        try:
            terminal.wait_for("vmnet: ready")
            terminal.type("one\n", "read one")
            terminal.type("\x03", "interrupted")
            os.write(ours, b"\x1a")
            os.waitid(os.P_PID, process.pid, os.WSTOPPED)
            process.send_signal(signal.SIGCONT)
            terminal.type("two\n", "read two")
            terminal.type("\x04", "eth0 is as it was found")
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
            os.close(theirs)
            os.close(ours)
    assert terminal.text.count("interrupted") == 1
    assert difference(found, snapshot(pod)) == ""


def test_memory(pod: Pod, agent: Agent, log: Path) -> None:
    """The two processes are ours alone, and so is what they hold."""
    del pod
    with running(agent, log, "sleep", "600") as program:
        [server] = agent.servers()
        wait_for_serving(agent)
        supervisor_kib, server_kib = resident(program.process.pid), resident(server)
    figures.tell("supervisor", supervisor_kib / 1024, "MiB")
    figures.tell("server", server_kib / 1024, "MiB")
    assert supervisor_kib + server_kib <= LARGEST_KIB


def resident(pid: int) -> int:
    """What a process holds in memory, KiB."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS"))


def wait_for_serving(agent: Agent) -> None:
    """Wait until the server has taken its replies in; its log says so once."""
    wait_until_so(lambda: agent.status()["server"]["state"] == "serving", "the server to serve")


def test_keep(pod: Pod, agent: Agent) -> None:
    found = snapshot(pod)
    assert to_the_end(agent, "sh", "-c", "exit 4", flags=["--keep"]).returncode == 4
    assert agent.run("status").returncode == 0
    assert len(agent.servers()) == 1
    agent.down()
    assert difference(found, snapshot(pod)) == ""


@pytest.mark.parametrize(
    ("flags", "code"), [(("--mtu", "9000"), 3), (("--interface", "eth7"), 3), (("--mac", "x"), 2)]
)
def test_failing_up_starts_nothing(
    pod: Pod, agent: Agent, tmp_path: Path, flags: tuple[str, ...], code: int
) -> None:
    started, last_word = tmp_path / "started", tmp_path / "last-word"
    environment = (f"VMNET_TERMINATION_LOG={last_word}",)
    with watched(pod.netns) as watch, notified(tmp_path / "notify") as told:
        done = run(argv(agent, ("touch", started), *flags, env=[*environment, told.variable]), check=False)
        assert watch.changes() == []
        assert told.all() == []
    assert done.returncode == code
    assert not started.exists()
    assert last_word.read_text(encoding="utf-8") == json.loads(done.stderr)["message"] + "\n"


class Manager:
    """A service manager's end of sd_notify."""

    def __init__(self, listening: socket.socket, address: str) -> None:
        self._socket = listening
        self.variable = f"NOTIFY_SOCKET={address}"

    def next(self) -> list[str]:
        """The next message, its lines."""
        return self._socket.recv(4096).decode().splitlines()

    def all(self) -> list[list[str]]:
        """All messages that wait."""
        messages = []
        self._socket.setblocking(False)
        try:
            while True:
                messages.append(self.next())
        except BlockingIOError:
            return messages


@contextmanager
def notified(address: Path | str) -> Iterator[Manager]:
    """Be a service manager; an address that begins with @ is abstract."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.settimeout(PATIENCE)
        listening.bind(str(address).replace("@", "\0", 1))
        yield Manager(listening, str(address))


@pytest.mark.parametrize("abstract", [False, True])
def test_service_manager_hears_ready_only_when_all_is(
    pod: Pod, agent: Agent, log: Path, tmp_path: Path, abstract: bool
) -> None:
    address = f"@{pod.netns.name}" if abstract else tmp_path / "notify"
    with entered(pod.netns):  # where abstract addresses are looked up
        manager = notified(address)
        told = manager.__enter__()
    with background(argv(agent, ("sh", "-c", "env; exec sleep 600"), env=[told.variable]), log) as program:
        ready = told.next()
        assert agent.run("status").returncode == 0
        program.wait_for("^PWD=", PATIENCE)
        assert told.all() == []
        program.process.send_signal(signal.SIGTERM)
        assert program.wait(PATIENCE) == 143
        [stopping] = told.all()
        assert "NOTIFY_SOCKET" not in program.text
    manager.__exit__(None, None, None)
    assert ready[0] == "READY=1"
    assert ready[1].startswith("STATUS=")
    assert stopping[0] == "STOPPING=1"


@pytest.mark.parametrize("verb", ["up", "down", "run"])
def test_what_a_killed_supervisor_leaves_is_taken_over(pod: Pod, agent: Agent, log: Path, verb: str) -> None:
    found = snapshot(pod)
    with running(agent, log, "sh", "-c", "echo pid $$; exec sleep 600") as program:
        command = int(program.wait_for(r"^pid (\d+)$", PATIENCE)[1])
        kill(program.process.pid)
        program.process.wait(PATIENCE)
        try:
            if verb == "run":
                assert to_the_end(agent, "sh", "-c", "exit 3").returncode == 3
            else:
                agent.run(verb)
                agent.run("down")
        finally:
            kill(command)
    assert difference(found, snapshot(pod)) == ""
    must_answer(pod.netns, pod.peer)


def test_only_one_is_in_charge(pod: Pod, agent: Agent, log: Path) -> None:
    del pod
    with running(agent, log, "sleep", "600") as program:
        refused = to_the_end(agent, "true")
        assert agent.run("status").returncode == 0
        assert program.process.poll() is None
    assert refused.returncode == 3
    assert "another `vmnet run " in refused.stderr


def test_down_by_somebody_else_is_respected(pod: Pod, agent: Agent, log: Path) -> None:
    found = snapshot(pod)
    with running(agent, log) as program:
        agent.down()
        assert program.wait(PATIENCE) == 0
        assert program.text.count("taken-down") == 1
    assert difference(found, snapshot(pod)) == ""


@pytest.mark.host_privileges("--netns needs CAP_SYS_ADMIN")
def test_in_a_named_namespace(pod: Pod, agent: Agent) -> None:
    found = snapshot(pod)
    words = argv(agent, ("ip", "-br", "link"), "--netns", pod.netns.name)
    done = run(words[words.index("env") :])
    assert "k6t-eth0" in done.stdout
    assert difference(found, snapshot(pod)) == ""
