"""Programs of Debian packages that are unpacked but never installed.

NetworkManager and ConnMan see to every link of the machine as soon as they are installed on one with a running
init: they would take the developer's own network over; Prometheus would begin to serve on it. So their packages
are downloaded and unpacked into a cache, and of them only what the tests need is kept.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.netns import TestbedError, run

if TYPE_CHECKING:
    from collections.abc import Iterable

CACHE = Path(os.environ.get("VMNET_CLIENTS_CACHE", Path(__file__).parent.parent / ".cache" / "clients"))
CLIENTS, PROMETHEUS = "programs", "prometheus"
"""Of the first about 5 MB are kept, of the second 100."""
KEPT: dict[str, dict[str, tuple[str, ...]]] = {
    CLIENTS: {
        "network-manager": ("usr/sbin/NetworkManager",),
        "connman": ("usr/sbin/connmand",),
        "libndp0": (
            "usr/lib/*/libndp.so.0",
        ),  # NetworkManager's; what else it links with, other packages need too
    },
    PROMETHEUS: {"prometheus": ("usr/bin/prometheus", "usr/bin/promtool")},
}
"""The files to keep of each package, by the directory that they are kept in."""


def programs(name: str = CLIENTS, cache: Path = CACHE) -> Path:
    """Give the directory of that name, of programs and their libraries, fetching them the first time."""
    kept = cache / name
    if not kept.exists():
        _fetch(cache, name)
    return kept


def _fetch(cache: Path, name: str) -> None:
    kept, packages = cache / name, KEPT[name]
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=cache) as made:
        scratch = Path(made)
        scratch.chmod(0o755)  # apt downloads as a user of its own
        _download(scratch, packages)
        (scratch / "kept").mkdir()
        for package, patterns in packages.items():
            [archive] = scratch.glob(f"{package}_*.deb")
            run(["dpkg", "-x", archive, scratch / package], timeout=120)
            for pattern in patterns:
                [file] = (scratch / package).glob(pattern)
                shutil.copy(file, scratch / "kept" / file.name)
        try:
            (scratch / "kept").rename(kept)
        except OSError:
            if not kept.exists():  # else somebody fetched them beside us, and theirs are as good
                raise


def _download(directory: Path, packages: Iterable[str]) -> None:
    """Download with the package lists that are there; where they are too old or missing, with new ones."""
    command: list[str | Path] = ["env", "-C", directory, "apt-get", "-qq", "download", *packages]
    try:
        run(command, timeout=300)
    except TestbedError:
        run(["apt-get", "-qq", "update"], timeout=300)
        run(command, timeout=300)


if __name__ == "__main__":
    import sys

    for directory in KEPT:
        sys.stdout.write(f"{programs(directory)}\n")
