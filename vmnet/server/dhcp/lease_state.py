"""What the guest has made of its IPv4 lease so far: a pure function of the state and what happened."""

from __future__ import annotations

from vmnet.server.lease_state import ASKED, BOUND, DECLINED, OFFERED, RELEASED, RENEWED

_AFTER = {
    "offer": OFFERED,
    "ack_rapid_commit": BOUND,
    "ack_selecting": BOUND,
    "ack_init_reboot": BOUND,
    "ack_renewing": RENEWED,
    "ack_rebinding": RENEWED,
    "nak_selecting": ASKED,
    "nak_init_reboot": ASKED,
    "nak_renewing": ASKED,
    "nak_rebinding": ASKED,
    "other_server": ASKED,
    "decline": DECLINED,
    "release": RELEASED,
}


def after(state: str, event: str) -> str:
    """The state after an event of `answer`. INFORM and everything ignored leave it as it is."""
    return _AFTER.get(event, state)
