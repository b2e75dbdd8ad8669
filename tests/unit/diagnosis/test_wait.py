"""What became of a wait, for people and for machines. The waiting itself is in tests/netns/test_wait.py."""

from __future__ import annotations

from tests.testlib.sights import family, journal, server, sight
from vmnet.diagnosis.causes import Cause
from vmnet.diagnosis.goals import Way
from vmnet.diagnosis.wait import Waited, outline, value
from vmnet.show.outline import plain

SEEN = sight(journal("bridge-dual"), server("bound", family("static")))
WAY = Way(answers={"10.246.1.2": "02:00:00:00:00:05"})
CAUSE = Cause("no-carrier", "tap0 is not in use", ("tap0 has no carrier",), "start the VM")
CAME = Waited("reachable", 1.25, SEEN, WAY, None)
FAILED = Waited("bound", 60.04, SEEN, Way(), CAUSE)


def test_what_came_is_said_in_a_line() -> None:
    assert plain(outline(CAME), 200) == (
        "reachable after 1.2 s: IPv4 bound, IPv6 static (it uses its address and has not asked for it), "
        "02:00:00:00:00:05 answers for 10.246.1.2"
    )


def test_what_did_not_come_is_said_with_evidence_and_remedy() -> None:
    assert plain(outline(FAILED), 200).splitlines() == [
        "not bound after 1 min: no-carrier: tap0 is not in use",
        "├─ seen: tap0 has no carrier",
        "├─ do: start the VM",
        "└─ see: docs/watching.md#no-carrier",
    ]


def test_json() -> None:
    families = {"ipv4": "bound", "ipv6": "static"}
    assert value(CAME) == {
        "schema": 1,
        "goal": "reachable",
        "reached": True,
        "waited_seconds": 1.25,
        "families": families,
        "answered": WAY.answers,
        "cause": None,
    }
    told = value(FAILED)
    assert (told["reached"], told["waited_seconds"]) == (False, 60.04)
    assert told["cause"] == {
        "word": "no-carrier",
        "what": "tap0 is not in use",
        "evidence": ["tap0 has no carrier"],
        "remedy": "start the VM",
    }
