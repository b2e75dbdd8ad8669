"""What a server says is read whole or not at all, whoever says it; and every verb can show whatever was read."""

from __future__ import annotations

import copy
import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.testlib.dhcp.frames import REPLIES, compiled, discover
from tests.testlib.sights import journal, report_of, sight
from vmnet.control.report import MOST_FRAMES, Frame, as_json, read_frames, read_report
from vmnet.diagnosis import frames, pcap, status
from vmnet.diagnosis.causes import cause
from vmnet.diagnosis.conflict import conflict
from vmnet.diagnosis.evidence import Evidence
from vmnet.diagnosis.goals import GOALS, Way, is_reached
from vmnet.diagnosis.report import as_json as doctor_json
from vmnet.diagnosis.server_words import understand
from vmnet.doors.libvirt.served import _farthest
from vmnet.metrics import text
from vmnet.model import bounded_json
from vmnet.model.links import Status
from vmnet.server.json_text import dumps
from vmnet.server.log import Log
from vmnet.server.ring import FRAMES, GUEST, SNAPLEN, Ring
from vmnet.server.service import Service
from vmnet.show.outline import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.control.report import ServerReport

MAC = "02:00:00:00:00:05"
FULL: dict[str, Any] = {
    "version": "0.1.0",
    "state": "serving",
    "reason": "",
    "lease": "foreign-address",
    "lease_seconds": 3.5,
    "reached": {"offered": 1.25, "bound": 87.0},
    "uses": "10.246.1.2",
    "uses_foreign": "10.9.9.9",
    "events": {"offer": 2, "nak_selecting": 1},
    "uptime_seconds": 90.5,
    "vm_mac": MAC,
    "yiaddr": "10.246.1.2",
    "server_id": "169.254.1.1",
    "last_xid": 7,
    "ignored": {"short": 4},
    "errors": {"send: Network is down": 2},
    "dropped_options": [119, 121],
    "foreign_macs": ["02:00:00:00:00:07"],
    "ipv6": {
        "lease": "bound",
        "lease_seconds": 1,
        "reached": {"bound": 2},
        "uses": "",
        "uses_foreign": "",
        "events": {"router_advertisement": 3},
        "addresses": ["fd00::5"],
        "routers": [{"address": "fe80::1", "gateway": "fd00::1", "mac": MAC, "silent_seconds": 2.5}],
    },
    "pid": 7,
    "uid": 65533,
    "sandbox": {"on": True, "reached": ["user"], "missed": {"landlock": "the kernel has no Landlock"}},
    "resident_bytes": 9 << 20,
}
WRONG: tuple[Any, ...] = (
    *(True, -1, 0.5, 10**30, 10**400, 1e300, float("nan"), float("inf"), "x\ny", "\ud800", "ä", "x" * 5000, "ff"),
    *([], [None], [[1]], {}, {"a": {}}, {"b": "c"}, {"x" * 99: 1}, ["x"] * 500, {f"{n}": 1 for n in range(500)}),
)
TOP, FAMILY = tuple(FULL), tuple(FULL["ipv6"])


def line(said: object) -> bytes:
    return json.dumps(said).encode() + b"\n"


def test_a_report_is_read_and_told_as_it_was_said() -> None:
    read = report_of(FULL)
    assert as_json(read) == FULL
    assert (read.ipv4.lease, read.ipv6 and read.ipv6.lease, read.serves) == ("foreign-address", "bound", True)


def test_what_a_real_service_reports_is_read() -> None:
    served = Service(Log(lambda _line: None), iter(range(1000)).__next__)
    assert report_of(json.loads(dumps(served.report()))).compiles
    served.load(compiled(REPLIES))
    served.frame(discover(), 0, 0)
    read = report_of(json.loads(dumps(served.report())))
    assert (read.ipv4.lease, read.ipv4.events, read.ipv6) == ("offered", {"offer": 1}, None)


@pytest.mark.parametrize("name", [name for name in TOP if name not in ("state", "lease")])
def test_an_older_server_says_less_and_a_full_one_says_null(name: str) -> None:
    without = {member: value for member, value in FULL.items() if member != name}
    for said in (without, {**FULL, name: None}, {**FULL, "newer": [1]}):
        assert_shown(report_of(said))


@pytest.mark.parametrize("name", TOP)
def test_a_report_with_a_member_of_another_kind_is_none(name: str) -> None:
    for wrong in WRONG:
        read = read_report(line({**FULL, name: wrong}))
        if read:  # it is of this member's kind after all, or empty
            assert_shown(read)
    assert read_report(line({**FULL, name: [{"a": "b"}]})) is None


@pytest.mark.parametrize("name", FAMILY)
def test_so_it_is_within_ipv6(name: str) -> None:
    for wrong in WRONG:
        read = read_report(line({**FULL, "ipv6": {**FULL["ipv6"], name: wrong}}))
        if read:
            assert_shown(read)
    assert read_report(line({**FULL, "ipv6": {**FULL["ipv6"], name: [3.5]}})) is None


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401 # JSON
    """Every place in it, from the outermost in."""
    yield path
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, member in members:
        yield from places(member, (*path, name))


def mutated(chance: random.Random) -> Any:  # noqa: ANN401 # JSON
    said = copy.deepcopy(FULL)
    for path in chance.sample([path for path in places(said) if path], chance.randint(1, 3)):
        holder: Any = said
        try:
            for name in path[:-1]:
                holder = holder[name]
            holder[path[-1]] = chance.choice(WRONG)
        except (LookupError, TypeError):
            continue  # what held it was replaced
    return said


def test_hundreds_of_odd_reports_end_no_verb() -> None:
    chance = random.Random(7)  # noqa: S311 # always the same
    read = [read_report(line(mutated(chance))) for _ in range(600)]
    taken = [report for report in read if report]
    assert 0 < len(taken) < len(read)
    for report in taken:
        assert_shown(report)


def test_octets_changed_at_random_end_no_verb() -> None:
    chance = random.Random(8)  # noqa: S311
    for _ in range(600):
        octets = bytearray(line(FULL))
        for _ in range(chance.randint(1, 4)):
            octets[chance.randrange(len(octets))] = chance.choice(b'"\\{}[],:0-9eEn\x00\xff u')
        read = read_report(bytes(octets))
        if read:
            assert_shown(read)


def assert_shown(report: ServerReport) -> None:
    """Every reader of a report copes with it."""
    facts = journal("bridge-dual")
    seen = sight(facts, as_json(report))
    json.dumps(status.value(seen), ensure_ascii=False).encode()
    plain(status.outline(seen), 100).encode()
    status.standing(status.value(seen))
    for goal in GOALS:
        is_reached(goal, seen, Way())
        cause(goal, seen, Way())
    conflict(facts.pod, facts.lease, report)
    _farthest(report)
    text.text([text.Binding("eth0", 7, "/run/vmnet", report)])
    doctor_json((Evidence(Status(()), bound=True, journal=facts, server=understand(report)),)).encode()


NO_REPORTS: tuple[bytes | None, ...] = (
    *(None, b"", b"\n", b"[]\n", b"null\n", b'{"state"\n', b"\xff\n", line(FULL)[:-1], b"{}\n"),
    b"[" * 9000 + b"\n",
    b'{"state":"serving","lease":"bound","newer":' + b"[" * 4000 + b"]" * 4000 + b"}\n",
    line({**FULL, "reason": "x" * 20000}),
    *(line({**FULL, "state": state}) for state in (None, "busy", 1)),
    *(line({**FULL, "lease": lease}) for lease in (None, "unknown", "made up")),
    line({**FULL, "uptime_seconds": 0}).replace(b'"uptime_seconds": 0', b'"uptime_seconds": 1e999'),
)


def test_what_is_no_report() -> None:
    assert [answer for answer in NO_REPORTS if read_report(answer)] == []


def test_depth_is_refused_whatever_the_interpreter_does() -> None:
    assert bounded_json.parse(b'{"a":"[[[[[[[[[[[[[[[[[[[[[[[[\\"[[["}', 100) == {"a": "[" * 24 + '"[[['}
    with pytest.raises(ValueError, match="deep"):
        bounded_json.parse(b"[" * 17 + b"]" * 17, 100)
    with pytest.raises(ValueError, match="longer"):
        bounded_json.parse(b" " * 101, 100)


def frame(**members: Any) -> bytes:  # noqa: ANN401
    usual = {"number": 7, "at": 1.5, "sender": "guest", "word": "offer", "length": 342, "frame": "ff" * 14}
    return json.dumps(usual | members).encode()


def test_a_line_is_a_frame() -> None:
    assert read_frames([frame()]) == [Frame(7, 1.5, "guest", "offer", 342, b"\xff" * 14)]


ODD_FRAMES: tuple[bytes, ...] = (
    *(
        b"",
        b"nonsense",
        b"[" * 5000,
        b"{}",
        frame(frame="zz"),
        frame(frame="ff"),
        frame(at="x"),
        frame(number=None),
    ),
    *(frame(**{name: wrong}) for name in ("number", "at", "sender", "length", "frame") for wrong in WRONG[5:]),
    *(frame(at=wrong) for wrong in (-1, 1e10, 1e300)),
    *(frame(word=wrong) for wrong in (None, 1, "x\n", "ä", "x" * 65)),
    *(frame(length=wrong) for wrong in (0, 13, 65536, True)),
    frame(frame="ff" * (SNAPLEN + 1), length=2000),
)


def test_what_is_no_line_of_the_servers_is_left_out() -> None:
    assert read_frames([*ODD_FRAMES, frame()]) == read_frames([frame()])


def test_every_frame_that_is_read_can_be_shown_and_written() -> None:
    told = frames.scene(MAC)
    for at in (0, 1.5, 1e9):
        for one in read_frames([frame(at=at, number=2**64 - 1), frame(at=at, length=65535, frame="00" * SNAPLEN)]):
            frames.line(one, told).encode()
            json.dumps(frames.value(one, told))
            pcap.record(told.nanoseconds(one), one.length, one.data)


def test_a_full_ring_is_read_whole_and_no_more_than_that() -> None:
    ring = Ring(lambda: 5.0)
    for _ in range(FRAMES):
        ring.keep(GUEST, "offer", bytes(2048))
    lines = [dumps(one).encode() for one in ring.report()]
    assert len(read_frames(lines)) == FRAMES == MOST_FRAMES
    assert len(read_frames(lines * 3)) == MOST_FRAMES
