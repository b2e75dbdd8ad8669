"""The command under test, run as its users run it: a process of its own, inside the pod."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed.netns import Background, Completed, Netns, background, kill, run
from testbed.privileges import CONFINED, confined

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from testbed.pods import Pod

VMNET = Path(os.environ.get("VMNET_UNDER_TEST") or Path(sys.executable).with_name("vmnet"))
"""The command; the variable puts another one to the test: an installed one, or a broken one."""
VERBS_THAT_READ_DNS = ("plan", "up", "doctor")
HOSTNAME = "vm-1"
"""What the guest is told it is called."""


@dataclass(frozen=True, slots=True)
class Agent:
    """vmnet for one pod, with a state directory of its own."""

    netns: Netns
    state_dir: Path
    resolv_conf: Path
    confined: bool = CONFINED
    """Whether it runs as in a container."""
    interface: str = ""
    """The interface that its verbs are about, where it is one of several."""

    def command(self, *argv: str | Path) -> list[str]:
        """The argument list that runs `argv` in the pod with the privileges of vmnet, with the same process id."""
        words = list(map(str, argv))
        return self.netns.command(*(confined(*words) if self.confined else words))

    def argv(self, verb: str, *flags: str | Path) -> list[str]:
        """The argument list of a verb in the pod, with an environment that says nothing."""
        return self.command("env", "-i", f"PATH={os.environ['PATH']}", VMNET, *self.words(verb, *flags))

    def words(self, verb: str, *flags: str | Path) -> list[str]:
        """A verb with what says which pod is meant, and its flags."""
        words: list[str | Path] = [verb, "--state-dir", self.state_dir]
        if self.interface:
            words += ["--interface", self.interface]
        if verb in VERBS_THAT_READ_DNS:
            words += ["--resolv-conf", self.resolv_conf, "--hostname", HOSTNAME]
        return [*map(str, words), *map(str, flags)]

    def run(self, verb: str, *flags: str | Path, check: bool = True) -> Completed:
        """Run a verb to its end, which for `up` is READY; the server must let go of our pipes for that."""
        return run(self.argv(verb, *flags), check=check)

    def up(self, *flags: str | Path) -> Completed:
        """Hand the pod over; an exit code but 0 is an error."""
        return self.run("up", *flags)

    def down(self, *flags: str) -> Completed:
        """Give the pod back; an exit code but 0 is an error."""
        return self.run("down", *flags)

    def status(self) -> dict[str, Any]:
        """What `vmnet status --json` says, whatever its exit code."""
        return dict(json.loads(self.run("status", "--json", check=False).stdout))

    def serve(self, log: Path) -> AbstractContextManager[Background]:
        """Run the server in the foreground until the block ends."""
        return background(self.argv("serve"), log)

    def logs(self) -> Iterator[Path]:
        """The server's logs."""
        return self._files("server.log")

    def _files(self, name: str) -> Iterator[Path]:
        return self.state_dir.glob(f"**/{self.interface or '*'}/{name}")

    def servers(self) -> list[int]:
        """The ids of the servers that were started and still run."""
        recorded = [path.read_text(encoding="ascii").split() for path in self._files("server.pid")]
        return [int(words[0]) for words in recorded if words and lives(int(words[0]))]

    def clear(self) -> None:
        """Leave nothing running, whatever state a failed test left behind."""
        servers = self.servers()
        if servers:
            self.run("down", "--force", check=False)
        for pid in servers:
            if lives(pid):
                kill(pid)


def lives(pid: int) -> bool:
    """Whether that process is there and is a server of vmnet: ids are used again."""
    try:
        return b"vmnet" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def agent(pod: Pod, directory: Path, kind: type[Agent] = Agent) -> Agent:
    """Give the agent of a pod, its state below `directory`."""
    return kind(pod.netns, directory / "state", pod.resolv_conf)


@contextmanager
def cleared(pod: Pod, directory: Path, kind: type[Agent] = Agent) -> Iterator[Agent]:
    """Give it for a block, at whose end nothing that it started is left running."""
    made = agent(pod, directory, kind)
    try:
        yield made
    finally:
        made.clear()
