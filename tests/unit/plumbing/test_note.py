"""The journal's twin on the NIC: any text there and back, and nothing but what was written."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmnet.plumbing import note

_ALTIFNAMSIZ = 128
_NOISE = "".join(chr(random.Random(1).randrange(32, 127)) for _ in range(1000)) * 2  # noqa: S311 # not for secrets


@given(st.text(max_size=5000))
def test_what_is_written_is_read(text: str) -> None:
    assert note.read(note.write("eth0", text)) == text


def test_names_are_such_as_the_kernel_takes() -> None:
    names = note.write("eth0", "".join(chr(33 + number * 7 % 90) * (number % 5) for number in range(3000)))
    assert len(names) > 1
    assert len(set(names)) == len(names)
    for name in names:
        assert 0 < len(name) < _ALTIFNAMSIZ
        assert not set(name) & set("/: \t\n")


def test_two_interfaces_notes_of_the_same_text_never_collide() -> None:
    assert not set(note.write("eth0", "same")) & set(note.write("net1", "same"))


def test_order_does_not_matter() -> None:
    names = note.write("eth0", _NOISE)
    assert note.read(tuple(reversed(names))) == _NOISE


def test_what_is_too_large_is_not_written() -> None:
    rng = random.Random(2)  # noqa: S311 # not for secrets
    assert note.write("eth0", "".join(chr(rng.randrange(32, 0x2FF)) for _ in range(20_000))) == ()


@pytest.mark.parametrize(
    "damaged",
    [
        (),
        ("vmnet.",),
        ("vmnet.00000000.01.01",),
        ("vmnet.00000000.01.01.%%%",),
        ("vmnet.00000000.01.01.é",),
        ("eth0",),
        note.write("eth0", _NOISE)[1:],
        note.write("eth0", _NOISE)[:-1],
        (*note.write("eth0", _NOISE), *note.write("net1", "other")),
        (*note.write("eth0", _NOISE)[:-1], note.write("eth0", _NOISE)[-1][:-8]),
    ],
)
def test_anything_else_is_told_from_a_note(damaged: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"it is|parts of it"):
        note.read(damaged)


def test_a_note_that_unpacks_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="too large"):
        note.read(note.write("eth0", "a" * 1_000_000))
