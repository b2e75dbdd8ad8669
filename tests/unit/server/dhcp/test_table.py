"""The table of options in docs/dhcp.md names the clients that the tests find using them, and no others."""

from __future__ import annotations

import re

import pytest

from tests.dhcp_clients import SHOWS, of_release
from tests.docs import DOCS

HEADER = "| option | where its value comes from | sent | seen in |"

CLIENTS = of_release("bookworm")
"""Of which the table speaks."""


def rows() -> dict[str, tuple[set[int], set[str]]]:
    """By its first cell, the codes that a row speaks of and the clients that it names."""
    lines = (DOCS / "dhcp.md").read_text(encoding="utf-8").partition(HEADER)[2].partition("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    return {option: (_codes(option), _clients(seen)) for option, _, _, seen in cells}


def _codes(text: str) -> set[int]:
    """All numbers but those of names, as in 'IPv6'."""
    return set(map(int, re.findall(r"\b\d+\b", text)))


def _clients(text: str) -> set[str]:
    return set(re.findall(r"[A-Za-z]+", text)) & CLIENTS.keys()


ROWS = rows()


@pytest.mark.parametrize("option", ROWS)
def test_a_row_names_who_was_seen_using_it(option: str) -> None:
    codes, named = ROWS[option]
    assert named == {name for name, client in CLIENTS.items() if codes & set(client["uses"])}


def test_what_is_looked_for_has_a_row_and_nothing_has_two() -> None:
    spoken_of = [code for codes, _ in ROWS.values() for code in codes]
    assert len(spoken_of) == len(set(spoken_of))
    assert SHOWS.keys() <= set(spoken_of)
