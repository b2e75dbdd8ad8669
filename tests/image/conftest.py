"""The images, containers of them in a pod, and how large they are.

engine      podman with storage of its own
agent       the image of target `agent`, built if its sources have changed
launcher    the image of target `launcher`, likewise
pod         a node and a pod, made by the real CNI bridge plugin
container   the agent's image in that pod with exactly the documented privileges; nothing runs yet
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from testbed import podman, pods
from testbed.facts import GuestFacts, read_pod
from tests.conftest import FIGURES
from tests.failure import sections
from tests.require import require

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from testbed.podman import Container, Podman
    from testbed.pods import Pod

HERE = Path(__file__).parent


@pytest.fixture(scope="session", autouse=True)
def _room() -> None:
    require("image")


@pytest.fixture(scope="session")
def engine() -> Podman:
    return podman.podman()


@pytest.fixture(scope="session")
def agent(engine: Podman, pytestconfig: pytest.Config) -> str:
    return _built(engine, "agent", pytestconfig)


@pytest.fixture(scope="session")
def launcher(engine: Podman, pytestconfig: pytest.Config) -> str:
    return _built(engine, "launcher", pytestconfig)


def _built(engine: Podman, target: str, config: pytest.Config) -> str:
    name = podman.image(engine, target)
    for what, image in (("base", podman.BASE), (target, name)):
        config.stash[FIGURES][f"image {what}"] = f"{engine.megabytes(image)} MB"
    return name


@pytest.fixture
def pod() -> Iterator[Pod]:
    with pods.pod("cni-bridge") as made:
        yield made


@pytest.fixture
def before(pod: Pod) -> GuestFacts:
    """Read what the pod has before vmnet comes: what the guest shall have."""
    return read_pod(pod)


@pytest.fixture
def container(engine: Podman, agent: str, pod: Pod, tmp_path: Path) -> Container:
    state = tmp_path / "state"
    state.mkdir()
    return podman.Container(engine, agent, pod.netns, pod.resolv_conf, state)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The time limit is the test's: whoever comes first waits for the build, which has a limit of its own."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.timeout(1200, func_only=True))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the namespaces while they are still there."""
    report = yield
    if report.failed and call.when in ("setup", "call"):
        fixtures: dict[str, Any] = getattr(item, "funcargs", {})
        report.sections.extend(sections(fixtures))
    return report
