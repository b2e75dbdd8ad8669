"""The guest's lease state, step by step."""

from __future__ import annotations

import pytest

from vmnet.server import lease_state
from vmnet.server.dhcp.lease_state import after


@pytest.mark.parametrize(
    ("events", "states"),
    [
        (["offer", "ack_selecting", "ack_renewing"], ["offered", "bound", "renewed"]),
        (["offer", "other_server", "offer"], ["offered", "asked", "offered"]),
        (["ack_rapid_commit"], ["bound"]),
        (["nak_init_reboot", "offer", "ack_selecting", "release"], ["asked", "offered", "bound", "released"]),
        (["ack_init_reboot", "decline", "offer"], ["bound", "declined", "offered"]),
        (["ack_rebinding", "ack_inform", "foreign_release", "relayed"], ["renewed"] * 4),
        (["ack_inform", "invalid_request"], ["silent"] * 2),
    ],
)
def test_a_guest_s_way(events: list[str], states: list[str]) -> None:
    state, seen = lease_state.SILENT, []
    for event in events:
        state = after(state, event)
        seen.append(state)
    assert seen == states
