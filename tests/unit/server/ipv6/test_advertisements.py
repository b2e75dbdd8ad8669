"""The compiled advertisements in bytes: what was written reads back, and nothing else is taken."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.testlib.ipv6.discovery import LEASE, NODE, ROUTER, SERVER_ADDRESS, SYNTHETIC, VM_MAC, packed
from tests.testlib.mutations import must_read_or_refuse
from vmnet.compile.advertisements import compile_advertisements
from vmnet.model.lease import Router
from vmnet.server.ipv6.advertisements import OURS, dumps, loads

FULL = compile_advertisements(
    replace(
        LEASE,
        routers=(
            replace(ROUTER, mac=""),
            Router("fe80::b", "fe80::b", "02:00:00:00:00:0b", is_default=True),
            replace(ROUTER, address="fe80::766d:6e65:7402", gateway="fd00::2", permanent=True),
        ),
    )
)
DATA = dumps(FULL)


def test_advertisements_read_back() -> None:
    again = loads(DATA)
    assert dumps(again) == DATA
    assert (again.vm_mac, again.served) == (VM_MAC, True)
    assert again.gateways == (packed(NODE), packed("fe80::b"), packed("fd00::2"))
    assert [(router.is_synthetic, router.permanent) for router in again.routers] == [
        (True, False),
        (False, False),
        (True, True),
    ]
    assert {target: who for target, (who, _) in again.neighbours.items()} == {
        packed(SERVER_ADDRESS): OURS,
        packed(SYNTHETIC): 0,
        packed("fe80::766d:6e65:7402"): 2,
        packed("fd00::2"): 2,
    }
    for mine, theirs in zip(FULL.routers, again.routers, strict=True):
        assert (mine.bare, mine.whole, mine.probe, mine.mac) == (
            theirs.bare,
            theirs.whole,
            theirs.probe,
            theirs.mac,
        )


def test_a_guest_without_routers_has_one_that_is_none() -> None:
    again = loads(
        dumps(compile_advertisements(replace(LEASE, routers=(Router(SERVER_ADDRESS, ""),), served=False)))
    )
    assert (again.gateways, again.served, again.routers[0].probe) == ((b"",), False, b"")


def test_a_cut_off_pipe_is_refused_wherever_it_was_cut() -> None:
    for length in range(len(DATA)):
        with pytest.raises(ValueError, match="compiled"):
            loads(DATA[:length])


ROUTER_COUNT, NEIGHBOUR_COUNT, SERVED = 30, 31, 29
FLAGS = 32 + 38
LAST = len(DATA) - 86


def changed(at: int, octet: int) -> bytes:
    return DATA[:at] + bytes((octet,)) + DATA[at + 1 :]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"Traceback", "not compiled advertisements of this version"),
        (DATA.replace(b"advertisements-1", b"advertisements-2"), "not compiled advertisements of this version"),
        (DATA + b"\0", "1 octets too many"),
        (changed(SERVED, 2), "of 3 routers, served 2"),
        (changed(ROUTER_COUNT, 0), "malformed"),
        (changed(ROUTER_COUNT, 2), "malformed"),
        (changed(ROUTER_COUNT, 4), "malformed"),
        (changed(NEIGHBOUR_COUNT, 3), "105 octets too many"),
        (changed(NEIGHBOUR_COUNT, 5), "cut off"),
        (changed(FLAGS, 4), "router advertisement is malformed"),
        (DATA.replace(b"\x86\xdd\x60", b"\x86\xdd\x40", 1), "router advertisement is malformed"),
        (changed(len(DATA) - 1, 1), "neighbour advertisement is malformed"),
        (changed(LAST - 3, 3), "neighbour advertisement is malformed"),
        (changed(LAST - 3, 0xFE), "neighbour advertisement is malformed"),
        (
            DATA[: LAST - 19] + DATA[LAST - 19 - 105 : LAST - 105] + DATA[LAST:],
            "neighbour advertisement is malformed",
        ),
    ],
)
def test_anything_else_is_refused_by_name(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        loads(data)


def test_every_octet_of_a_frame_counts() -> None:
    for at in range(LAST + 12, len(DATA)):
        if LAST + 22 > at >= LAST + 14 and at != LAST + 14:  # class, flow, and what the checksum does not hold
            continue
        with pytest.raises(ValueError, match="malformed"):
            loads(changed(at, DATA[at] ^ 0x10))


def test_mutated_bytes_raise_nothing_but_value_error() -> None:
    must_read_or_refuse(loads, DATA)
