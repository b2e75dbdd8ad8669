"""What a user is told who wishes that the guest makes addresses of its own."""

from __future__ import annotations

import pytest

from vmnet.lease.autonomous import autonomous_warnings
from vmnet.model.settings import Settings, Told

PREFIXES = ("fd00:1::/64", "fd00:2::1/128", "fd00:3::/48")
WISHED = Told(autonomous=True)
DROPPED = "prefix fd00:1::/64: isolation strict drops what the guest sends from addresses of its own making"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (Settings(), []),
        (Settings(told=WISHED), [DROPPED]),
        (Settings(told=WISHED, isolation="dhcp-only"), []),
        (Settings(told=WISHED, isolation="off"), []),
        (Settings(told=WISHED, allow_addresses=("10.0.0.0/8", "fd00:1::/64")), []),
        (Settings(told=WISHED, allow_addresses=("fd00::/16",)), []),
        (Settings(told=WISHED, allow_addresses=("fd00:1::/65", "fd00:1::5", "10.0.0.1")), [DROPPED]),
    ],
)
def test_what_isolation_drops_is_said(settings: Settings, said: list[str]) -> None:
    warnings = autonomous_warnings(PREFIXES, settings)
    assert [warning.partition(", unless")[0] for warning in warnings] == said


def test_without_a_prefix_of_64_bits_there_are_none_and_that_is_said() -> None:
    [warning] = autonomous_warnings(PREFIXES[1:], Settings(told=WISHED))
    assert warning == "no prefix of 64 bits is on the link: the guest makes no addresses of its own"
