"""What becomes of the pod when its journal is stale, damaged or cannot be written: nothing.

STATE_DIR/netns-COOKIE/eth0/journal.json   of another boot, namespace or schema, mutated, a link, on a full disk …
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import stat
import sys
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from testbed import clients
from testbed.netns import entered, kill, run
from testbed.patience import attempts
from testbed.snapshot import difference, snapshot
from testbed.tap_guest import tap_guest
from testbed.watch import watched
from tests.extent import amount, sampled
from tests.netns.forked import CRASHED
from tests.netns.mounts import MS_RDONLY, read_only, remount, small
from tests.netns.trials import Trial, trial
from tests.testlib.hook_calls import POD, TAP0, domain
from vmnet.kernel.netns import cookie

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from testbed.netns import Completed
    from tests.netns.forked import Ended

RACES = amount(6, 30, 200)
"""So often each verb is run beside the racer, and until it was let through a few times."""
MUTATED = amount(20, 60, 500)
CANARY = b"nobody may write here"
EARLIER_BOOT = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    with trial("bridge", tmp_path_factory.mktemp("state")) as made:
        yield made


@pytest.fixture(scope="module")
def journal(mine: Trial) -> dict[str, object]:
    """A journal that is right in every way."""
    mine.vmnet.up()
    [path] = mine.agent.state_dir.glob("**/journal.json")
    right = dict(json.loads(path.read_bytes()))
    mine.vmnet.down()
    return right


def _place(mine: Trial, journal: dict[str, object], data: bytes | None = None) -> Path:
    """Put a journal where the agent of this pod will look for one."""
    directory = mine.agent.state_dir / f"netns-{_cookie(mine)}" / "eth0"
    mine.agent.state_dir.mkdir(exist_ok=True)
    for step in (directory.parent, directory):
        step.mkdir(mode=0o700, exist_ok=True)
    path = directory / "journal.json"
    path.write_bytes(json.dumps(journal).encode() if data is None else data)
    path.chmod(0o600)
    return path


def _cookie(mine: Trial) -> int:
    with entered(mine.pod.netns):
        return cookie()


def _clear(mine: Trial) -> None:
    shutil.rmtree(mine.agent.state_dir / f"netns-{_cookie(mine)}")


REFUSED: dict[str, Callable[[dict[str, object]], bytes]] = {
    "of another namespace": lambda right: json.dumps({**right, "netns_cookie": 1}).encode(),
    "of a newer schema": lambda right: json.dumps({**right, "schema": 99, "more": 1}).encode(),
    "of a schema that is too old": lambda right: json.dumps({**right, "schema": 0}).encode(),
    "with a field more": lambda right: json.dumps({**right, "more": 1}).encode(),
    "empty": lambda _right: b"",
    "truncated": lambda right: json.dumps(right).encode()[:-200],
    "no text": lambda _right: bytes(range(256)),
    "endless": lambda right: json.dumps(right).encode().ljust((6 << 20) + 1),
    "deep": lambda _right: b"[" * 60_000,
}


@pytest.mark.parametrize("what", sampled(REFUSED, 2))
def test_a_journal_that_cannot_be_trusted_changes_nothing(
    what: str, mine: Trial, journal: dict[str, object]
) -> None:
    path = _place(mine, journal, REFUSED[what](journal))
    with watched(mine.pod.netns) as watch:
        for verb in ("up", "down", "status", "plan", "serve"):
            ended = mine.vmnet.run(verb)
            assert (ended.code, ended.changes) == (3, ()), ended.stderr
            assert str(path.parent) in ended.message
            ends = ("; remove the directory it is in", "; use the vmnet version that wrote it")
            assert ended.message.endswith(ends)
        assert watch.changes() == []
    _clear(mine)
    mine.must_be_as_found(what)


@pytest.mark.parametrize("what", sampled(REFUSED, 3))
def test_the_note_speaks_where_the_journal_cannot_be_trusted(
    what: str, mine: Trial, journal: dict[str, object]
) -> None:
    for verb in ("up", "down"):
        mine.vmnet.up()
        _place(mine, journal, REFUSED[what](journal))
        assert mine.vmnet.status()[0] == 7
        mine.vmnet.run(verb).ok()
        (mine.must_be_up if verb == "up" else mine.must_be_as_found)(what)


def test_a_journal_of_an_earlier_boot_is_ignored(mine: Trial, journal: dict[str, object]) -> None:
    _place(mine, {**journal, "boot_id": EARLIER_BOOT, "netns_cookie": 5})
    assert mine.vmnet.status()[1]["state"] == "down"
    mine.vmnet.up()
    mine.must_be_up("a journal of an earlier boot")
    mine.vmnet.down()
    mine.must_be_as_found("a journal of an earlier boot")


def test_a_journal_of_a_pod_that_is_untouched_is_not_believed(mine: Trial, journal: dict[str, object]) -> None:
    """As an `up` leaves one that was killed when it had saved the facts; the pod may have changed since."""
    pod = dict(journal["pod"], mtu=1300)  # type: ignore[call-overload] # it is an object
    _place(mine, {**journal, "pod": pod})
    mine.vmnet.up()
    mine.must_be_up("a journal of an untouched pod")
    mine.vmnet.down()
    mine.must_be_as_found("a journal of an untouched pod")


def test_mutated_journals_change_nothing_before_they_are_refused(mine: Trial, journal: dict[str, object]) -> None:
    rng = random.Random(4)  # noqa: S311 # not for secrets
    right = json.dumps(journal).encode()
    for _ in range(MUTATED):
        data = bytearray(right)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        _place(mine, journal, bytes(data))
        ended = mine.vmnet.run("down")
        assert ended.code in (0, 3), ended.stderr
        assert ended.changes == ()
        assert "Traceback" not in ended.stderr
        assert "a bug in vmnet" not in ended.stderr
    _place(mine, journal)
    mine.vmnet.down()
    mine.must_be_as_found("mutated journals")


def _elsewhere(mine: Trial, state_dir: Path) -> Trial:
    agent = replace(mine.agent, state_dir=state_dir)
    return replace(mine, agent=agent, vmnet=replace(mine.vmnet, agent=agent))


@pytest.mark.parametrize("inodes", range(2, 6))
def test_a_disk_without_a_file_left_is_told_before_anything_is_touched(
    inodes: int, mine: Trial, tmp_path: Path
) -> None:
    """Of the directories and files that the journal needs, only so many can be made."""
    there = _elsewhere(mine, tmp_path / "tiny" / "state")
    with small(tmp_path / "tiny", f"nr_inodes={inodes}"), watched(mine.pod.netns) as watch:
        _must_be_full(there)
        assert watch.changes() == []
        remount(tmp_path / "tiny", "nr_inodes=100")
        there.vmnet.up()
        there.must_be_up("room was made")
        there.vmnet.down()
        there.must_be_as_found("room was made")


@pytest.mark.parametrize("inodes", [6, 7])
def test_a_disk_with_room_for_the_journal_alone_is_enough(inodes: int, mine: Trial, tmp_path: Path) -> None:
    """There is none for the server's log, or for its pid; it is found by its name."""
    there = _elsewhere(mine, tmp_path / "tiny" / "state")
    with small(tmp_path / "tiny", f"nr_inodes={inodes}"):
        there.vmnet.up()
        assert there.vmnet.status()[0] == 0
        [server] = mine.pod.netns.processes()
        kill(server)
        assert there.vmnet.status()[0] == 7
        there.vmnet.up()
        assert there.vmnet.status()[0] == 0
        there.vmnet.down()
        there.must_be_as_found("little room")
        assert mine.pod.netns.processes() == []


def test_a_disk_without_a_byte_left_is_told_before_anything_is_touched(mine: Trial, tmp_path: Path) -> None:
    there = _elsewhere(mine, tmp_path / "tiny" / "state")
    with small(tmp_path / "tiny", "size=64k"), watched(mine.pod.netns) as watch:
        filler = tmp_path / "tiny" / "filler"
        _fill(filler)
        _must_be_full(there)
        assert watch.changes() == []
        filler.unlink()
        there.vmnet.up()
        _fill(filler)
        _must_lease(mine, tmp_path)
        assert there.vmnet.status()[0] == 0
        there.must_be_up("the disk filled up while the server ran")
        there.vmnet.down()
        filler.unlink()
        there.must_be_as_found("down with a full disk")


def _must_lease(mine: Trial, directory: Path) -> None:
    """The running server goes on: a guest gets its lease."""
    with tap_guest(mine.pod.netns, mine.pod.mac, directory) as guest:
        assert clients.lease("udhcpc", guest).mac == mine.pod.mac


def _must_be_full(there: Trial) -> None:
    ended = there.vmnet.run("up")
    assert (ended.code, ended.changes) == (3, ()), ended.stderr
    assert "No space left on device; name another place with --state-dir" in ended.message


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def test_a_read_only_state_directory(mine: Trial, tmp_path: Path) -> None:
    there = _elsewhere(mine, tmp_path / "read-only" / "state")
    with small(tmp_path / "read-only", "size=1m"):
        remount(tmp_path / "read-only", "size=1m", MS_RDONLY)
        with watched(mine.pod.netns) as watch:
            _must_be_read_only(there.vmnet.run("up"))
            assert watch.changes() == []


def test_a_running_server_does_not_need_the_state_directory(mine: Trial, tmp_path: Path) -> None:
    """As after an error of the disk, which makes the kernel read-only what was not."""
    mine.vmnet.up()
    [server] = mine.agent.servers()
    with read_only(mine.agent.state_dir, tmp_path / "view"):
        seen = _elsewhere(mine, tmp_path / "view")
        _must_lease(mine, tmp_path)
        assert seen.vmnet.status()[0] == 0
        assert seen.vmnet.run("up").code == 3
        assert seen.vmnet.run("down").code == 3
        assert seen.agent.servers() == [server]
    mine.must_be_up("read-only for a while")
    mine.vmnet.down()


def test_a_repair_waits_until_the_state_directory_can_be_written(mine: Trial, tmp_path: Path) -> None:
    mine.vmnet.up()
    [server] = mine.agent.servers()
    mine.pod.netns.ip_batch("link set eth0-nic nomaster")
    with read_only(mine.agent.state_dir, tmp_path / "view"), watched(mine.pod.netns) as watch:
        seen = _elsewhere(mine, tmp_path / "view")
        assert seen.vmnet.status()[0] == 7
        for words in (("up",), ("up", "--resume"), ("down",), ("down", "--force"), ("serve",)):
            _must_be_read_only(seen.vmnet.run(*words))
        assert watch.changes() == []
        assert seen.agent.servers() == [server]
    mine.vmnet.up()
    mine.must_be_up("read-only while a port was off the bridge")
    mine.vmnet.down()
    mine.must_be_as_found("read-only while a port was off the bridge")


def test_from_another_state_directory_the_pod_is_given_back_meanwhile(mine: Trial, tmp_path: Path) -> None:
    """It is what the refusal advises, and the note on the NIC has the facts."""
    mine.vmnet.up()
    with read_only(mine.agent.state_dir, tmp_path / "view"):
        _must_be_read_only(_elsewhere(mine, tmp_path / "view").vmnet.run("down"))
        _elsewhere(mine, tmp_path / "other").vmnet.down()
        assert difference(mine.found, snapshot(mine.pod)) == ""
        assert mine.agent.servers() == []
    mine.vmnet.down()
    mine.must_be_as_found("the journal was left in the read-only directory")


def _must_be_read_only(ended: Ended) -> None:
    assert (ended.code, ended.changes) == (3, ()), ended.stderr
    assert ended.message.startswith("cannot write the state directory ")
    assert ended.message.endswith(": Read-only file system; name another place with --state-dir")


HOOK = "from vmnet.__main__ import hook; hook()"


def _hook(there: Trial, step: str) -> Completed:
    """Run libvirt's hook for a domain on tap0, as libvirtd in the pod does."""
    words = [sys.executable, "-c", HOOK, str(there.agent.state_dir), "vm1", *step.split(), "-"]
    return run(there.agent.command(*words), check=False, stdin=domain(TAP0.replace(POD.mac, there.pod.mac)))


def test_libvirts_hook_refuses_a_domain_where_it_cannot_write(mine: Trial, tmp_path: Path) -> None:
    there = _elsewhere(mine, tmp_path / "state")
    with read_only(there.agent.state_dir), watched(mine.pod.netns) as watch:
        refused = _hook(there, "prepare begin")
        assert watch.changes() == []
    assert refused.returncode == 3
    assert refused.stderr == (
        f"vmnet: error: domain vm1: prepare: cannot write the hook's records in {there.agent.state_dir}/hook: "
        "Read-only file system; see that root can write there\n"
    )


def test_libvirts_hook_keeps_what_it_cannot_give_back_and_gives_it_back_later(mine: Trial, tmp_path: Path) -> None:
    there = _elsewhere(mine, tmp_path / "state")
    assert _hook(there, "prepare begin").returncode == 0
    [server] = there.agent.servers()
    [claim] = there.agent.state_dir.glob("hook/*.json")
    with read_only(there.agent.state_dir), watched(mine.pod.netns) as watch:
        for step, code in (("reconnect begin", 0), ("release end", 3)):
            ended = _hook(there, step)
            assert ended.returncode == code
            assert ended.stderr.endswith("Read-only file system; see that root can write there\n")
            assert ended.stderr.count("\n") == 1
        assert watch.changes() == []
        assert there.vmnet.status()[0] == 0
    assert there.agent.servers() == [server]
    assert claim.exists()
    assert _hook(there, "release end").returncode == 0
    assert not claim.exists()
    assert difference(mine.found, snapshot(mine.pod)) == ""
    assert there.agent.servers() == []


def test_a_symlink_racer_gets_nothing_written_elsewhere(tmp_path: Path) -> None:
    """It puts links into the state directory, as fast as it can, wherever the agent is about to write."""
    victim = tmp_path / "victim"
    victim.mkdir()
    for name in ("file", "journal.json", "server.log", "server.pid", "lock"):
        (victim / name).write_bytes(CANARY)
    names = sorted(path.name for path in victim.iterdir())
    with trial("bridge", tmp_path / "pod") as mine:
        cookie = _cookie(mine)
        racer = os.fork()
        if racer == 0:
            _race(mine.agent.state_dir, f"netns-{cookie}", victim)
        try:
            ended: list[Ended] = []
            for _ in attempts("a few runs that the racer let through"):
                if len(ended) >= 2 * RACES and [one.code for one in ended].count(0) > 2:
                    break
                ended += [mine.vmnet.run(verb) for verb in ("up", "down")]
        finally:
            os.kill(racer, signal.SIGKILL)
            os.waitpid(racer, 0)
        assert sorted(path.name for path in victim.iterdir()) == names
        assert {path.read_bytes() for path in victim.iterdir()} == {CANARY}
        print(f"{len(ended)} runs, exit codes {sorted({one.code for one in ended})}")  # noqa: T201
        assert [one.stderr for one in ended if one.code not in (0, 2, 3, 4, 5)] == []
        _sweep(mine.agent.state_dir)
        mine.vmnet.down()
        _sweep(mine.agent.state_dir)
        mine.must_be_as_found("a race")


def _race(state_dir: Path, namespace: str, victim: Path) -> None:
    """Put a link into any of our directories and take it away again, at once or later; never through a link."""
    binding, files = (namespace, "eth0"), ("journal.json", "journal.json.new", "server.log", "server.pid")
    spots: list[tuple[tuple[str, ...], str, Path]] = [
        ((), namespace, victim),
        ((namespace,), "eth0", victim),
        ((namespace,), "lock", victim / "file"),
        *((binding, name, victim / "file") for name in files),
    ]
    rng = random.Random(1)  # noqa: S311 # not for secrets
    try:
        while True:
            steps, name, target = rng.choice(spots)
            with suppress(OSError), _walked(state_dir, steps) as directory:
                _link_or_unlink(target, name, directory)
                if rng.random() < 0.95:
                    _link_or_unlink(target, name, directory)
    finally:
        os._exit(CRASHED)


def _link_or_unlink(target: Path, name: str, directory: int) -> None:
    try:
        os.symlink(target, name, dir_fd=directory)
    except FileExistsError:
        if stat.S_ISLNK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=directory)


@contextmanager
def _walked(state_dir: Path, steps: tuple[str, ...]) -> Iterator[int]:
    descriptor = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for step in steps:
            below = os.open(step, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def _sweep(state_dir: Path) -> None:
    """Take away the links, whatever they point to."""
    for path in state_dir.glob("**/*"):
        if path.is_symlink():
            path.unlink()
