"""What deploy/kubernetes says, as kustomize renders it."""

from __future__ import annotations

import sys
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
