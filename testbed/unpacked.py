"""Programs of Debian packages that are unpacked but never installed.

NetworkManager and ConnMan see to every link of the machine as soon as they are installed on one with a running
init: they would take the developer's own network over; Prometheus would begin to serve on it. So their packages
are downloaded and unpacked into a cache, and of them only what the tests need is kept.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.netns import TestbedError, run

if TYPE_CHECKING:
    from collections.abc import Iterable

CACHE = Path(os.environ.get("VMNET_CLIENTS_CACHE", Path(__file__).parent.parent / ".cache" / "clients"))
CLIENTS, PROMETHEUS, CLOUD_INIT = "programs", "prometheus", "cloud-init"
"""Of the first about 5 MB are kept, of the second 100, of the third 5."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file or directory to keep: a pattern, and the packages that hold it, in this or that Debian release."""

    pattern: str
    packages: tuple[str, ...]


KEPT = {
    CLIENTS: (
        Wanted("usr/sbin/NetworkManager", ("network-manager",)),
        Wanted("usr/sbin/connmand", ("connman",)),
        # NetworkManager's; what else it links with, other packages need too
        Wanted("usr/lib/*/libndp.so.0", ("libndp0",)),
    ),
    PROMETHEUS: (
        Wanted("usr/bin/prometheus", ("prometheus",)),
        Wanted("usr/bin/promtool", ("promtool", "prometheus")),
    ),
    CLOUD_INIT: (Wanted("usr/lib/python3/dist-packages/cloudinit", ("cloud-init",)),),
}
"""The files to keep, by the directory that they are kept in."""


def programs(name: str = CLIENTS, cache: Path = CACHE) -> Path:
    """Give the directory of that name, of programs and their libraries, fetching them the first time."""
    kept = cache / name
    if not kept.exists():
        _fetch(cache, name)
    return kept


def _fetch(cache: Path, name: str) -> None:
    kept, wanted = cache / name, KEPT[name]
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=cache) as made:
        scratch = Path(made)
        scratch.chmod(0o755)  # apt downloads as a user of its own
        for archive in _downloaded(scratch, {package for file in wanted for package in file.packages}):
            run(["dpkg", "-x", archive, scratch / "unpacked"], timeout=120)
        (scratch / "kept").mkdir()
        for file in wanted:
            found = the_one(scratch / "unpacked", file)
            copy = shutil.copytree if found.is_dir() else shutil.copy
            copy(found, scratch / "kept" / found.name)
        try:
            (scratch / "kept").rename(kept)
        except OSError:
            if not kept.exists():  # else somebody fetched them beside us, and theirs are as good
                raise


def the_one(unpacked: Path, wanted: Wanted) -> Path:
    """Find the file.

    Raises:
        TestbedError: there is none, or more than one.
    """
    found = list(unpacked.glob(wanted.pattern))
    if len(found) != 1:
        packages = " or ".join(wanted.packages)
        raise TestbedError(f"{packages} of this Debian release has {len(found)} files {wanted.pattern}, not one")
    return found[0]


def _downloaded(directory: Path, packages: Iterable[str]) -> Iterable[Path]:
    """Download with the package lists that are there; where they are too old or missing, with new ones."""
    try:
        _download(directory, packages)
    except TestbedError:
        run(["apt-get", "-qq", "update"], timeout=300)
        _download(directory, packages)
    return directory.glob("*.deb")


def _download(directory: Path, packages: Iterable[str]) -> None:
    """Download those of the packages that this Debian release has."""
    known = [package for package in packages if _is_known(package)]
    if not known:
        raise TestbedError(f"apt knows none of {', '.join(sorted(packages))}")
    run(["env", "-C", directory, "apt-get", "-qq", "download", *known], timeout=300)


def _is_known(package: str) -> bool:
    return run(["apt-cache", "show", package], check=False).returncode == 0
