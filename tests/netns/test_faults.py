"""The kernel refuses something: `up` goes on, or gives the pod back and says who refused what and why.

┌ pod ──┐
│ eth0  │   each change by each kind of error, once and for good; and errors while giving back
└───────┘
"""

from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING

import pytest

from tests.extent import SOAK, some
from tests.netns.forked import broken_at, dumps_fail, no_live_rename, no_packet_socket, no_rename_at_all, refused
from tests.netns.trials import MIXED, side_by_side, trial

if TYPE_CHECKING:
    from pathlib import Path

    from tests.netns.forked import Ended
    from tests.netns.trials import Trial

GO_ON = (errno.EEXIST, errno.ENODEV, errno.ENOBUFS)
"""Somebody else changed something, or a message was lost: look again."""
GIVE_BACK = (errno.EBUSY, errno.EPERM, errno.ENOMEM, errno.EINVAL, errno.EOPNOTSUPP)
IN_DOWN = (*GO_ON, *GIVE_BACK) if SOAK else (errno.ENODEV, errno.EPERM)
FOR_GOOD = GO_ON if SOAK else (errno.ENOBUFS,)
MISSING = {errno.EPERM: "CAP_NET_ADMIN is missing", errno.EOPNOTSUPP: "kernel support is missing"}
MOST_CHANGES = 30
SAMPLE = 17
"""Of so many cases `make test` tries one; it is prime to the number of errors, so that each of them comes."""
ALL = range(1, 10_000)
INCOMPLETE = 5


@pytest.mark.timeout(1800)
def test_each_change_of_up_refused_once_with_each_error(tmp_path: Path) -> None:
    cases: list[str] = []

    def work(trial: Trial, case: tuple[int, int]) -> None:
        number, code = case
        changes = trial.changes[0]
        if number > len(changes):
            return
        after = f"{errno.errorcode[code]} at `{changes[number - 1]}`"
        ended = trial.vmnet.run("up", tamper=refused([number], code))
        trial.must_have_its_facts(after)
        if code in GO_ON:
            ended.ok()
            trial.must_be_up(after)
            trial.vmnet.down()
        else:
            _must_be_given_back(ended, changes[number - 1], code)
        trial.must_be_as_found(after)
        cases.append(after)

    errors = (*GO_ON, *GIVE_BACK)
    every = [(number, code) for number in range(1, MOST_CHANGES) for code in errors]
    side_by_side(("bridge", "bridge-dual"), tmp_path, some(every, SAMPLE), work)
    print(f"{len(cases)} cases")  # noqa: T201 # a figure for SPECIFICATION.md
    assert len(cases) >= len(some(range(150), SAMPLE))
    assert {case.split()[0] for case in cases} == {errno.errorcode[code] for code in errors}


def _must_be_given_back(ended: Ended, change: str, code: int) -> None:
    assert ended.code == 4, ended.stderr
    assert f"{change}: {os.strerror(code)}" in ended.message
    assert MISSING.get(code, "") in ended.message
    assert ended.message.endswith("; all changes were undone")


def test_a_change_refused_for_good_gives_the_pod_back(tmp_path: Path) -> None:
    given_back: list[int] = []

    def work(trial: Trial, case: tuple[int, int]) -> None:
        number, code = case
        if number > len(trial.changes[0]):
            return
        change = trial.changes[0][number - 1]
        ended = trial.vmnet.run("up", tamper=refused([number], code, always=True))
        if ended.code == 0:
            # The kernel did it by itself, as it drops a route with its address; or was asked for it otherwise.
            trial.must_be_up(change)
            trial.vmnet.down()
        else:
            assert ended.code == 4, ended.stderr
            assert (
                change in ended.message or code == errno.EEXIST
            )  # that is believed, until the next change needs it
            given_back.append(number)
        trial.must_be_as_found(change)

    every = [(number, code) for number in range(1, MOST_CHANGES) for code in FOR_GOOD]
    side_by_side(("ptp-dual",), tmp_path, some(every, SAMPLE), work)
    assert len(given_back) >= len(some(range(15 * len(FOR_GOOD)), SAMPLE))


def test_each_change_of_down_refused_once(tmp_path: Path) -> None:
    def work(trial: Trial, case: tuple[int, int]) -> None:
        number, code = case
        if number > len(trial.changes[1]):
            return
        trial.vmnet.up()
        ended = trial.vmnet.run("down", tamper=refused([number], code))
        trial.must_have_its_facts(f"down, change {number}, {errno.errorcode[code]}")
        if code in GO_ON or not ended.refused:  # there was a neighbour less to be put back
            ended.ok()
        else:
            _must_say_how_to_finish(ended, ended.refused[0])
            refusals.append(number)
            trial.vmnet.down()
        trial.must_be_as_found(f"down, change {number}, {errno.errorcode[code]}")

    refusals: list[int] = []
    every = [(number, code) for number in range(1, MOST_CHANGES) for code in IN_DOWN]
    side_by_side(("calico-dual", "ipv6-only"), tmp_path, some(every, SAMPLE), work)
    assert len(set(refusals)) >= len(some(range(10), SAMPLE))


def _must_say_how_to_finish(ended: Ended, left: str) -> None:
    assert ended.code == INCOMPLETE, ended.stderr
    assert left in ended.message
    assert re.search("(its|the pod's) configuration is saved in ", ended.message)
    assert re.search("run `vmnet down [^`]*` to finish", ended.message)


def test_a_repair_that_is_refused_says_how_to_finish(tmp_path: Path) -> None:
    """The guest goes on with what there is: nothing is given back under it."""
    repair = ("link delete eth0", "link set k6t-eth0 type bridge stp_state 1", "link set tap0 mtu 1300")

    def work(trial: Trial, case: tuple[int, int]) -> None:
        number, code = case
        trial.vmnet.up()
        trial.pod.netns.ip_batch(*repair)
        ended = trial.vmnet.run("up", tamper=refused([number], code))
        trial.must_have_its_facts(f"repair, change {number}, {errno.errorcode[code]}")
        if ended.code:
            assert ended.code == INCOMPLETE, ended.stderr
            assert os.strerror(code) in ended.message
            assert re.search("run `vmnet up [^`]*` to finish", ended.message)
            refusals.append(number)
        trial.vmnet.up()
        trial.must_be_up("a repair was refused and repeated")
        trial.vmnet.down()
        trial.must_be_as_found("a repair was refused and repeated")

    refusals: list[int] = []
    every = [(number, code) for number in range(1, 9) for code in GIVE_BACK]
    side_by_side(MIXED, tmp_path, some(every, SAMPLE), work)
    assert len(refusals) >= len(some(range(5 * len(GIVE_BACK)), SAMPLE))


def test_a_link_that_cannot_be_altered_even_when_down_is_not_left_down(tmp_path: Path) -> None:
    with trial("bridge", tmp_path) as mine:
        mine.vmnet.up()
        mine.pod.netns.ip_batch("link set eth0-nic name uplink7")
        ended = mine.vmnet.run("up", tamper=no_rename_at_all)
        assert ended.code == INCOMPLETE, ended.stderr
        [link] = mine.pod.netns.ip("link", "show", "dev", "uplink7")
        assert "UP" in link["flags"]
        mine.vmnet.up()
        mine.must_be_up("renamed after all")
        mine.vmnet.down()
        mine.must_be_as_found("renamed after all")


@pytest.mark.parametrize("number", [1, 2, 10, 20])
def test_a_bug_half_way_gives_the_pod_back_and_is_called_one(number: int, tmp_path: Path) -> None:
    with trial("bridge", tmp_path) as mine:
        ended = mine.vmnet.run("up", tamper=broken_at(number))
        assert (ended.code, "LookupError: a bug; a bug in vmnet" in ended.message) == (1, True), ended.stderr
        mine.must_be_as_found("a bug")


def test_giving_back_is_refused_too_and_a_later_down_finishes(tmp_path: Path) -> None:
    """From some change on nothing is allowed any more; or `up` fails at its end, and giving back at some step."""

    def work(trial: Trial, case: tuple[int, int]) -> None:
        number, step = case
        last = len(trial.changes[0])
        if number > last or step > len(trial.changes[1]):
            return
        numbers = [last, last + step] if step else ALL[number - 1 :]
        ended = trial.vmnet.run("up", tamper=refused(numbers, errno.EPERM))
        trial.must_have_its_facts(ended.message)
        if len(ended.refused) > 1:
            _must_say_how_to_finish(ended, "; restoring the pod failed, too: ")
            incomplete.append(case)
        else:  # there was a neighbour less to be put back
            _must_be_given_back(ended, ended.refused[0], errno.EPERM)
        trial.vmnet.down()
        trial.must_be_as_found(ended.message)

    incomplete: list[tuple[int, int]] = []
    every = [(number, 0) for number in range(2, MOST_CHANGES)] + [(0, step) for step in range(1, MOST_CHANGES)]
    side_by_side(MIXED, tmp_path, some(every, SAMPLE), work)
    assert len(incomplete) > len(some(range(30), SAMPLE))


@pytest.mark.parametrize("code", GO_ON)
def test_the_servers_socket_refused_once_is_opened_again(code: int, tmp_path: Path) -> None:
    with trial("bridge", tmp_path) as mine:
        mine.vmnet.run("up", tamper=no_packet_socket(1, code)).ok()
        mine.must_be_up("the packet socket was refused once")
        mine.vmnet.down()
        mine.must_be_as_found("the packet socket was refused once")


@pytest.mark.parametrize("code", [errno.ENOBUFS, errno.EPERM, errno.ENOMEM])
def test_the_servers_socket_refused_for_good_gives_the_pod_back(code: int, tmp_path: Path) -> None:
    with trial("bridge", tmp_path) as mine:
        ended = mine.vmnet.run("up", tamper=no_packet_socket(1000, code))
        assert ended.code == 4, ended.stderr
        assert f"open a packet socket on tap0: {os.strerror(code)}" in ended.message
        mine.must_be_as_found("no packet socket")


def test_an_overrun_while_reading_is_read_again(tmp_path: Path) -> None:
    with trial("bridge", tmp_path) as mine:
        mine.vmnet.run("up", tamper=dumps_fail([1, 2, 9, 15, 20], errno.ENOBUFS)).ok()
        mine.must_be_up("overruns")
        mine.vmnet.run("down", tamper=dumps_fail([1, 7, 13], errno.EINTR)).ok()
        mine.must_be_as_found("interrupted dumps")


def test_what_cannot_be_read_is_not_touched_and_what_can_no_more_be_read_is_not_lost(tmp_path: Path) -> None:
    with trial("bridge", tmp_path) as mine:
        ended = mine.vmnet.run("up", tamper=dumps_fail(ALL, errno.EPERM))
        assert (ended.code, ended.changes) == (4, ())
        mine.must_be_as_found("unreadable from the start")

        ended = mine.vmnet.run("up", tamper=dumps_fail(ALL[13:], errno.EPERM))
        assert ended.code == INCOMPLETE, ended.stderr
        mine.must_have_its_facts("unreadable half-way")
        mine.vmnet.down()
        mine.must_be_as_found("unreadable half-way")


def test_where_a_link_cannot_be_renamed_while_it_is_up(tmp_path: Path) -> None:
    with trial("ovn", tmp_path) as mine:
        mine.vmnet.run("up", tamper=no_live_rename).ok()
        mine.must_be_up("a rename with the link down")
        mine.vmnet.run("down", tamper=no_live_rename).ok()
        mine.must_be_as_found("a rename with the link down")
