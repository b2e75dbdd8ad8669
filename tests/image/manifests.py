"""What deploy/kubernetes says, as kustomize renders it."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from testbed.netns import run

ROOT = Path(__file__).parents[2] / "deploy" / "kubernetes"
BIN = Path(sys.executable).parent
"""Where the development tools of this environment are."""


def kustomizations() -> list[str]:
    """The directories that can be applied for a VM, relative to ROOT."""
    return [name for name in _every() if name not in exporters()]


def exporters() -> list[str]:
    """Those for a node."""
    return [name for name in _every() if name.startswith("exporter/")]


def _every() -> list[str]:
    return sorted(str(path.parent.relative_to(ROOT)) for path in ROOT.rglob("kustomization.yaml"))


@cache
def render(name: str) -> str:
    """What `kubectl apply --kustomize` would send to a cluster."""
    return run([BIN / "kubectl", "kustomize", ROOT / name]).stdout


def objects(name: str, kind: str) -> list[dict[str, Any]]:
    """The rendered objects of a kind."""
    return [found for found in yaml.safe_load_all(render(name)) if found["kind"] == kind]


def pod(name: str) -> dict[str, Any]:
    """The specification of the one pod."""
    [found] = objects(name, "Pod")
    return dict(found["spec"])


def containers(name: str) -> list[dict[str, Any]]:
    """All containers of the pod, sidecars first."""
    found = pod(name)
    return [*found.get("initContainers", ()), *found["containers"]]


def capabilities(container: dict[str, Any]) -> tuple[str, ...]:
    """What a container has beyond nothing."""
    return tuple(container["securityContext"]["capabilities"].get("add", ()))


FS_GROUP_MODE = 0o2777
"""What the kubelet makes of an emptyDir's mode where the pod has an fsGroup."""


@dataclass(frozen=True, slots=True)
class Volumes:
    """What stands for the volumes of a pod, below a directory: what the kubelet would make, by their names."""

    directory: Path
    spec: dict[str, Any]

    def make(self) -> None:
        """Make each one, the group's as the kubelet does; the device as udev makes it on a node."""
        group = int(self.spec.get("securityContext", {}).get("fsGroup", 0))
        for volume in self.spec["volumes"]:
            place = self.directory / volume["name"]
            if "hostPath" in volume:
                os.mknod(place, stat.S_IFCHR | 0o666, Path("/dev/net/tun").stat().st_rdev)
                place.chmod(0o666)
                continue
            place.mkdir()
            os.chown(place, 0, group)
            place.chmod(FS_GROUP_MODE if group else 0o777)
            if "configMap" in volume:
                shutil.copy(ROOT / "base" / "domain.xml", place)

    def options(self, container: dict[str, Any]) -> tuple[str, ...]:
        """What podman is told for the volumes of a container."""
        told = []
        for mount in container["volumeMounts"]:
            source = self.directory / mount["name"]
            if stat.S_ISCHR(source.stat().st_mode):
                told.append(f"--device={source}:{mount['mountPath']}")
                continue
            place = source / mount.get("subPath", "")
            place.mkdir(exist_ok=True)
            place.chmod(source.stat().st_mode & 0o7777)
            told.append(f"--volume={place}:{mount['mountPath']}{':ro' if mount.get('readOnly') else ''}")
        return tuple(told)


def _value(entry: dict[str, Any]) -> str:
    """What the downward API would say."""
    if "value" in entry:
        return str(entry["value"])
    addresses = {"status.hostIP": "192.0.2.1", "status.podIP": "192.0.2.2"}
    return addresses.get(entry["valueFrom"]["fieldRef"]["fieldPath"], "vm")


def as_user(spec: dict[str, Any], container: dict[str, Any]) -> tuple[str, ...]:
    """What podman is told of who the container runs as, and of its environment."""
    context, group = container["securityContext"], spec.get("securityContext", {}).get("fsGroup")
    told = [f"--user={context['runAsUser']}:{context['runAsGroup']}"]
    told += [f"--group-add={group}"] if group else []
    told += [f"--env={entry['name']}={_value(entry)}" for entry in container.get("env", ())]
    return tuple(told)
