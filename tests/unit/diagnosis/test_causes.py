"""Why what is waited for does not come: each cause by what is seen. Provoked in tests/netns/test_wait.py."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.testlib.sights import family, journal, server, sight
from vmnet.diagnosis.causes import cause
from vmnet.diagnosis.goals import GOALS, Way, is_reached
from vmnet.diagnosis.reach import Question
from vmnet.model.links import FilterChain, Holder, Status

if TYPE_CHECKING:
    from vmnet.diagnosis.sight import Sight

POD = journal()
DUAL = journal("bridge-dual")
VM = POD.vm_mac
ADDRESS = "10.244.1.2"
ASKED = (Question(ADDRESS, "10.244.1.1", "02:00:00:00:00:01", b""),)
FORWARD = FilterChain("ip", "filter", "FORWARD", "forward", "", "drop", ())
FOREIGN = "de:ad:c0:de:ca:fe"


CAUSES = [
    ("ready", sight(None, None), "not-up", "`down`"),
    ("bound", sight(POD, None, drift=("start the DHCP server: gone",)), "server-dead", "gone"),
    ("ready", sight(POD, server(state="failed", reason="no memory")), "not-serving", "no memory"),
    ("ready", sight(POD, server(state="compiling")), "not-serving", "compiling"),
    ("ready", sight(POD, server(), drift=("set tap0 up=True",)), "drift", "set tap0 up=True"),
    ("bound", sight(POD, server(), drift=("create tun tap0",), now=Status(())), "drift", "create tun tap0"),
    ("asked", sight(POD, server(), carrier=False, received=0), "no-carrier", "tap0 has no carrier"),
    ("asked", sight(POD, server(), carrier=False), "no-carrier", "4 frames from the guest"),
    ("asked", sight(POD, server(), received=0), "no-frames", "no frames from the guest"),
    ("asked", sight(POD, server()), "no-discover", "4 frames from the guest"),
    ("bound", sight(POD, server(ignored={"bad_magic": 2})), "no-discover", "2 frames ignored as bad_magic"),
    ("bound", sight(POD, server(foreign_macs=[FOREIGN])), "other-mac", FOREIGN),
    ("bound", sight(POD, server(foreign_macs=[FOREIGN])), "other-mac", f"the VM's MAC is {VM}"),
    ("bound", sight(POD, server("offered", events={"offer": 3})), "not-requested", "3 offers"),
    ("bound", sight(POD, server("asked", events={"nak_selecting": 2})), "refused", "nak_selecting: 2"),
    ("bound", sight(POD, server("asked", events={"other_server": 1})), "other-server", "1 request"),
    ("bound", sight(POD, server("declined"), warnings=("ADDRESS CONFLICT: x",)), "declined", "CONFLICT"),
    ("bound", sight(POD, server("released")), "released", "3.2 s ago"),
    ("bound", sight(POD, server("foreign-address", uses_foreign="10.9.9.9")), "foreign-address", "10.9.9.9"),
    ("bound", sight(DUAL, server(ipv6=family("offered"))), "not-requested", "no offers"),
]


@pytest.mark.parametrize(("state", "starts_another"), [("failed", True), ("compiling", False)])
def test_up_is_advised_only_where_it_starts_another_server(state: str, starts_another: bool) -> None:
    found = cause("ready", sight(POD, server(state=state, reason="no memory")), Way())
    assert ("`vmnet up`" in found.remedy) is starts_another


@pytest.mark.parametrize(("goal", "seen", "word", "evidence"), CAUSES)
def test_cause(goal: str, seen: Sight, word: str, evidence: str) -> None:
    assert not is_reached(goal, seen, Way())
    found = cause(goal, seen, Way())
    assert found.word == word
    assert "{" not in found.what
    assert evidence in "\n".join(found.evidence)
    assert found.remedy


def test_a_program_that_lost_its_tap_is_the_cause_where_nobody_has_ours() -> None:
    lost = Way(holders=(Holder(7, "qemu-system-x86", ""), Holder(8, "passt", "tap1")))
    found = cause("asked", sight(POD, server(), carrier=False, received=0), lost)
    assert found.word == "tap-gone"
    assert found.what == "qemu-system-x86 (pid 7) has a deleted tap open, not the present tap0"
    assert cause("asked", sight(POD, server(), received=0), lost).word == "no-frames"


def test_a_foreign_address_is_told_with_the_own_one() -> None:
    found = cause("bound", sight(POD, server("foreign-address", uses_foreign="10.9.9.9")), Way())
    assert "10.9.9.9" in found.what
    assert f"{ADDRESS}/24" in found.what


@pytest.mark.parametrize(
    ("way", "evidence", "remedy"),
    [
        (Way(ASKED), "nobody answered", "look in the guest"),
        (Way(ASKED, {ADDRESS: FOREIGN}), f"{FOREIGN} answered", "look in the guest"),
        (Way(ASKED, {ADDRESS: VM}, (FORWARD,)), "chain ip filter FORWARD", "bridge-nf-call-iptables=0"),
    ],
)
def test_bound_and_not_reachable(way: Way, evidence: str, remedy: str) -> None:
    seen = sight(POD, server("bound"))
    assert not is_reached("reachable", seen, way)
    found = cause("reachable", seen, way)
    assert found.word == "unreachable"
    assert evidence in "\n".join(found.evidence)
    assert "from 10.244.1.1 at 02:00:00:00:00:01" in "\n".join(found.evidence)
    assert "gateway 10.244.1.1" in "\n".join(found.evidence)
    assert remedy in found.remedy


@pytest.mark.parametrize(
    ("state", "reached"),
    [
        ("silent", {"ready"}),
        ("asked", {"ready", "asked"}),
        ("offered", {"ready", "asked"}),
        ("bound", {"ready", "asked", "bound"}),
        ("renewed", {"ready", "asked", "bound"}),
        ("static", {"ready", "asked", "bound"}),
        ("released", {"ready", "asked"}),
        ("declined", {"ready", "asked"}),
        ("foreign-address", {"ready"}),
    ],
)
def test_what_a_state_is_enough_for(state: str, reached: set[str]) -> None:
    for seen in (sight(POD, server(state)), sight(DUAL, server(ipv6=family(state)))):
        assert {goal for goal in GOALS if is_reached(goal, seen, Way())} == reached


def test_who_answers_for_its_address_is_reachable_whatever_it_said_in_dhcp() -> None:
    assert is_reached("reachable", sight(POD, server()), Way(ASKED, {ADDRESS: VM}))


def test_rules_for_ipv4_are_not_in_the_way_of_ipv6() -> None:
    address = "fd00:10:246:1::2"
    asked = (Question(address, "fe80::1", "02:00:00:00:00:01", b""),)
    seen = sight(DUAL, server(ipv6=family("bound")))
    assert is_reached("reachable", seen, Way(asked, {address: DUAL.vm_mac}, blocking4=(FORWARD,)))
    assert not is_reached("reachable", seen, Way(asked, {address: DUAL.vm_mac}, blocking6=(FORWARD,)))


def test_each_cause_is_explained() -> None:
    page = (Path(__file__).parents[3] / "docs" / "watching.md").read_text(encoding="utf-8")
    explained = re.findall("^### (.*)$", page, re.MULTILINE)
    assert sorted(explained) == sorted({*(word for _, _, word, _ in CAUSES), "unreachable", "tap-gone"})
