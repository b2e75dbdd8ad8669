"""The ring of frames: bounded, numbered, and in order."""

from __future__ import annotations

from vmnet.server.ring import FRAMES, GUEST, SERVER, SNAPLEN, Ring


def ring() -> Ring:
    moments = iter(range(1000))
    return Ring(lambda: float(next(moments)))


def test_what_was_kept_is_told_with_who_sent_it_when_and_what_became_of_it() -> None:
    kept = ring()
    kept.keep(GUEST, "offer", b"\1\2", b"\3")
    kept.keep(SERVER, "unsolicited", b"\4")
    assert kept.report() == [
        {"number": 0, "at": 0.0, "sender": "guest", "word": "offer", "length": 2, "frame": "0102"},
        {"number": 1, "at": 0.0, "sender": "server", "word": "offer", "length": 1, "frame": "03"},
        {"number": 2, "at": 1.0, "sender": "server", "word": "unsolicited", "length": 1, "frame": "04"},
    ]


def test_only_the_newest_are_kept_in_order() -> None:
    kept = ring()
    for number in range(FRAMES * 3 + 7):
        kept.keep(GUEST, "short", bytes((number % 256,)))
    numbers = [entry["number"] for entry in kept.report()]
    assert numbers == list(range(FRAMES * 2 + 7, FRAMES * 3 + 7))
    assert kept.count == FRAMES * 3 + 7
    for _ in range(FRAMES):
        kept.keep(GUEST, "offer", b"\1", b"\2")
    senders = [(entry["number"], entry["sender"]) for entry in kept.report()]
    assert senders[0] == (kept.count - FRAMES, "guest")
    assert senders[-1] == (kept.count - 1, "server")
    assert len(senders) == FRAMES


def test_a_long_frame_is_cut_and_its_length_told() -> None:
    kept = ring()
    kept.keep(GUEST, "too_long", bytes(2048))
    [entry] = kept.report()
    assert (entry["length"], entry["frame"]) == (2048, "00" * SNAPLEN)
