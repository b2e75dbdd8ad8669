"""What doctor's checks are told of a server's report."""

from __future__ import annotations

import json

from vmnet.control.report import read_report
from vmnet.diagnosis.server_words import Server, SilentGateway, understand
from vmnet.server.json_text import dumps
from vmnet.server.log import Log
from vmnet.server.service import Service

SAID = {
    "state": "serving",
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
    assert understand(read_report(json.dumps(SAID).encode() + b"\n")) == Server(
        state="serving",
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
    said = understand(read_report(dumps(Service(Log(lambda _line: None), lambda: 7.0).report()).encode() + b"\n"))
    assert said == Server(state="compiling", lease="silent")


def test_where_nothing_is_said() -> None:
    assert understand(None) == Server()
