"""What of the supervisor can be told without processes; tests/netns/test_run.py has the rest."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from vmnet import supervisor

_FORBIDDEN = {"dataclasses", "typing", "enum", "json", "subprocess", "signal", "socket", "re", "argparse"}
"""What costs memory for as long as the VM lives; import-linter holds the rest of it."""


def test_the_first_deaths_are_mended_at_once_the_next_ones_less_and_less_eagerly() -> None:
    assert [supervisor.wait_seconds(deaths) for deaths in range(11)] == [0, 0, 0, 1, 2, 4, 8, 16, 30, 30, 30]
    assert supervisor.wait_seconds(10**9) == 30


@pytest.mark.parametrize("name", ["supervisor", "power_button", "notify", "last_word"])
def test_resident_modules_import_little(name: str) -> None:
    path = Path(supervisor.__file__).with_name(f"{name}.py")
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    assert imported & _FORBIDDEN == set()
    assert "os" in imported
