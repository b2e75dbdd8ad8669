"""JSON that only an attacker writes is refused in one line, whatever Python reads it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmnet.model.strict_json import DEEPEST, loads

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(PLAIN)
def test_what_json_writes_is_read(value: object) -> None:
    assert loads(json.dumps(value)) == value


@pytest.mark.parametrize("open_and_close", [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_the_deepest_is_read_and_one_deeper_is_not(open_and_close: tuple[str, str]) -> None:
    begin, end = open_and_close
    times = DEEPEST // (len(begin.replace('"a":', "")))
    assert loads(begin * times + "1" + end * times)
    with pytest.raises(ValueError, match=f"nested deeper than {DEEPEST} levels"):
        loads(f"[{begin * times}1{end * times}]")


@pytest.mark.parametrize("text", ["[" * 5_000_000, '{"a":' * 1_000_000, "[[]," * 100 + "[" * 100_000])
def test_however_deep_it_is_refused_by_depth(text: str) -> None:
    with pytest.raises(ValueError, match="nested deeper"):
        loads(text)


@pytest.mark.parametrize(
    "inside", ["[[[[" * 100, r"\"[[[[" * 100, "\\\\" + "[" * 100, r"]\\\"" + "{" * 100, "\\u005b" * 100 + "[" * 99]
)
def test_brackets_in_a_string_are_no_levels(inside: str) -> None:
    text = f'["{inside}", "x", [1]]'
    assert loads(text) == json.loads(text)


@pytest.mark.parametrize(
    "text", ['["' + r"\"" * 1_000_000, '"' * 1_000_001, '["' + "\\" * 999_999, '"[' * 500_000]
)
def test_a_string_without_an_end_is_no_work_without_an_end(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        loads(text + "[" * 65)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a":1,"b":{"c":1,"c":1}}', "the key 'c' appears twice"),
        ('{"\\u001b[2J":1,"\\u001b[2J":1}', r"the key '\\x1b\[2J' appears twice"),
        ("[NaN]", "NaN is no JSON"),
        ("[-Infinity]", "-Infinity is no JSON"),
        ("[1e999]", "the number 1e999 is too large"),
        ("1" * 21, "a number of 21 digits"),
        ("[-" + "9" * 100_000 + "]", "a number of 100001 digits"),
        ("", "Expecting value"),
        ("[1] 2", "Extra data"),
        ("\ufeff{}", "BOM"),
    ],
)
def test_what_is_refused_and_why(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        loads(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"\xff", '"é"'.encode("utf-16"), b"\x00[", b"[\x00]"])
def test_bytes_are_utf8_or_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        loads(data)
