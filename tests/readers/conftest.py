"""share   what a wheel installs below share/, made anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tools import share as made

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write completion scripts and manual pages."""
    directory = tmp_path_factory.mktemp("share")
    made.write(directory)
    return directory
