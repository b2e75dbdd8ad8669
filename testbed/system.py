"""Another Debian release, from nothing: the README's commands run in a clean root of it, on this machine's kernel.

    mmdebstrap ─▶ .cache/systems/SUITE ─▶ a copy of the checkout in it ─▶ private mounts, chroot ─▶ make …

`python -m testbed.system SUITE COMMAND …` runs the command in that copy. Its mounts, /run and /tmp are
private: what starts there finds no daemon, namespace or cache of this machine. The root is kept for later runs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.netns import TestbedError, run
from testbed.once import one_at_a_time

if TYPE_CHECKING:
    from collections.abc import Sequence

REPOSITORY = Path(__file__).parent.parent
CACHE = Path(os.environ.get("VMNET_SYSTEMS_CACHE", REPOSITORY / ".cache" / "systems"))
SUITES = ("bookworm", "trixie")
PACKAGES = ("ca-certificates", "git", "make", "python3", "python3-venv")
"""What a checkout is fetched and begun with; all else is what the commands install themselves."""
BASE_PATIENCE = 1800
"""Seconds, where the mirror is slow."""
CHECKOUT = "root/vmnet"
"""Where the copy is in the root."""
MOUNTS = r"""
set -eu
root=$1 checkout=$2
mount --bind "$root" "$root"
for directory in dev sys; do mount --rbind "/$directory" "$root/$directory"; done
mount -t proc proc "$root/proc"
for directory in run tmp; do mount -t tmpfs -o mode=1777 tmpfs "$root/$directory"; done
chmod 755 "$root/run"
cd "$root"
pivot_root . mnt # not chroot, in which nobody may make a user namespace
umount -l /mnt
exec env -C "/$checkout" "${@:3}"
"""
"""Runs in a mount namespace of its own, so that all of this goes with it."""
OF_THE_MACHINE = ("etc/resolv.conf", "etc/hosts", "etc/pip.conf", "etc/ssl/certs/ca-certificates.crt")
"""How this machine reaches the package registries; each is copied where it is there."""


def root(suite: str) -> Path:
    """Give the root of that release, made the first time: a download of about 100 MB."""
    made = CACHE.resolve() / suite
    with one_at_a_time(CACHE):
        if not made.exists():
            scratch = made.with_suffix(".new")
            shutil.rmtree(scratch, ignore_errors=True)
            packages = f"--include={','.join(PACKAGES)}"
            source = f"deb {mirror()} {suite} main"
            run(
                ["mmdebstrap", "--quiet", "--variant=minbase", packages, suite, scratch, source],
                timeout=BASE_PATIENCE,
            )
            scratch.rename(made)
    return made


def mirror() -> str:
    """Name the Debian mirror that this machine's apt uses; Debian's own where it names none."""
    found = run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Label: Debian"],
        check=False,
    )
    return next(iter(found.stdout.split()), "http://deb.debian.org/debian")


def checked_out(system: Path) -> Path:
    """Copy what git knows of this checkout, and what is new in it, into the root; an earlier copy goes."""
    target = system / CHECKOUT
    shutil.rmtree(target, ignore_errors=True)
    names = run(["git", "-C", REPOSITORY, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]).stdout
    for name in filter(None, names.split("\0")):
        if (REPOSITORY / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, target / name)
    return target


def connect(system: Path) -> None:
    """Let the root reach the registries as this machine does."""
    for name in OF_THE_MACHINE:
        if Path("/", name).exists():
            (system / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path("/", name), system / name)


def prepared(suite: str) -> Path:
    """Give the root of that release with a clean checkout in it, from which the registries are reached."""
    system = root(suite)
    checked_out(system)
    connect(system)
    return system


def arguments(module: str, description: str) -> argparse.Namespace:
    """Read what the command line of such a module asks for: a release, and a command."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser.parse_args()


def main() -> int:
    """Run a command in a clean checkout in a clean root; exits as it does."""
    asked = arguments("testbed.system", __doc__)
    try:
        system = prepared(asked.suite)
    except TestbedError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return inside(system, asked.command)


def inside(system: Path, command: Sequence[str]) -> int:
    """Run the command in the copy of the checkout; returns its exit status."""
    words = ["unshare", "--mount", "bash", "-c", MOUNTS, "bash", str(system), CHECKOUT, *command]
    return subprocess.run(words, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
