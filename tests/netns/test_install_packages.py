"""What a machine lacks for the README's commands is said in one line."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "tools" / "install-packages"


def test_a_system_without_apt_is_told_so_in_one_line(tmp_path: Path) -> None:
    packages = tmp_path / "packages.txt"
    packages.write_text("nftables # loads the rules\n", encoding="ascii")
    bash = shutil.which("bash") or "bash"
    ran = subprocess.run(
        [bash, PROGRAM, packages], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    [line] = ran.stderr.splitlines()
    assert "apt-get is missing" in line
    assert "Debian 12 and 13" in line
