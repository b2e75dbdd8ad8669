"""Whatever is done in whatever order: one `up` brings the golden state, one `down` the pod as it was found.

Hypothesis makes the stories up and shortens those that fail. The same in memory, with many more: `tests/unit/
plumbing/test_any_story.py`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from testbed.netns import kill
from tests.extent import SOAK, amount
from tests.netns.forked import killed_after, killed_before_call
from tests.netns.trials import MIXED, Trial, note_names, trial

if TYPE_CHECKING:
    from tests.netns.forked import Tamper

EXAMPLES, STEPS = amount(3, 8, 200), amount(12, 12, 30)
DEATHS = st.one_of(
    st.integers(1, 24).map(killed_after),
    st.integers(1, 20).map(killed_before_call),
)


class Story(RuleBasedStateMachine):
    """A pod, and everything that may happen to it."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self.mine: Trial

    @initialize(layout=st.sampled_from((*MIXED, "ptp-dual", "aws")))
    def begin(self, layout: str) -> None:
        directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="vmnet-story-")))
        self.mine = self._stack.enter_context(trial(layout, directory))

    @rule()
    def up(self) -> None:
        self.mine.vmnet.up()
        self.mine.must_be_up("up")

    @rule()
    def down(self) -> None:
        self.mine.vmnet.down()
        self.mine.must_be_as_found("down")

    @rule(verb=st.sampled_from(("up", "down")), death=DEATHS)
    def killed(self, verb: str, death: Tamper) -> None:
        ended = self.mine.vmnet.run(verb, tamper=death)
        assert ended.killed or ended.code == 0, ended.stderr

    @rule(link=st.sampled_from(("tap0", "k6t-eth0")))
    def delete_link(self, link: str) -> None:
        if self._has(link):
            self.mine.pod.netns.ip_batch(f"link delete {link}")

    @rule(link=st.sampled_from(("tap0", "k6t-eth0", "eth0-nic")), mtu=st.sampled_from((1200, 1300, 1400)))
    def change_mtu(self, link: str, mtu: int) -> None:
        if self._has(link):
            self.mine.pod.netns.ip_batch(f"link set {link} mtu {mtu}")

    @rule()
    def remove_the_stand_ins_address(self) -> None:
        if self._has("eth0-nic") and self._has("eth0"):
            self.mine.pod.netns.ip_batch("address flush dev eth0")

    @rule()
    def lose_note(self) -> None:
        """While the binding stands, and the journal with it."""
        code, report = self.mine.vmnet.status()
        if code == 0 and report["state"] == "up":
            names = note_names(self.mine.pod.netns)
            self.mine.pod.netns.ip_batch(*(f"link property del dev eth0-nic altname {name}" for name in names))

    @rule()
    def lose_journal(self) -> None:
        """While the note, or an untouched pod, is there."""
        if any(map(self._has, ("k6t-eth0", "tap0", "eth0-nic"))) and not self._noted():
            return
        shutil.rmtree(self.mine.agent.state_dir, ignore_errors=True)

    @precondition(lambda self: self.mine.agent.state_dir.exists())
    @rule(data=st.binary(max_size=40))
    def corrupt_journal(self, data: bytes) -> None:
        if not self._noted():
            return  # then it is all there is; what becomes of that, test_state_directory shows
        for path in self.mine.agent.state_dir.glob("**/journal.json"):
            path.write_bytes(data)

    @rule()
    def kill_server(self) -> None:
        for server in self.mine.agent.servers():
            kill(server)

    @invariant()
    def facts_are_safe(self) -> None:
        if hasattr(self, "mine"):
            self.mine.must_have_its_facts("at any time")

    def teardown(self) -> None:
        """Whatever has happened, this is the promise."""
        with self._stack:
            if hasattr(self, "mine"):
                self.mine.vmnet.up()
                self.mine.must_be_up("the end of the story, then up")
                self.mine.vmnet.down()
                self.mine.must_be_as_found("the end of the story, then up and down")

    def _has(self, link: str) -> bool:
        return self.mine.pod.netns.run("ip", "link", "show", "dev", link, check=False).returncode == 0

    def _noted(self) -> bool:
        return "vmnet." in self.mine.pod.netns.run("ip", "link").stdout


TestAnyStory = Story.TestCase
TestAnyStory.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    database=None,
    derandomize=not (SOAK or os.environ.get("VMNET_SEED")),
    suppress_health_check=list(HealthCheck),
)
