"""Many `vmnet up` at once: one plumbs, the others wait for it and find its work done.

┌ pod ──┐
│ eth0  │   20 or 50 times vmnet up, with one state directory and with as many
└───────┘
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from testbed.netns import entered, run
from tests import figures
from tests.extent import amount, chosen
from tests.netns.forked import stopped_after
from tests.netns.trials import Trial, trial

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.netns.forked import Ended

AT_ONCE = amount(8, 50)
"""One waits for all others, and nobody longer than a minute: on a machine that is busy, fifty take as long."""
AGENT_LOCK = "\0vmnet/agent"
SERVER_NAME = "\0vmnet/server/eth0"
MOMENT = 0.2
"""Seconds in which one that did not wait for the lock would have ended; one that waits never does."""
NOBODY, WAITERS = 65534, 128


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Trial]:
    with trial("bridge", tmp_path) as made:
        yield made


def _ready(ended: Ended) -> dict[str, object]:
    """Its last word; one that has waited for long has said so before."""
    return dict(json.loads(ended.ok().stderr.splitlines()[-1]))


def _must_be_one_result(ended: list[Ended]) -> None:
    said = [_ready(one) for one in ended]
    assert sum(bool(one.pop("changed")) for one in said) == 1
    assert [len(one.changes) > 0 for one in ended].count(True) == 1
    assert {str(one.pop("message")).removeprefix("ready: ").removeprefix("ready already: ") for one in said} == {
        "the VM on tap0 is 10.244.1.2/24, MAC f6:8a:41:0a:f9:62"
    }
    assert all(one == said[0] for one in said)


def test_many_at_once_with_one_state_directory(mine: Trial) -> None:
    _must_be_one_result([one.wait() for one in [mine.vmnet.start("up") for _ in range(AT_ONCE)]])
    mine.must_be_up("many at once")
    assert len(mine.pod.netns.processes()) == 1
    mine.vmnet.down()
    mine.must_be_as_found("many at once")


def test_many_at_once_with_a_state_directory_each(mine: Trial, tmp_path: Path) -> None:
    agents = [replace(mine.agent, state_dir=tmp_path / "each" / f"{number}") for number in range(AT_ONCE)]
    each = [replace(mine.vmnet, agent=agent) for agent in agents]
    _must_be_one_result([one.wait() for one in [vmnet.start("up") for vmnet in each]])
    [server] = mine.pod.netns.processes()
    assert all(agent.servers() == [server] for agent in agents)
    assert {vmnet.status()[0] for vmnet in each} == {0}

    assert [vmnet.run("down").code for vmnet in each] == [0] * AT_ONCE
    mine.must_be_as_found("many state directories")
    assert list((tmp_path / "each").glob("*/*")) == []


def test_up_and_down_at_once_leave_the_one_or_the_other(mine: Trial) -> None:
    for running in [mine.vmnet.start(verb) for verb in ("up", "down") * 10]:
        running.wait().ok()
    code, report = mine.vmnet.status()
    assert (report["state"], code) in (("up", 0), ("down", 11))
    mine.vmnet.down()
    mine.must_be_as_found("ups and downs at once")


def test_the_lock_is_free_at_once_after_a_kill(mine: Trial) -> None:
    """One stops in the middle of its work; another waits, and has the lock as soon as the first is killed."""
    holder = mine.vmnet.start("up", tamper=stopped_after(10))
    os.waitid(os.P_PID, holder.pid, os.WSTOPPED)
    waiting = mine.vmnet.start("up")
    assert not waiting.ends_within(MOMENT)
    holder.kill()
    with figures.timed("the lock's holder killed, and the next one done", at_most=1):
        ended = waiting.wait()
    assert holder.wait().killed
    assert _ready(ended)["changed"] is True
    mine.must_be_up("the lock's holder was killed")
    mine.vmnet.down()


HOW = ("listens", "does not listen", "listens and answers nobody")
SQUATTERS = tuple(itertools.product((AGENT_LOCK, SERVER_NAME), HOW, (NOBODY, 0)))
SAMPLE = (
    *((AGENT_LOCK, how, NOBODY) for how in HOW),
    (SERVER_NAME, "does not listen", NOBODY),
    (SERVER_NAME, "listens and answers nobody", 0),
)


def _described(squatter: tuple[str, str, int]) -> str:
    name, how, uid = squatter
    return f"{name[1:]} {how} {'root' if uid == 0 else 'nobody'}"


@contextmanager
def _squatter(mine: Trial, name: str, how: str, uid: int = NOBODY) -> Iterator[None]:
    """Somebody in the pod takes a name of ours: a user without any right, or root, which may have none either."""
    with entered(mine.pod.netns):
        squatter, *callers = (socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(WAITERS))
    with ExitStack() as stack:
        for each in (squatter, *callers):
            stack.enter_context(each)
        os.seteuid(uid)
        try:
            squatter.bind(name)
            if how != "does not listen":
                squatter.listen(0 if how == "listens and answers nobody" else WAITERS)
        finally:
            os.seteuid(0)
        if how == "listens and answers nobody":
            _fill_queue(callers, name)
        yield


def _fill_queue(callers: list[socket.socket], name: str) -> None:
    """Call until whoever calls next would have to wait."""
    with suppress(BlockingIOError):
        for caller in callers:
            caller.setblocking(False)
            caller.connect(name)
        raise AssertionError("the queue does not fill")


@pytest.mark.parametrize("squatter", chosen(SQUATTERS, SAMPLE.__contains__), ids=_described)
def test_somebody_who_takes_our_names_is_not_waited_for(mine: Trial, squatter: tuple[str, str, int]) -> None:
    with _squatter(mine, *squatter):
        mine.vmnet.up()
        mine.must_be_up("names taken")
        assert mine.vmnet.status()[0] == 0
        [server] = mine.agent.servers()
        mine.vmnet.up()
        assert mine.agent.servers() == [server]
    assert mine.vmnet.status()[0] == 0
    mine.vmnet.down()
    mine.must_be_as_found("names taken")


@pytest.mark.parametrize("uid", [NOBODY, 0], ids=["nobody", "root"])
def test_the_lock_stands_between_two_state_directories_whoever_has_the_name(
    mine: Trial, tmp_path: Path, uid: int
) -> None:
    other = replace(mine.vmnet, agent=replace(mine.agent, state_dir=tmp_path / "other"))
    with _squatter(mine, AGENT_LOCK, "listens", uid):
        holder = mine.vmnet.start("up", tamper=stopped_after(10))
        os.waitid(os.P_PID, holder.pid, os.WSTOPPED)
        waiting = other.start("up")
        assert not waiting.ends_within(MOMENT)
        os.kill(holder.pid, signal.SIGCONT)
        assert _ready(holder.wait())["changed"] is True
        assert _ready(waiting.wait())["changed"] is False
    mine.must_be_up("the lock's name taken")
    mine.vmnet.down()
    mine.must_be_as_found("the lock's name taken")


def test_a_table_of_the_locks_name_that_nobody_owns_is_named_at_once(mine: Trial) -> None:
    """Who has CAP_NET_ADMIN in the pod can make one, and no process's end takes it away."""
    run(mine.pod.netns.command("nft", "add", "table", "inet", "vmnet_lock"))
    with figures.timed("a lock that is nobody's, refused", at_most=1):
        ended = mine.vmnet.start("up").wait()
    assert ended.code == 3
    assert "table inet vmnet_lock" in ended.stderr
    run(mine.pod.netns.command("nft", "delete", "table", "inet", "vmnet_lock"))
    mine.vmnet.up()
    mine.vmnet.down()
    mine.must_be_as_found("a lock that was nobody's")
