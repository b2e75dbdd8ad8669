"""What the guest has made of its IPv6 lease so far: a pure function of the state and what happened."""

from __future__ import annotations

from vmnet.server.lease_state import ASKED, BOUND, DECLINED, OFFERED, RELEASED, RENEWED

_AFTER = {
    "advertise": OFFERED,
    "reply_rapid_commit": BOUND,
    "reply_request": BOUND,
    "confirm": BOUND,
    "reply_renew": RENEWED,
    "reply_rebind": RENEWED,
    "not_on_link": ASKED,
    "other_server": ASKED,
    "decline": DECLINED,
    "release": RELEASED,
}


def after(state: str, event: str) -> str:
    """The state after an event of `answer`. INFORMATION-REQUEST and everything ignored leave it as it is."""
    return _AFTER.get(event, state)
