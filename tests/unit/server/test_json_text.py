"""JSON by hand reads back by the book."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from vmnet.server.json_text import dumps

VALUES = st.recursive(
    st.text() | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(VALUES)
@example('"\\/\n\x00\x7f\ud800😀')
def test_any_value_reads_back(value: Any) -> None:  # noqa: ANN401 - any JSON
    text = dumps(value)
    assert json.loads(text) == json.loads(json.dumps(value))
    assert text.isascii()
    assert text.isprintable()


def test_seconds_have_three_decimals() -> None:
    assert dumps({"seconds": 1.23456}) == '{"seconds":1.235}'
