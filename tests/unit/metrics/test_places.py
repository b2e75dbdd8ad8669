"""Which connection makes room for another: of the peer that has most, the one that is at it longest."""

from __future__ import annotations

from typing import Any

import pytest

from vmnet.metrics.places import Answers, Requests


class Connection:
    """A connection that is open until somebody hangs up."""

    def __init__(self, *, gone: bool = False) -> None:
        self.open, self.gone = True, gone

    def shutdown(self, _how: int) -> None:
        self.open = False
        if self.gone:
            raise OSError


def connections(number: int) -> list[Any]:
    return [Connection() for _ in range(number)]


def still_open(those: list[Any]) -> list[bool]:
    return [one.open for one in those]


def test_the_longest_waiting_one_makes_room() -> None:
    requests, those = Requests(2), connections(4)
    for one in those:
        requests.enter(one, "peer")
    assert still_open(those) == [False, False, True, True]


def test_a_place_that_is_given_back_is_free() -> None:
    requests, those = Requests(2), connections(3)
    requests.enter(those[0], "peer")
    requests.leave(those[0])
    requests.leave(those[0])
    for one in those[1:]:
        requests.enter(one, "peer")
    assert still_open(those) == [True] * 3


@pytest.mark.parametrize("newcomer", ["a", "b", "c"])
def test_the_peer_that_has_most_makes_room(newcomer: str) -> None:
    requests, those = Requests(3), connections(4)
    for one, peer in zip(those, ("a", "b", "b", newcomer), strict=True):
        requests.enter(one, peer)
    assert still_open(those) == [True, False, True, True]


def test_one_that_has_left_already_makes_room_too() -> None:
    requests, one, other = Requests(1), Connection(gone=True), Connection()
    requests.enter(one, "peer")  # type: ignore[arg-type]
    requests.enter(other, "peer")  # type: ignore[arg-type]
    assert other.open


def test_those_that_wait_for_an_answer_make_no_room() -> None:
    """Each keeps a thread busy: else there would be any number of them."""
    answers, those = Answers(3, 2, 9), connections(5)
    taken = [answers.enter(one, peer) for one, peer in zip(those, "aaabc", strict=True)]
    assert taken == [True, True, False, True, False]
    assert all(still_open(those))
    answers.leave(those[0])
    assert answers.enter(those[4], "c")


def test_those_that_do_not_take_their_answer_make_room() -> None:
    answers, those = Answers(4, 2, 9), connections(6)
    for one, peer in zip(those[:4], "abba", strict=True):
        assert answers.enter(one, peer)
        answers.begin(one, b"text")
    assert answers.enter(those[4], "b"), "of its own peer, which has all it may have"
    assert still_open(those) == [True, False, True, True, True, True]
    assert answers.enter(those[5], "c"), "of the peer that is being sent most"
    assert still_open(those) == [False, False, True, True, True, True]


def test_few_different_texts_are_kept() -> None:
    answers, those = Answers(9, 9, 2), connections(5)
    for one, text in zip(those, (b"first", b"first", b"second", b"second", b"third"), strict=True):
        assert answers.enter(one, "peer")
        answers.begin(one, text)
    assert still_open(those) == [False, False, True, True, True]


def test_one_whose_place_is_gone_is_sent_nothing_that_counts() -> None:
    answers, one = Answers(9, 9, 1), Connection()
    answers.begin(one, b"text")  # type: ignore[arg-type]
    answers.begin(one, b"other")  # type: ignore[arg-type]
    assert one.open
