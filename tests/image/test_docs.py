"""The commands that docs/guide/containers.md and docs/guide/kubernetes.md show do what the pages say."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from testbed.snapshot import difference, snapshot
from tests import docs
from tests.image.manifests import BIN, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.podman import Podman
    from testbed.pods import Pod

NAMES = ("first", "second")
"""The containers of the page."""


@pytest.fixture
def named(engine: Podman, agent: str) -> Iterator[None]:
    """The image under the name that the page gives it, and no container of the page left behind."""
    engine.run("tag", agent, "localhost/vmnet")
    yield
    engine.run("rm", "--force", "--time=0", "--ignore", *NAMES)
    engine.run("untag", agent, "localhost/vmnet:latest")


def test_containers(engine: Podman, named: None, pod: Pod, tmp_path: Path) -> None:
    del named
    found = snapshot(pod)

    docs.play(docs.page("guide/containers.md"), list_of, tmp_path, {**engine.environment(), "POD": pod.netns.name})

    assert difference(found, snapshot(pod)) == ""


def test_kubernetes(tmp_path: Path) -> None:
    (tmp_path / "deploy").symlink_to(ROOT.parent)

    docs.play(docs.page("guide/kubernetes.md"), list_of, tmp_path, {"PATH": f"{BIN}:{os.environ['PATH']}"})


def list_of(*words: str) -> list[str]:
    """Run it here: the pages name the namespace themselves."""
    return list(words)
