"""A shell on a terminal of its own, typed into as people do."""

from __future__ import annotations

import os
import re
import select
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from testbed.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|[\x07\r]")


@dataclass(slots=True)
class Terminal:
    """The other end of the shell's terminal."""

    descriptor: int
    said: str = field(default="")
    """What has been written since the last `type`, without control sequences."""

    def type(self, keys: str) -> None:
        """Press these keys."""
        self.said = ""
        os.write(self.descriptor, keys.encode())

    def wait_for(self, pattern: str) -> str:
        """Wait until the screen shows what matches."""
        until = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self.said)):
            left = until - time.monotonic()
            assert left > 0, f"{pattern!r} did not come, but {self.said!r}"
            if select.select([self.descriptor], [], [], left)[0]:
                self.said += _CONTROL.sub("", os.read(self.descriptor, 65536).decode(errors="replace"))
        return found[0]


@contextmanager
def terminal(shell: Sequence[str], directory: Path, environment: Mapping[str, str | Path]) -> Iterator[Terminal]:
    """Run a shell on a new terminal, and end it."""
    ours, theirs = os.openpty()
    words = {name: str(value) for name, value in environment.items()}
    running = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *shell],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "HOME": str(directory), "TERM": "dumb", "LC_ALL": "C.UTF-8", **words},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        yield Terminal(ours)
    finally:
        os.close(ours)  # which hangs up
        running.wait(PATIENCE)
