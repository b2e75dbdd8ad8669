"""The compiled replies in bytes: what was written reads back, and nothing else is taken."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.testlib.dhcp.frames import LEASE, REPLIES, VM_MAC, packed
from tests.testlib.mutations import must_read_or_refuse
from vmnet.compile.dhcp import compile_replies
from vmnet.server.dhcp.replies import OFFER, dumps, loads, tlvs

DATA = dumps(REPLIES)


def test_replies_read_back() -> None:
    again = loads(DATA)
    assert dumps(again) == DATA
    assert (again.vm_mac, again.yiaddr, again.server_id, again.mtu) == (
        VM_MAC,
        packed("10.0.0.5"),
        packed("169.254.75.10"),
        1450,
    )
    assert list(again.templates[OFFER].options) == list(REPLIES.templates[OFFER].options)
    assert again.arp == REPLIES.arp


def test_a_guest_whose_dhcp_is_not_served_still_has_its_arp() -> None:
    silent = compile_replies(replace(LEASE, served=False))
    again = loads(dumps(silent))
    assert (again.templates, again.arp) == ((), REPLIES.arp)


def test_a_cut_off_pipe_is_refused_wherever_it_was_cut() -> None:
    for length in range(len(DATA)):
        with pytest.raises(ValueError, match=r"compiled (replies|option)"):
            loads(DATA[:length])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"Traceback", "not compiled replies of this version"),
        (DATA.replace(b"replies-2", b"replies-3"), "not compiled replies of this version"),
        (DATA + b"\0", "1 octets too many"),
        (DATA.replace(b"\x63\x82\x53\x63", b"\x63\x82\x53\x64"), "does not begin with"),
        (DATA.replace(b"\x36\x00\x06\x36\x04", b"\x36\x00\x06\x36\x05"), "option 54 is malformed"),
        (DATA.replace(b"\x36\x00\x06\x36\x04", b"\x36\x00\x06\x37\x04"), "option 54 is malformed"),
        (DATA.replace(b"\xf9\x00\x0e\xf9\x0c", b"\x79\x00\x0e\x79\x0c"), "option 121 is malformed"),
        (DATA[:32] + b"\3" + DATA[33:], "of 3 kinds"),
        (DATA[:30] + b"\x00\x10" + DATA[32:], "MTU of 16"),
    ],
)
def test_anything_else_is_refused_by_name(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        loads(data)


def test_mutated_bytes_raise_nothing_but_value_error() -> None:
    must_read_or_refuse(loads, DATA)


@pytest.mark.parametrize(
    ("length", "lengths"), [(1, [1]), (255, [255]), (256, [255, 1]), (540, [255, 255, 30]), (0, [0])]
)
def test_a_long_option_is_split_and_never_wraps(length: int, lengths: list[int]) -> None:
    value = bytes(number % 251 for number in range(length))
    data, pieces = tlvs(121, value), []
    while data:
        assert data[0] == 121
        pieces.append(data[2 : 2 + data[1]])
        data = data[2 + data[1] :]
    assert list(map(len, pieces)) == lengths
    assert b"".join(pieces) == value
