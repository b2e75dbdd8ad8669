"""The real image, built by podman and run in a pod that a CNI made.

    mmdebstrap ─▶ base ─▶ podman build --build-arg BASE=… ─▶ vmnet:HASH ─▶ podman run --network ns:/run/netns/POD

No image registry is asked. Storage, locks and configuration are our own (`.cache/podman`): no other podman on the
machine sees these images and containers. The base is made once, an image only when its sources have changed.
"""

from __future__ import annotations

import ast
import configparser
import hashlib
import os
import resource
import secrets
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.netns import Completed, TestbedError, background, run
from testbed.once import one_at_a_time
from testbed.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.netns import Background, Netns

REPOSITORY = Path(__file__).parent.parent
CACHE = Path(os.environ.get("VMNET_PODMAN_CACHE", REPOSITORY / ".cache" / "podman"))
SUITE = "bookworm"
"""The Debian release of the Dockerfile's own default base."""
BASE = f"localhost/vmnet-base:{SUITE}"
SMALL_BASE = (
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    "--dpkgopt=force-unsafe-io",
    '--aptopt=Acquire::Languages "none"',
)
"""What Debian's images for containers leave out, and how they spare the disk."""
SOURCES = (
    "Dockerfile",
    ".dockerignore",
    "LICENSE",
    "README.md",
    "pyproject.toml",
    "requirements-*.lock",
    "vmnet",
    "deploy/image",
    "deploy/launcher",
)
BASE_PATIENCE = BUILD_PATIENCE = 1500
"""Seconds until what does not end is given up; beside four busy programs a base has taken more than 300."""
LARGEST_NPROC = 1 << 20
"""What podman raises its own process limit to, where it may."""
STATE_DIR = "/run/vmnet"
"""Where the state directory is in the image."""
HOME = "/root"
"""Of whoever runs the build's steps; every base has it, so that nothing of ours stays behind in the image."""

AGENT_CAPABILITIES = ("NET_ADMIN", "NET_RAW", "BPF")
LAUNCHER_CAPABILITIES = (
    *AGENT_CAPABILITIES, "CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETPCAP", "SETUID"
)  # fmt: skip
"""What libvirtd needs beyond ours to start QEMU as another user, without any."""
LAUNCHER_WRITES = (
    "/run",
    "/etc/libvirt/qemu",
    "/var/lib/libvirt",
    "/var/cache/libvirt",
    "/var/log/libvirt",
    "/tmp",  # noqa: S108 -- the container's own
)
"""Where libvirtd and QEMU write."""

CONTAINERS_CONF = """\
[containers]
default_ulimits = ["nofile={nofile}:{nofile}", "nproc={nproc}:{nproc}"]
default_sysctls = []
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "{directory}/tmp"
[network]
network_backend = "netavark"
"""
STORAGE_CONF = """\
[storage]
driver = "overlay"
graphroot = "{directory}/root"
runroot = "{directory}/run"
"""


@dataclass(frozen=True, slots=True)
class Podman:
    """podman with storage and configuration of our own."""

    directory: Path

    def command(self, *words: str | Path) -> list[str]:
        """The argument list of a podman command; it hears nothing else of the environment."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.directory), **self.environment()}
        settings = (f"{name}={value}" for name, value in environment.items())
        return ["env", "-i", *settings, "podman", *map(str, words)]

    def environment(self) -> dict[str, str]:
        """What makes any podman command use our configuration."""
        return {
            "CONTAINERS_CONF": str(self.directory / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.directory / "storage.conf"),
        }

    def run(self, *words: str | Path, check: bool = True, timeout: float = PATIENCE) -> Completed:
        """Run a podman command to its end; a failure is an error unless `check` is false."""
        return run(self.command(*words), check=check, timeout=timeout)

    def has(self, image: str) -> bool:
        """Whether there is such an image."""
        return self.run("image", "exists", image, check=False).returncode == 0

    def megabytes(self, image: str) -> int:
        """The size of an image, its base included, in millions of bytes."""
        return int(self.run("image", "inspect", "--format", "{{.Size}}", image).stdout) // 10**6


def podman(directory: Path = CACHE) -> Podman:
    """Give podman; writes its configuration."""
    directory.mkdir(parents=True, exist_ok=True)
    made = Podman(directory.resolve())
    nofile = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    text = CONTAINERS_CONF.format(directory=made.directory, nofile=nofile, nproc=_nproc())
    (directory / "containers.conf").write_text(text, encoding="ascii")
    (directory / "storage.conf").write_text(STORAGE_CONF.format(directory=made.directory), encoding="ascii")
    return made


def _nproc() -> int:
    """The most processes podman allows itself: it cannot give a container more, lacking CAP_SYS_RESOURCE."""
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    largest = min(LARGEST_NPROC, int(Path("/proc/sys/kernel/pid_max").read_text(encoding="ascii")))
    return largest if hard == resource.RLIM_INFINITY else min(hard, largest)


def base(engine: Podman) -> str:
    """Give the base image, made the first time: what Debian's own image holds, from Debian's own packages."""
    if not engine.has(BASE):
        with tempfile.TemporaryDirectory(prefix="base-", dir=engine.directory) as name:
            archive = Path(name) / "base.tar"
            run(["mmdebstrap", "--quiet", "--variant=minbase", *SMALL_BASE, SUITE, archive], timeout=BASE_PATIENCE)
            engine.run("import", "--quiet", archive, BASE, timeout=BASE_PATIENCE)
    return BASE


def image(engine: Podman, target: str) -> str:
    """Give the image of that target of the Dockerfile, built unless it is there already."""
    repository = f"localhost/vmnet-{target}"
    wanted = f"{repository}:{sources_hash()}"
    with one_at_a_time(engine.directory):
        if not engine.has(wanted):
            base(engine)
            with _home() as home:
                engine.run(*_build(target, home), "--tag", wanted, REPOSITORY, timeout=BUILD_PATIENCE)
            _forget(engine, repository, wanted)
    return wanted


def _build(target: str, home: Path) -> tuple[str, ...]:
    """The build command: what this machine needs to reach its package index comes by mount and leaves no trace."""
    return (
        "build",
        "--pull=never",
        "--network=host",
        f"--build-arg=BASE={BASE}",
        f"--build-arg=VERSION={_version()}",
        f"--volume={home}:{HOME}:ro",
        f"--target={target}",
    )


def _forget(engine: Podman, repository: str, kept: str) -> None:
    """Remove the images of older sources. What builds leave for the next one stays for a week."""
    listed = engine.run("images", "--format", "{{.Repository}}:{{.Tag}}", repository).stdout.split()
    for name in listed:
        if name != kept:
            engine.run("rmi", name, check=False)
    engine.run("image", "prune", "--force", "--filter=until=168h", check=False)


def sources_hash() -> str:
    """Name the state of everything that goes into an image."""
    digest = hashlib.sha256(BASE.encode())
    for pattern in SOURCES:
        for path in sorted(_files(pattern)):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(REPOSITORY)} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def _files(pattern: str) -> Iterator[Path]:
    for found in REPOSITORY.glob(pattern):
        inside = found.rglob("*") if found.is_dir() else (found,)
        yield from (path for path in inside if path.is_file() and "__pycache__" not in path.parts)


def _version() -> str:
    """Read the version where it is written, without importing what is under test."""
    tree = ast.parse((REPOSITORY / "vmnet" / "__init__.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__":
            return str(ast.literal_eval(node.value))
    raise TestbedError("vmnet/__init__.py assigns no __version__")


@contextmanager
def _home() -> Iterator[Path]:
    """A home directory for the build: pip configured as it is here, with the certificates it trusts here."""
    with tempfile.TemporaryDirectory(prefix="vmnet-home-") as name:
        home = Path(name)
        settings = _pip_settings()
        if certificates := settings.get("cert") or os.environ.get("SSL_CERT_FILE"):
            shutil.copy(certificates, home / "certificates.crt")
            settings["cert"] = f"{HOME}/certificates.crt"
        configuration = configparser.RawConfigParser()
        configuration["global"] = settings
        (home / ".pip").mkdir()
        with (home / ".pip" / "pip.conf").open("w", encoding="utf-8") as file:
            configuration.write(file)
        yield home


def _pip_settings() -> dict[str, str]:
    """What pip is told here by files and, stronger, by the environment; local paths mean nothing inside."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    found = [line.partition("=") for line in listed.stdout.splitlines()]
    ranked = sorted(found, key=lambda parts: parts[0].startswith(":env:"))
    settings = {name.rpartition(".")[2]: str(ast.literal_eval(value)) for name, _, value in ranked}
    local = ("config-file", "constraint", "find-links")  # the versions come from our own lock
    urls = [url for url in settings.pop("extra-index-url", "").split() if not url.startswith("file:")]
    kept = {name: value for name, value in settings.items() if name not in local}
    return kept | ({"extra-index-url": "\n".join(urls)} if urls else {})


@dataclass(frozen=True, slots=True)
class Container:
    """How a container of the image is run: with the documented privileges, unless told otherwise."""

    engine: Podman
    image: str
    netns: Netns
    resolv_conf: Path
    state: Path | None
    """The directory that is mounted on the state directory; None for none, which leaves it read-only."""
    capabilities: tuple[str, ...] = AGENT_CAPABILITIES
    devices: tuple[str, ...] = ("/dev/net/tun",)
    hostname: str = "vm-1"

    def without(self, privilege: str) -> Container:
        """The same without one of its privileges: a capability, a device, or `state`."""
        return replace(
            self,
            capabilities=tuple(name for name in self.capabilities if name != privilege),
            devices=tuple(name for name in self.devices if name != privilege),
            state=None if privilege == "state" else self.state,
        )

    def command(self, name: str, *words: str, options: tuple[str, ...] = ()) -> list[str]:
        """The argument list that runs `words` as the image's command, in the pod's network namespace."""
        privileges = [
            *(f"--cap-add={capability}" for capability in self.capabilities),
            *(f"--device={device}" for device in self.devices),
        ]
        mounts = [f"--volume={self.resolv_conf}:/etc/resolv.conf:ro"]
        if self.state:
            mounts.append(f"--volume={self.state}:{STATE_DIR}")
        return self.engine.command(
            "run", "--rm", f"--name={name}", f"--network=ns:{self.netns.path}", f"--hostname={self.hostname}",
            "--pull=never", "--cap-drop=ALL", *privileges, "--security-opt=no-new-privileges",
            "--read-only", "--read-only-tmpfs=false", *mounts, *options, self.image, *words,
        )  # fmt: skip

    def run(self, *words: str, check: bool = True, timeout: float = PATIENCE) -> Completed:
        """Run a container to its end."""
        return run(self.command(_name(), *words), check=check, timeout=timeout)

    @contextmanager
    def running(self, log: Path, *words: str, options: tuple[str, ...] = ()) -> Iterator[Running]:
        """Run a container beside us until the block ends."""
        name = _name()
        with background(self.command(name, *words, options=options), log) as program:
            try:
                yield Running(self.engine, name, program)
            finally:
                self.engine.run("rm", "--force", "--time=0", "--ignore", name)


@dataclass(frozen=True, slots=True)
class Running:
    """A container that runs."""

    engine: Podman
    name: str
    program: Background

    def exec(self, *words: str, check: bool = True) -> Completed:
        """Run a command inside, as `kubectl exec` and exec probes do."""
        return self.engine.run("exec", self.name, *words, check=check)

    def stop(self) -> int:
        """Ask it to end, as a kubelet does, and give its exit code."""
        self.engine.run("stop", "--time=10", self.name)
        return self.program.wait()


def _name() -> str:
    return f"vmnet-{secrets.token_hex(4)}"
