"""The server without its sockets: states, counters, what is told and how often."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.testlib.dhcp.frames import (
    LEASE,
    PRL,
    REPLIES,
    SERVER_ID,
    VM_MAC,
    YIADDR,
    bootp,
    compiled,
    discover,
    frame,
    message,
    option,
    packed,
)
from vmnet.compile.dhcp import compile_replies
from vmnet.model.lease import ClasslessRoute
from vmnet.server.compiled import Compiled, dumps, dumps_failure
from vmnet.server.dhcp import replies
from vmnet.server.service import Service

SELECTING = frame(bootp(message(3, option(50, YIADDR), option(54, SERVER_ID)), xid=9))
DECLINE = frame(bootp(message(4, option(50, YIADDR), option(54, SERVER_ID))))


class Told:
    """A log that remembers."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, object]]] = []

    def __call__(self, level: str, event: str, message: str, **fields: object) -> None:
        assert message
        self.lines.append((level, event, fields))

    def events(self) -> list[str]:
        return [event for _, event, _ in self.lines]


class Clock:
    """A clock that the test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def service(data: bytes = compiled(REPLIES)) -> tuple[Service, Told, Clock]:
    told, clock = Told(), Clock()
    made = Service(told, clock)  # type: ignore[arg-type]
    assert made.state == "compiling"
    made.load(data)
    return made, told, clock


def test_a_guest_s_way_to_its_lease() -> None:
    served, told, clock = service()
    assert (served.state, served.report()["lease"]) == ("serving", "silent")
    assert served.frame(discover(), 0, 0) is not None
    assert served.report()["lease"] == "offered"
    assert served.frame(SELECTING, 0, 0) is not None
    clock.now += 5
    report = served.report()
    assert (report["lease"], report["last_xid"]) == ("bound", 9)
    assert (report["lease_seconds"], report["uptime_seconds"]) == (5.0, 5.0)
    assert report["events"] == {"offer": 1, "ack_selecting": 1}
    assert (report["vm_mac"], report["yiaddr"], report["server_id"]) == (VM_MAC.hex(":"), YIADDR, SERVER_ID)
    assert told.events() == ["serving", "offer", "ack_selecting"]


def test_a_declined_address_is_told_loudly() -> None:
    served, told, _ = service()
    assert served.frame(DECLINE, 0, 0) is None
    assert served.report()["lease"] == "declined"
    level, event, fields = told.lines[-1]
    assert (level, event, fields["address"]) == ("error", "decline", YIADDR)
    assert served.frame(discover(), 0, 0) is not None  # L5: offered again, there is no other


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no compiled replies came"),
        (dumps(Compiled(VM_MAC, replies.dumps(REPLIES)[:-1])), "compiled option 56 is malformed"),
        (dumps_failure("compile: MemoryError:"), "compile: MemoryError:"),
    ],
)
def test_replies_that_never_came_are_not_silence(data: bytes, reason: str) -> None:
    served, told, _ = service(data)
    assert (served.state, served.reason) == ("failed", reason)
    assert served.report()["reason"] == reason
    assert [line[:2] for line in told.lines] == [("error", "failed")]


def test_ignored_frames_are_counted_by_reason() -> None:
    served, told, _ = service()
    for data in (discover(dport=68), discover(dport=68), discover(fragment=1)):
        assert served.frame(data, 0, 0) is None
    served.ignore("too_long")
    assert served.report()["ignored"] == {"not_port_67": 2, "fragment": 1, "too_long": 1}
    assert (served.report()["lease"], served.report()["last_xid"]) == ("silent", None)
    assert told.events() == ["serving"]


def test_each_foreign_mac_is_told_once_and_not_more_than_32_of_them() -> None:
    served, told, _ = service()
    for number in (*range(100), *range(100)):
        served.foreign(bytes(6) + b"\2\0\0\0\1" + bytes((number,)) + b"\x08\0")
    foreign = [fields["mac"] for _, event, fields in told.lines if event == "foreign_source_mac"]
    assert foreign == [f"02:00:00:00:01:{number:02x}" for number in range(32)]
    assert served.report()["ignored"] == {}
    served.ignore("foreign_source_mac", 200)
    served.ignore("foreign_source_mac", 0)
    served.ignore("queue_full", 0)
    assert served.report()["ignored"] == {"foreign_source_mac": 200}


def test_a_foreign_chaddr_is_told_once_and_counted() -> None:
    served, told, _ = service()
    for _ in range(3):
        assert served.frame(frame(bootp(message(1), chaddr=b"\2\0\0\0\0\7")), 0, 0) is None
    assert told.lines[-1] == ("warning", "foreign_chaddr", {"mac": "02:00:00:00:00:07"})
    assert told.events() == ["serving", "foreign_chaddr"]
    assert served.report()["ignored"] == {"foreign_chaddr": 3}


def test_a_flood_is_not_logged() -> None:
    served, told, _ = service()
    for _ in range(1000):
        served.frame(discover(), 0, 0)
    assert served.report()["events"] == {"offer": 1000}
    assert told.events() == ["serving", "offer"]


def test_options_without_room_are_told_once() -> None:
    routes = tuple(ClasslessRoute(f"192.0.2.{number}/32", "10.0.0.1") for number in range(60))
    served, told, _ = service(compiled(compile_replies(replace(LEASE, classless_routes=routes))))
    served.frame(discover(), 0, 0)
    served.frame(frame(bootp(message(1, prl=PRL[:3]))), 0, 0)
    assert served.report()["dropped_options"] == (121,)
    assert served.report()["left_out"] == {}, "it has no lease yet"
    served.frame(frame(bootp(message(3, option(50, YIADDR), option(54, SERVER_ID)))), 0, 0)
    left = served.report()["left_out"]
    assert isinstance(left, dict)
    assert left.keys() == {"121"}
    assert 0 < left["121"][0] < left["121"][1] == 60
    roomy = option(57, b"\x05\xdc")
    served.frame(frame(bootp(message(3, option(50, YIADDR), option(54, SERVER_ID), roomy))), 0, 0)
    assert served.report()["left_out"] == {}, "what it was told last counts"
    assert told.events().count("options_dropped") == 1


def test_a_socket_s_error_is_counted_and_told_once() -> None:
    served, told, _ = service()
    for _ in range(3):
        served.error("send", OSError(105, "No buffer space available"))
    assert served.report()["errors"] == {"send: No buffer space available": 3}
    assert told.events() == ["serving", "socket_error"]


def test_the_vm_s_arp_is_answered_also_where_its_dhcp_is_not_served() -> None:
    question = b"\xff" * 6 + VM_MAC + bytes.fromhex("0806000108000604 0001") + VM_MAC + packed(YIADDR)
    question += bytes(6) + packed(SERVER_ID)
    for served_ in (True, False):
        served, told, _ = service(compiled(compile_replies(replace(LEASE, served=served_))))
        assert served.frame(question, 0, 0) is not None
        assert served.report()["events"] == {"arp_reply": 1}
        assert (served.frame(discover(), 0, 0) is not None) is served_
        assert served.report()["ignored"] == ({} if served_ else {"not_served": 1})
        assert "arp_reply" not in told.events()


def test_a_guest_that_is_told_nothing_of_ipv4_is_not_answered() -> None:
    served, _, _ = service(dumps(Compiled(VM_MAC)))
    assert served.frame(discover(), 0, 0) is None
    assert served.report()["ignored"] == {"not_served": 1}


def test_a_guest_that_is_told_nothing_of_ipv6_is_not_answered() -> None:
    served, _, _ = service()
    assert served.ipv6_frame(b"", 0, 0) == served.network_frame(b"", 0, 0) == served.tick() == ((), ())
    assert (served.due(), served.report()["ipv6"]) == (None, None)
    assert served.report()["ignored"] == {"not_served": 1}
