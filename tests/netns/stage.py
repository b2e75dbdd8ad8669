"""A pod that was handed over, for one client of its own: stories that are played side by side share nothing."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed import pods
from testbed.facts import GuestFacts, differences, read_pod
from testbed.netns import kill
from tests.dhcp_clients import tellable
from tests.netns import forked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.agent import Agent
    from testbed.clients import Living
    from testbed.netns import Netns
    from testbed.pods import Pod


@dataclass(frozen=True, slots=True)
class Stage:
    """The pod, its agent, what the pod had before, and where files go."""

    pod: Pod
    agent: Agent
    before: GuestFacts
    directory: Path

    def restart(self) -> None:
        """Kill the server and start it again, as when the agent's container dies."""
        for server in self.agent.servers():
            kill(server)
        self.agent.up()

    def must_be_the_guests(self, client: str, leased: Living) -> None:
        """What the pod had is what the guest has, as far as that client can be told."""
        assert differences(tellable(client, self.before), leased.facts()) == ""

    def events(self) -> dict[str, int]:
        """What the server counted."""
        return dict(self.agent.status()["server"]["events"])


@contextmanager
def stage(directory: Path, layout: str = "bridge", *flags: str) -> Iterator[Stage]:
    """Hand a pod of that layout over with these flags; `directory` is made."""
    directory.mkdir()
    with pods.pod(layout) as pod, forked.cleared(pod, directory) as agent:
        before = read_pod(pod)
        agent.up(*flags)
        yield Stage(pod, agent, before, directory)


@contextmanager
def standing_still(namespace: Netns) -> Iterator[None]:
    """Stop all of a guest's programs: should T1 pass meanwhile, because others are at work, they see it later."""
    programs = namespace.processes()
    for pid in programs:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in programs:
            os.kill(pid, signal.SIGCONT)
