"""What is made of a server's words, also of those of one that a guest has taken over."""

from __future__ import annotations

import json

import pytest

from vmnet.doctor.server_words import Server, SilentGateway, understand
from vmnet.server.json_text import dumps
from vmnet.server.log import Log
from vmnet.server.service import Service

SAID = {
    "lease": "asked",
    "lease_seconds": 3.5,
    "events": {"other_server": 2},
    "ignored": {"not_udp": 1},
    "foreign_macs": ["02:00:00:00:00:aa"],
    "sandbox": {"on": False, "reached": [], "missed": {"user": "CAP_SETUID is missing"}},
    "ipv6": {
        "lease": "foreign-address",
        "uses_foreign": "fd00::bad",
        "routers": [
            {"address": "fe80::1", "gateway": "", "mac": ""},
            {"address": "fe80::2", "gateway": "fd00::2", "mac": "02:00:00:00:00:02"},
            {"address": "fe80::3", "gateway": "fd00::3", "mac": ""},
            {"address": "fe80::4", "gateway": "fd00::4", "mac": "02:00:00:00:00:04", "silent_seconds": 5},
        ],
    },
}


def test_what_the_checks_ask() -> None:
    assert understand(json.dumps(SAID).encode()) == Server(
        lease="asked",
        lease_seconds=3.5,
        events={"other_server": 2},
        ignored={"not_udp": 1},
        foreign_macs=("02:00:00:00:00:aa",),
        foreign_addresses=("fd00::bad",),
        sandboxed=False,
        missed={"user": "CAP_SETUID is missing"},
        silent_gateways=(SilentGateway("fd00::3", "fe80::3"), SilentGateway("fd00::4", "fe80::4", 5)),
    )


def test_a_real_servers_report() -> None:
    said = understand(dumps(Service(Log(lambda _line: None), lambda: 7.0).report()).encode())
    assert said == Server(state="compiling", lease="silent")


@pytest.mark.parametrize("name", SAID)
@pytest.mark.parametrize(
    "value",
    [None, 1, 10**400, "x", [[1]], {}, {"a": "b"}, {"routers": 3, "missed": [1], "lease": "foreign-address"}],
)
def test_no_word_of_the_wrong_kind_is_believed(name: str, value: object) -> None:
    said = understand(json.dumps({**SAID, name: value}).encode())
    assert isinstance(said.lease, str)
    assert isinstance(said.lease_seconds, float)
    assert all(isinstance(count, int) for count in (*said.events.values(), *said.ignored.values()))
    assert all(isinstance(reason, str) for reason in said.missed.values())


def test_what_is_no_object_says_nothing() -> None:
    assert understand(b"[1]") == Server()
