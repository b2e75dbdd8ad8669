"""Option 119: RFC 3397 vectors, and what was written reads back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmnet.server.dhcp.domain_search import encode


@pytest.mark.parametrize(
    ("domains", "data"),
    [
        ((), b""),
        (("foo.com", "foo.local"), b"\3foo\3com\0\3foo\5local\0"),
        (("a.b.c", "b.c"), b"\1a\1b\1c\0\xc0\x02"),
        (("eng.apple.com", "marketing.apple.com"), b"\3eng\5apple\3com\0\x09marketing\xc0\x04"),  # RFC 3397 §2
        (("a", "a"), b"\1a\0\xc0\x00"),
    ],
)
def test_vectors(domains: tuple[str, ...], data: bytes) -> None:
    assert encode(domains) == data


LABELS = st.sampled_from(("a", "b", "svc", "cluster", "local", "x" * 63))


@given(st.lists(st.lists(LABELS, min_size=1, max_size=3).map(".".join), max_size=400))
def test_names_read_back_also_where_pointers_cannot_reach(domains: list[str]) -> None:
    assert decode(encode(tuple(domains))) == domains


def test_a_name_beyond_the_reach_of_a_pointer_is_written_out() -> None:
    domains = [f"{'x' * 60}{number:03d}.{'y' * 60}{number:03d}" for number in range(200)]
    domains += [domains[-1]]
    assert decode(encode(tuple(domains))) == domains


def decode(data: bytes) -> list[str]:
    """The names of an encoded list, pointers backwards only."""
    names, at = [], 0
    while at < len(data):
        labels, here, end = [], at, 0
        while data[here]:
            if data[here] >= 0xC0:
                target = int.from_bytes(data[here : here + 2]) & 0x3FFF
                assert target < at
                end, here = end or here + 2, target
            else:
                labels.append(data[here + 1 : here + 1 + data[here]].decode())
                here += 1 + data[here]
        names.append(".".join(labels))
        at = end or here + 1
    return names
