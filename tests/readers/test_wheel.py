"""The wheel brings along what shells and man look for, made from the very parser that is in it."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

from testbed.netns import run
from tools import share

REPOSITORY = Path(__file__).parents[2]


def test_a_wheel_installs_completion_and_manual(tmp_path: Path) -> None:
    build = (sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path))
    run(["env", "-C", REPOSITORY, *build])
    [path] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        installed = {
            name.partition(".data/data/share/")[2]: wheel.read(name).decode()
            for name in wheel.namelist()
            if ".data/" in name
        }
        packed = [name for name in wheel.namelist() if name.startswith(("tools", "tests", "testbed"))]
    assert installed == share.files()
    assert packed == []
