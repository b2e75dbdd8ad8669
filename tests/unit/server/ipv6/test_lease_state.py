"""The guest's IPv6 lease state, step by step."""

from __future__ import annotations

import pytest

from vmnet.server import lease_state
from vmnet.server.ipv6.lease_state import after


@pytest.mark.parametrize(
    ("events", "states"),
    [
        (["advertise", "reply_request", "reply_renew"], ["offered", "bound", "renewed"]),
        (["advertise", "other_server", "advertise"], ["offered", "asked", "offered"]),
        (["reply_rapid_commit"], ["bound"]),
        (["reply_rebind"], ["renewed"]),
        (["not_on_link", "advertise", "reply_request", "release"], ["asked", "offered", "bound", "released"]),
        (["confirm", "decline", "advertise"], ["bound", "declined", "offered"]),
        (["confirm", "information", "foreign_release", "foreign_decline", "no_client_id"], ["bound"] * 5),
        (["information", "advertise_without_address", "reply_without_address"], ["silent"] * 3),
    ],
)
def test_a_guest_s_way(events: list[str], states: list[str]) -> None:
    state, seen = lease_state.SILENT, []
    for event in events:
        state = after(state, event)
        seen.append(state)
    assert seen == states
