"""The journal's twin on the NIC: any text there and back, and nothing but what was written."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmnet.saved import note

_ALTIFNAMSIZ = 128
_NOISE = "".join(chr(random.Random(1).randrange(32, 127)) for _ in range(1000)) * 2  # noqa: S311 # not for secrets


@given(st.text(max_size=5000))
def test_what_is_written_is_read(text: str) -> None:
    assert note.read(note.write(text)) == (text,)


def test_names_are_such_as_the_kernel_takes() -> None:
    names = note.write("".join(chr(33 + number * 7 % 90) * (number % 5) for number in range(3000)))
    assert len(names) > 1
    assert len(set(names)) == len(names)
    for name in names:
        assert 0 < len(name) < _ALTIFNAMSIZ
        assert not set(name) & set("/: \t\n")


@given(st.text(max_size=500), st.text(max_size=500))
def test_two_notes_side_by_side_are_both_read(one: str, other: str) -> None:
    """As an `up` leaves them that has written the new one and is killed before it takes the old one away."""
    assert set(note.read({*note.write(one), *note.write(other)})) == {one, other}


def test_of_two_notes_the_whole_one_is_read() -> None:
    assert note.read((*note.write(_NOISE)[:-1], *note.write("whole"))) == ("whole",)


def test_a_note_as_the_first_vmnet_wrote_it_is_read_beside_one_of_this() -> None:
    """It had the interface's checksum in it, and so every note of that interface had the same."""
    of_then = tuple(f"vmnet.a2a3cee3.{name.split('.', 2)[2]}" for name in note.write(_NOISE))
    assert note.read(of_then) == (_NOISE,)
    assert set(note.read((*of_then, *note.write(_NOISE.upper())))) == {_NOISE, _NOISE.upper()}


def test_order_does_not_matter() -> None:
    names = note.write(_NOISE)
    assert note.read(tuple(reversed(names))) == (_NOISE,)


@pytest.mark.parametrize(
    "text",
    [
        "".join(map(chr, random.Random(1).choices(range(32, 0x2FF), k=20_000))),  # noqa: S311 # no secret
        "a" * (1 << 20) + "b",
    ],
    ids=["hard to compress", "larger than what is unpacked"],
)
def test_of_what_is_too_large_there_is_a_mark_that_carries_nothing(text: str) -> None:
    """What is written is read: no note of a size that `read` refuses."""
    [mark] = note.write(text)
    assert len(mark) < _ALTIFNAMSIZ
    assert not note.carries((mark,))
    assert note.read((mark,)) == ()
    assert note.read((mark, *note.write("whole"))) == ("whole",)
    assert note.write(text + "c") != (mark,)


def test_the_largest_that_is_written_is_read() -> None:
    largest = "a" * (1 << 20)
    assert note.carries(note.write(largest))
    assert note.read(note.write(largest)) == (largest,)


@pytest.mark.parametrize(
    "damaged",
    [
        (),
        ("vmnet.",),
        ("vmnet.00000000.01.01",),
        ("vmnet.00000000.01.01.%%%",),
        ("vmnet.00000000.01.01.é",),
        ("eth0",),
        note.write(_NOISE)[1:],
        note.write(_NOISE)[:-1],
        (*note.write(_NOISE)[:-1], note.write(_NOISE)[-1][:-8]),
    ],
)
def test_anything_else_is_told_from_a_note(damaged: tuple[str, ...]) -> None:
    assert note.read(damaged) == ()


def test_a_note_that_unpacks_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(note, "_LARGEST_TEXT", 2 << 20)
        bomb = note.write("a" * (2 << 20))
    assert note.carries(bomb)
    assert note.read(bomb) == ()
