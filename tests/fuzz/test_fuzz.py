"""What a minute of fuzzing found: nothing. `make fuzz SECONDS=600` looks longer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.fuzz.conftest import SECONDS

if TYPE_CHECKING:
    from testbed.netns import Background

LEAST_RUNS = 5_000
"""Beside all other tests, on a machine with better things to do; alone it is sixty times as many."""


@pytest.mark.timeout(3 * SECONDS)
def test_no_input_raises_or_is_answered_with_a_malformed_reply(fuzzer: Background) -> None:
    code = fuzzer.wait(2 * SECONDS)
    assert code == 0, fuzzer.text[-4000:]
    done = fuzzer.wait_for(r"^Done (\d+) runs in (\d+) second")
    coverage = re.findall(r"^#\d+\s+\w+\s+cov: (\d+)", fuzzer.text, re.MULTILINE)
    print(f"{int(done[1]):,} runs in {done[2]} s, {coverage[0]} → {coverage[-1]} places seen")  # noqa: T201 -- a figure
    assert int(done[1]) >= LEAST_RUNS
    assert int(coverage[-1]) > int(coverage[0])
