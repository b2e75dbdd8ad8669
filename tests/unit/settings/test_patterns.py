"""What the patterns of the configuration file take is what the system takes."""

from __future__ import annotations

import re
from socket import AF_INET, AF_INET6, inet_pton
from typing import TYPE_CHECKING

from hypothesis import example, given
from hypothesis import strategies as st

from vmnet.settings import patterns

if TYPE_CHECKING:
    from socket import AddressFamily

WORDS = st.sampled_from(["", "0", "a", "00aB", "12345", "g", "1.2.3.4", "\n"])
GROUPS = st.lists(WORDS, min_size=2, max_size=9).map(":".join)
NUMBERS = st.lists(st.sampled_from(["", "0", "9", "10", "99", "199", "255", "256", "01", " 1"]), max_size=5)


def _takes(family: AddressFamily, text: str) -> bool:
    try:
        inet_pton(family, text)
    except OSError:
        return False
    return True


@given(GROUPS | st.ip_addresses(v=6).map(str))
@example("::")
@example("1:2:3:4:5:6:7::")
@example("::2:3:4:5:6:7:8")
@example("1:2:3::5:6:7:8")
def test_ipv6(text: str) -> None:
    """But for an IPv4 address as its end (RFC 4291 §2.2, form 3), which nobody needs here."""
    assert bool(re.search(patterns.EITHER, text)) is (_takes(AF_INET6, text) and "." not in text)


@given(NUMBERS.map(".".join) | st.ip_addresses(v=4).map(str))
@example("10.0.0.1\n")
def test_ipv4(text: str) -> None:
    for pattern in (patterns.IPV4, patterns.EITHER):
        assert bool(re.search(pattern, text)) is _takes(AF_INET, text)
