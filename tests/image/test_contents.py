"""What is in the images, and what is not."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from testbed.netns import run
from testbed.podman import BASE, REPOSITORY
from vmnet import __version__

if TYPE_CHECKING:
    from testbed.podman import Podman

LOOK = """
import glob, importlib.util, json, os, shutil, sysconfig

packages = sysconfig.get_path("purelib")
sources = glob.glob(f"{packages}/**/*.py", recursive=True)
print(json.dumps({
    "compilers": [name for name in ("cc", "gcc", "pip", "pip3", "pkg-config") if shutil.which(name)],
    "modules": [name for name in ("pip", "setuptools", "hatchling") if importlib.util.find_spec(name)],
    "editable": glob.glob(f"{packages}/*.pth"),
    "sources": len(sources),
    "uncompiled": [path for path in sources if not os.path.exists(importlib.util.cache_from_source(path))],
    "commands": sorted(os.listdir("/opt/vmnet/bin")),
    "apt": os.listdir("/var/lib/apt/lists") + glob.glob("/var/cache/apt/*.bin"),
    "caches": [path for path in ("/root/.cache", "/root/.pip", "/etc/pip.conf", "/build", "/wheels", "/src")
               if os.path.exists(path)],
}))
"""
OURS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
TARGETS = ("agent", "launcher")


def alone(engine: Podman, image: str, *words: str) -> str:
    """Run a command in an image that may do nothing at all, without a network."""
    limits = ("--cap-drop=ALL", "--security-opt=no-new-privileges", "--read-only", "--read-only-tmpfs=false")
    options = ("--rm", "--pull=never", "--network=none", *limits, f"--entrypoint={words[0]}")
    return run(engine.command("run", *options, image, *words[1:])).stdout


def inspect(engine: Podman, image: str) -> dict[str, Any]:
    """The image's configuration."""
    [found] = json.loads(engine.run("image", "inspect", image).stdout)
    return dict(found["Config"])


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_but_what_runs(engine: Podman, target: str, request: pytest.FixtureRequest) -> None:
    image = request.getfixturevalue(target)
    found = json.loads(alone(engine, image, "/opt/vmnet/bin/python", "-I", "-c", LOOK))

    assert found.pop("sources") > 100
    assert set(found.pop("commands")) == {"python", "python3", "python3.11", *OURS}
    assert found == {key: [] for key in found}


@pytest.mark.parametrize("target", TARGETS)
def test_labels_and_entrypoint(engine: Podman, target: str, request: pytest.FixtureRequest) -> None:
    found = inspect(engine, request.getfixturevalue(target))

    assert found["Entrypoint"] == ["/opt/vmnet/bin/vmnet"]
    labels = {name.removeprefix("org.opencontainers.image."): text for name, text in found["Labels"].items()}
    assert (labels["title"], labels["version"], labels["licenses"]) == ("vmnet", __version__, "GPL-2.0-only")
    assert alone(engine, request.getfixturevalue(target), "vmnet", "--version") == f"vmnet {__version__}\n"


def test_the_agent_is_small(engine: Podman, agent: str) -> None:
    """vmnet, its libraries and Python: less than the base they stand on."""
    assert engine.megabytes(agent) < 2 * engine.megabytes(BASE)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("vmnet", "launch", "--help"), "DOMAIN.xml"),
        (("virsh", "--version"), "."),
        (("libvirtd", "--version"), "libvirtd"),
        (("qemu-system-x86_64", "--version"), "QEMU emulator"),
        (("qemu-img", "--version"), "qemu-img"),
        (("/opt/vmnet/bin/python", "-c", "import libvirt; print(libvirt.getVersion())"), "00"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_the_launcher_has_its_parts(engine: Podman, launcher: str, words: tuple[str, ...], says: str) -> None:
    assert says in alone(engine, launcher, *words)
