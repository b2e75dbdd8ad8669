"""The running guest notices nothing: not of further `up`s, not of killed agents and servers, not of lost files.

┌ pod ───────────────────────────────────────┐
│ eth0-nic ── k6t-eth0 ── tap0 ── guest      │   up to 1,000 numbered datagrams a second each way
└────────────────────────────────────────────┘
"""

from __future__ import annotations

import json
import random
import shutil
import zlib
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from testbed import clients
from testbed.netns import kill
from testbed.snapshot import difference, snapshot
from testbed.steady_traffic import give_addresses, steady_traffic
from testbed.tap_guest import tap_guest
from tests import docs
from tests.extent import amount, chosen
from tests.netns.forked import killed_after
from tests.netns.trials import Trial, note_names, trial
from vmnet.saved import note, schema

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.agent import Agent
    from testbed.pods import Pod
    from testbed.steady_traffic import Traffic
    from testbed.tap_guest import TapGuest

ROUNDS = amount(8, 40, 400)
LAYOUTS = ("bridge-dual", "ptp-dual", "calico-dual")
LEAST = 100
"""Datagrams each way: fewer would show nothing."""


@contextmanager
def _flowing(mine: Trial, directory: Path) -> Iterator[tuple[TapGuest, Traffic]]:
    """Traffic of a guest that is up; it must all have arrived at the end."""
    mine.vmnet.up()
    with tap_guest(mine.pod.netns, mine.pod.mac, directory) as guest:
        give_addresses(guest, mine.pod)
        with steady_traffic(guest, mine.pod) as traffic:
            yield guest, traffic
    print(f"{traffic.seconds:.1f} s, to the peer {traffic.to_peer}, to the guest {traffic.to_guest}")  # noqa: T201
    assert min(traffic.to_peer.sent, traffic.to_guest.sent) > LEAST
    assert (traffic.to_peer.lost, traffic.to_guest.lost) == (0, 0)


def test_no_frame_is_lost_by_ups_and_kills_of_agent_and_server(tmp_path: Path) -> None:
    rng = random.Random(ROUNDS)  # noqa: S311 # not for secrets
    ups = kills = 0
    with trial("bridge", tmp_path) as mine:
        with _flowing(mine, tmp_path):
            for _ in range(ROUNDS):
                [server] = mine.agent.servers()
                kill(server)
                starting = mine.vmnet.start("up")
                starting.ends_within(rng.uniform(0, 0.015))
                starting.kill()
                kills += 1 + starting.wait().killed
                changes = [mine.vmnet.up().changes for _ in range(2)]
                assert changes == [(), ()]
                ups += 3
        mine.vmnet.down()
    print(f"{ups} ups, {kills} kills")  # noqa: T201
    assert ups == 3 * ROUNDS
    assert kills >= ROUNDS


def test_no_frame_is_lost_by_a_repair_beside_the_data_path(tmp_path: Path) -> None:
    """The stand-in is not in the guest's way; an `up` that is killed while it makes it anew harms nobody."""
    with trial("bridge", tmp_path) as mine:
        with _flowing(mine, tmp_path):
            for number in range(1, 5):
                mine.pod.netns.ip_batch("link delete eth0")
                mine.vmnet.run("up", tamper=killed_after(number))
                mine.vmnet.up()
                mine.must_be_up("the stand-in was made anew")
        mine.vmnet.down()


@pytest.mark.parametrize("layout", chosen(LAYOUTS, ("calico-dual",).__contains__))
def test_a_lost_journal_is_resumed_from_the_note_without_losing_a_frame(layout: str, tmp_path: Path) -> None:
    """A launcher container restarts with an empty file system; its server died with it, or lives on in another."""
    with trial(layout, tmp_path) as mine:
        with _flowing(mine, tmp_path) as (guest, _traffic):
            for server_dies in (True, False):
                if server_dies:
                    [server] = mine.agent.servers()
                    kill(server)
                shutil.rmtree(mine.agent.state_dir)
                code, report = mine.vmnet.status()
                assert code == 7
                assert report["drift"] == ["save the pod's configuration again: the journal is lost"]
                assert mine.vmnet.up().changes == ()
                assert mine.vmnet.status()[0] == 0
                assert set(mine.pod.netns.processes()) == {*mine.agent.servers(), guest.copier.process.pid}
        mine.must_be_up("the journal was lost twice")
        mine.vmnet.down()
        mine.must_be_as_found("the journal was lost and an up and a down came")


@pytest.mark.parametrize("layout", chosen(LAYOUTS, ("calico-dual",).__contains__))
def test_with_the_journal_lost_a_down_alone_gives_the_pod_back(layout: str, tmp_path: Path) -> None:
    with trial(layout, tmp_path) as mine:
        mine.vmnet.up()
        shutil.rmtree(mine.agent.state_dir)
        mine.vmnet.down()
        mine.must_be_as_found("the journal was lost and a down came")


def test_with_journal_and_note_lost_nothing_is_touched(tmp_path: Path) -> None:
    with trial("bridge", tmp_path) as mine:
        mine.vmnet.up()
        kept = tmp_path / "kept"
        shutil.copytree(mine.agent.state_dir, kept, ignore=shutil.ignore_patterns("*.sock"))
        notes = note_names(mine.pod.netns)
        mine.pod.netns.ip_batch(*(f"link property del dev eth0-nic altname {name}" for name in notes))
        shutil.rmtree(mine.agent.state_dir)

        for verb in ("up", "down", "plan"):
            ended = mine.vmnet.run(verb)
            assert (ended.code, ended.changes) == (3, ())
            assert "k6t-eth0 joins eth0-nic and tap0, which vmnet has made, but " in ended.message
        mine.agent.state_dir.mkdir(exist_ok=True)
        shutil.copytree(kept, mine.agent.state_dir, dirs_exist_ok=True)
        mine.vmnet.down()
        mine.must_be_as_found("journal and note were lost and the journal was found again")


def _age(mine: Trial) -> Trial:
    """Make journal, note and NIC what the first vmnet would have left; return what it would have saved."""
    [path] = mine.agent.state_dir.glob("**/journal.json")
    today = path.read_text(encoding="ascii")
    journal = {**json.loads(today), "schema": 1}
    del journal["lease6"]
    for part, name in (added for number in schema._ADDED for added in schema._ADDED[number]):
        for fields in _parts(journal, part):
            del fields[name]
    text = json.dumps(journal, separators=(",", ":"))
    path.write_text(text, encoding="ascii")
    names = note_names(mine.pod.netns)
    assert names == list(note.write(today))
    of_then = [f"vmnet.{zlib.crc32(b'eth0'):08x}.{name.split('.', 2)[2]}" for name in note.write(text)]
    mine.pod.netns.ip_batch(
        *(f"link property del dev eth0-nic altname {name}" for name in names),
        *(f"link property add dev eth0-nic altname {name}" for name in of_then),
    )
    assert mine.facts.accept_ra is not None
    mine.pod.netns.sysctl("ipv6/conf/eth0-nic/accept_ra", mine.facts.accept_ra)
    return replace(mine, facts=replace(mine.facts, accept_ra=None))


def _parts(journal: Any, part: str) -> list[dict[str, Any]]:  # noqa: ANN401 # JSON is of any type
    """What a part of the journal is, or those of which it has many; none where all of it came later."""
    for name in part.split("."):
        journal = journal.get(name, []) if isinstance(journal, dict) else []
    return journal if isinstance(journal, list) else [journal]


def _must_have_its_accept_ra(mine: Trial) -> None:
    """No snapshot shows it."""
    setting = mine.pod.netns.run("cat", "/proc/sys/net/ipv6/conf/eth0/accept_ra").stdout
    assert int(setting) == mine.facts.accept_ra


ANEW = ("add note of the pod's facts on eth0-nic", "delete note of the pod's facts on eth0-nic")


@pytest.mark.parametrize("lost", [False, True], ids=["with its journal", "with its note alone"])
def test_a_binding_of_an_older_vmnet_is_taken_over_without_losing_a_frame(lost: bool, tmp_path: Path) -> None:
    with trial("bridge-dual", tmp_path) as mine:
        with _flowing(mine, tmp_path):
            servers = mine.agent.servers()
            of_then = _age(mine)
            if lost:
                shutil.rmtree(mine.agent.state_dir)
            code, report = mine.vmnet.status()
            assert code == 7
            assert report["drift"][0] == ANEW[0]
            assert mine.vmnet.up().changes == ANEW
            assert mine.agent.servers() == servers
        [path] = mine.agent.state_dir.glob("**/journal.json")
        assert json.loads(path.read_bytes())["schema"] == schema.SCHEMA
        of_then.must_be_up("taken over from an older vmnet")
        assert mine.vmnet.status()[0] == 0
        mine.vmnet.down()
        mine.must_be_as_found("taken over from an older vmnet")
        _must_have_its_accept_ra(mine)


@pytest.mark.parametrize("verb", ["up", "down"])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_facts_are_safe_while_they_are_written_anew(number: int, verb: str, tmp_path: Path) -> None:
    """Killed before or while it writes the note anew, and the container's file system goes with it."""
    with trial("bridge-dual", tmp_path) as mine:
        mine.vmnet.up()
        of_then = _age(mine)
        if number:
            assert mine.vmnet.run("up", tamper=killed_after(number)).killed
        [server] = mine.agent.servers()
        kill(server)
        shutil.rmtree(mine.agent.state_dir)
        mine.vmnet.run(verb).ok()
        (of_then.must_be_up if verb == "up" else mine.must_be_as_found)("killed while writing the note anew")
        mine.vmnet.down()
        mine.must_be_as_found("killed while writing the note anew")
        _must_have_its_accept_ra(mine)


def test_the_guest_keeps_its_lease_when_the_server_is_another(tmp_path: Path) -> None:
    with trial("bridge", tmp_path) as mine:
        mine.vmnet.up()
        with tap_guest(mine.pod.netns, mine.pod.mac, tmp_path) as guest:
            first = clients.lease("udhcpc", guest)
            [server] = mine.agent.servers()
            kill(server)
            mine.vmnet.up()
            assert clients.lease("udhcpc", guest) == first
        mine.vmnet.down()


def test_the_page_on_recovery(pod: Pod, agent: Agent, tmp_path: Path) -> None:
    found = snapshot(pod)
    environment = {"VMNET_STATE_DIR": agent.state_dir, "VMNET_RESOLV_CONF": agent.resolv_conf}
    docs.play(docs.page("operate/recovery.md"), agent.command, tmp_path, environment)
    assert difference(found, snapshot(pod)) == ""
