"""What lies elsewhere in another Debian release is named, with its package."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from testbed.netns import TestbedError
from testbed.unpacked import Wanted, the_one

if TYPE_CHECKING:
    from pathlib import Path

PROMTOOL = Wanted("usr/bin/promtool", ("promtool", "prometheus"))


def test_a_file_is_found_whichever_package_brought_it(tmp_path: Path) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/promtool").touch()
    assert the_one(tmp_path, PROMTOOL) == tmp_path / "usr/bin/promtool"


def test_a_file_that_is_in_none_of_them_is_named(tmp_path: Path) -> None:
    with pytest.raises(TestbedError, match=r"promtool or prometheus .* 0 files usr/bin/promtool"):
        the_one(tmp_path, PROMTOOL)
