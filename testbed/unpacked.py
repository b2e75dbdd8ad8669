"""Programs of Debian packages that are unpacked but never installed.

NetworkManager and ConnMan see to every link of the machine as soon as they are installed on one with a running
init: they would take the developer's own network over. So their packages are downloaded and unpacked into a cache,
and of them only what a jail needs is kept.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from testbed.netns import TestbedError, run

CACHE = Path(os.environ.get("VMNET_CLIENTS_CACHE", Path(__file__).parent.parent / ".cache" / "clients"))
KEPT = {
    "network-manager": ("usr/sbin/NetworkManager",),
    "connman": ("usr/sbin/connmand",),
    "libndp0": ("usr/lib/*/libndp.so.0",),  # NetworkManager's; what else it links with, other packages need too
}
"""The files to keep of each package."""


def programs(cache: Path = CACHE) -> Path:
    """Give the directory of the programs and their libraries, fetching them the first time: about 5 MB."""
    kept = cache / "programs"
    if not kept.exists():
        _fetch(cache, kept)
    return kept


def _fetch(cache: Path, kept: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=cache) as name:
        scratch = Path(name)
        scratch.chmod(0o755)  # apt downloads as a user of its own
        _download(scratch)
        (scratch / "programs").mkdir()
        for package, patterns in KEPT.items():
            [archive] = scratch.glob(f"{package}_*.deb")
            run(["dpkg", "-x", archive, scratch / package], timeout=120)
            for pattern in patterns:
                [file] = (scratch / package).glob(pattern)
                shutil.copy(file, scratch / "programs" / file.name)
        try:
            (scratch / "programs").rename(kept)
        except OSError:
            if not kept.exists():  # else somebody fetched them beside us, and theirs are as good
                raise


def _download(directory: Path) -> None:
    """Download with the package lists that are there; where they are too old or missing, with new ones."""
    command: list[str | Path] = ["env", "-C", directory, "apt-get", "-qq", "download", *KEPT]
    try:
        run(command, timeout=300)
    except TestbedError:
        run(["apt-get", "-qq", "update"], timeout=300)
        run(command, timeout=300)


if __name__ == "__main__":
    import sys

    sys.stdout.write(f"{programs()}\n")
