"""docs/doctor.md and the table of checks say the same."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.docs import DOCS
from vmnet.diagnosis.table import CHECKS

if TYPE_CHECKING:
    from vmnet.diagnosis.evidence import Check

PAGE = (DOCS / "doctor.md").read_text(encoding="utf-8")
SECTIONS = {
    title.strip(): " ".join(text.split())
    for title, _, text in (section.partition("\n") for section in re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:])
}
HUNDREDS = re.findall(r"^## (\d)xx: ", PAGE, flags=re.MULTILINE)


def test_there_is_a_section_for_each_code_in_the_same_order() -> None:
    assert list(SECTIONS) == [check.code for check in CHECKS]
    assert list(dict.fromkeys(check.code[4] for check in CHECKS)) == HUNDREDS


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_a_section_says_what_how_to_see_it_and_what_to_do(check: Check) -> None:
    text = SECTIONS[check.code]
    assert text.lower().startswith(f"**{check.title}.** ".lower())
    meaning, _, rest = text.partition(" *See:* ")
    seen, _, done = rest.partition(" *Do:* ")
    assert len(meaning) > len(check.title) + 40
    assert len(seen) > 8
    assert len(done) > 8


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_the_page_that_a_finding_names_is_there(check: Check) -> None:
    page, _, anchor = check.page.partition("#")
    assert page == "docs/doctor.md"
    assert f"\n### {anchor.upper()}\n" in PAGE
