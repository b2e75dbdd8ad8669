"""The compiled replies in bytes: what was written reads back, and nothing else is taken."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.testlib.dhcp.frames import VM_MAC
from tests.testlib.ipv6.messages import LEASE, POD, REPLIES, packed
from tests.testlib.mutations import must_read_or_refuse
from vmnet.compile.dhcpv6 import compile_replies
from vmnet.server.ipv6.replies import STATUSES, Replies, dumps, loads

DATA = dumps(REPLIES)
FACTS = 15 + 62
"""Where T1 stands: behind the first line and the head."""

ADDRESS = (b"".join(REPLIES.addresses.values()), b"")


def contents(replies: Replies) -> list[object]:
    """All there is in order."""
    groups = (replies.addresses, replies.options, replies.statuses)
    return [replies.head, replies.mtu, replies.times, *(list(group.items()) for group in groups)]


def test_replies_read_back() -> None:
    again = loads(DATA)
    assert dumps(again) == DATA
    assert contents(again) == contents(REPLIES)
    assert (again.vm_mac, again.mtu, again.served) == (VM_MAC, 1450, True)
    assert list(again.addresses) == [packed(POD)]
    assert tuple(again.statuses) == STATUSES


def test_a_guest_whose_dhcp_is_not_served() -> None:
    again = loads(dumps(compile_replies(replace(LEASE, served=False))))
    assert (again.served, again.vm_mac) == (False, VM_MAC)


def test_a_cut_off_pipe_is_refused_wherever_it_was_cut() -> None:
    for length in range(len(DATA)):
        with pytest.raises(ValueError, match="compiled DHCPv6"):
            loads(DATA[:length])


def changed(at: int, octets: bytes) -> bytes:
    """The data with other octets there."""
    return DATA[:at] + octets + DATA[at + len(octets) :]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not compiled DHCPv6 replies of this version"),
        (b"Traceback", "not compiled DHCPv6 replies of this version"),
        (DATA.replace(b"dhcpv6-1", b"dhcpv6-2"), "not compiled DHCPv6 replies of this version"),
        (DATA + b"\0", f"{len(DATA) + 1} octets instead of {len(DATA)}"),
        (changed(15 + 12, b"\x08\0"), "does not begin with Ethernet"),
        (changed(15 + 54, b"\2\x22\2\x23"), "UDP from 547 to 546"),
        (changed(FACTS + 8, b"\x04\xff"), "MTU of 1279, below 1280"),
        (changed(FACTS + 10, b"\0"), f"{len(DATA)} octets instead of {len(DATA) - 28}"),
        (changed(FACTS + 10, b"\0").replace(*ADDRESS), "addresses are malformed"),
        (DATA.replace(b"\0\5\0\x18", b"\0\6\0\x18"), "addresses are malformed"),
        (DATA.replace(b"\0\2\0\x0a", b"\0\3\0\x0a"), "options are"),
        (DATA.replace(b"\0\x17\0\x10", b"\0\x18\0\x10"), "options are"),
        (DATA.replace(b"\0\x17\0\x10", b"\0\x19\0\x10"), "options are"),
        (DATA.replace(b"\0\x0d\0\2\0\0", b"\0\x0d\0\2\0\1"), "statuses are"),
        (DATA.replace(b"\0\x0d\0\2\0\0", b"\0\x0e\0\2\0\0"), "statuses are malformed"),
    ],
)
def test_anything_else_is_refused_by_name(data: bytes, words: str) -> None:
    assert data != DATA
    with pytest.raises(ValueError, match=words):
        loads(data)


def test_mutated_bytes_raise_nothing_but_value_error() -> None:
    must_read_or_refuse(loads, DATA)
