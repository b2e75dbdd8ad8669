"""What so many runs of the fuzzer found: nothing. `make fuzz SECONDS=600` looks longer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.fuzz.conftest import RUNS

if TYPE_CHECKING:
    from testbed.netns import Background

LONGEST = 1800
"""Seconds, beside all other tests; a machine that does nothing else needs a thirtieth."""


@pytest.mark.timeout(LONGEST)
def test_no_input_raises_or_is_answered_with_a_malformed_reply(fuzzer: Background) -> None:
    code = fuzzer.wait(LONGEST)
    assert code == 0, fuzzer.text[-4000:]
    done = fuzzer.wait_for(r"^Done (\d+) runs in (\d+) second")
    coverage = re.findall(r"^#\d+\s+\w+\s+cov: (\d+)", fuzzer.text, re.MULTILINE)
    print(f"{int(done[1]):,} runs in {done[2]} s, {coverage[0]} → {coverage[-1]} places seen")  # noqa: T201 -- a figure
    assert int(done[1]) >= RUNS
    assert int(coverage[-1]) > int(coverage[0])
