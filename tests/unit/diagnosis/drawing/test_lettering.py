"""Where a text is broken into lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmnet.diagnosis.drawing.lettering import broken


@pytest.mark.parametrize(
    ("text", "columns", "lines"),
    [
        ("short", 10, ["short"]),
        ("", 10, [""]),
        ("vms.svc.cluster.local, cluster.local", 23, ["vms.svc.cluster.local,", "cluster.local"]),
        ("default via fd00:10:246:1::1", 18, ["default via", "fd00:10:246:1::1"]),
        ("2001:db8:1234:5678::1/128", 16, ["2001:db8:1234:", "5678::1/128"]),
        ("a" * 12, 5, ["aaaaa", "aaaaa", "aa"]),
        ("exactly five", 7, ["exactly", "five"]),
    ],
)
def test_lines_end_between_words_then_between_parts(text: str, columns: int, lines: list[str]) -> None:
    assert broken(text, columns) == lines


@given(st.text(st.sampled_from("ab:. /é"), max_size=60), st.integers(3, 30))
def test_no_line_is_too_long_and_nothing_is_lost(text: str, columns: int) -> None:
    lines = broken(text, columns)
    assert all(len(line) <= columns for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
