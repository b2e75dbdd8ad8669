"""Whatever is done in whatever order, on a kernel in memory: one `up` or one `down` puts everything right.

The real agent on the real kernel goes through fewer such stories in `tests/netns/test_any_story.py`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.extent import amount
from tests.testlib import layouts
from tests.testlib.fake_kernel import FakeKernel
from vmnet.agent.recall import is_untouched, lost_note, written
from vmnet.bindings.bridge import bound, unbound
from vmnet.model.change import AddEntry, AlterLink, DeleteEntry, DeleteLink
from vmnet.model.codec import decode
from vmnet.model.lease import Lease
from vmnet.model.settings import Settings
from vmnet.plumbing.diff import diff
from vmnet.plumbing.discover import discover
from vmnet.saved import note
from vmnet.saved.schema import SCHEMA, Journal

if TYPE_CHECKING:
    from vmnet.model.links import Spec, Status
    from vmnet.model.pod import PodInterface

NEVER = 10_000
ROUNDS = 5
TAP, BRIDGE = "tap0", "k6t-eth0"


class Killed(Exception):  # noqa: N818 # it is no error
    """The agent has died."""


class Agent:
    """As `vmnet.agent.lifecycle`, on a kernel in memory."""

    def __init__(self, kernel: FakeKernel) -> None:
        self.kernel = kernel
        self.saved: Journal | None = None

    def up(self, lives_for: int = NEVER) -> None:
        journal = self._known() or self._begin()
        self.saved = journal
        self._converge(self._bound(journal), lives_for)

    def down(self, lives_for: int = NEVER) -> None:
        journal = self._known()
        if journal:
            for lost in lost_note(self.kernel.read(), journal):
                self.kernel.apply(AddEntry(lost))
            self._converge(unbound(journal.pod, journal.settings), lives_for)
        self.saved = None

    def drift(self) -> bool:
        journal = self._known()
        return journal is None or bool(diff(self.kernel.read(), self._bound(journal)))

    def noted(self) -> Journal | None:
        for entry in self.kernel.read().notes:
            for text in note.read(entry.names):
                return decode(Journal, text)
        return None

    def _known(self) -> Journal | None:
        known = self.saved or self.noted()
        return None if known and is_untouched(self.kernel.read(), known) else known

    def _begin(self) -> Journal:
        lease = Lease("02:00:00:00:00:01", "10.244.1.2", 24, "169.254.75.10")
        return Journal(SCHEMA, "b00t", 42, discover(self.kernel.read()), Settings(), lease)

    def _bound(self, journal: Journal) -> Spec:
        return bound(journal.pod, journal.settings, ipv6_settable=True, note=written(journal))

    def _converge(self, spec: Spec, lives_for: int) -> None:
        for _round in range(ROUNDS):
            changes = diff(self.kernel.read(), spec)
            if not changes:
                return
            for change in changes:
                if not lives_for:
                    raise Killed
                self.kernel.apply(change)
                lives_for -= 1
        raise AssertionError(f"does not converge: {[str(change) for change in diff(self.kernel.read(), spec)]}")


class Story(RuleBasedStateMachine):
    """A pod, and everything that may happen to it."""

    @initialize(layout=st.sampled_from(layouts.NAMES), carried=st.booleans())
    def begin(self, layout: str, carried: bool) -> None:
        """Of facts that the note cannot carry there is the journal alone, and a mark on the NIC."""
        note._MOST_PARTS = 99 if carried else 0
        self.found = layouts.status(layout)
        self.facts = discover(self.found)
        self.kernel = FakeKernel(self.found)
        self.agent = Agent(self.kernel)

    @rule()
    def up(self) -> None:
        self.agent.up()
        assert not self.agent.drift()

    @rule()
    def down(self) -> None:
        self.agent.down()
        assert _comparable(self.kernel.read()) == _comparable(self.found)

    @rule(up=st.booleans(), lives_for=st.integers(0, 30))
    def killed(self, up: bool, lives_for: int) -> None:
        try:
            (self.agent.up if up else self.agent.down)(lives_for)
        except Killed:
            return

    @rule(name=st.sampled_from((TAP, BRIDGE)))
    def delete_link(self, name: str) -> None:
        link = self.kernel.read().link(name)
        if link:
            self.kernel.apply(DeleteLink(name, link.ifindex))

    @rule(name=st.sampled_from((TAP, BRIDGE, "eth0-nic")), mtu=st.sampled_from((1300, 1400)))
    def change_mtu(self, name: str, mtu: int) -> None:
        if self.kernel.read().link(name):
            self.kernel.apply(AlterLink(name, (("mtu", mtu),)))

    @rule()
    def remove_the_stand_ins_addresses(self) -> None:
        status = self.kernel.read()
        if status.link("eth0-nic"):
            for address in status.addresses:
                if address.ifname == "eth0":
                    self.kernel.apply(DeleteEntry(address))

    @rule()
    def lose_journal(self) -> None:
        """The note, or a pod that is untouched, must be there: one loss at a time."""
        if self.agent.noted() or (self.agent.saved and is_untouched(self.kernel.read(), self.agent.saved)):
            self.agent.saved = None

    @rule()
    def lose_note(self) -> None:
        """While the binding stands, and the journal with it."""
        if self.agent.saved and not self.agent.drift():
            for entry in self.kernel.read().notes:
                self.kernel.apply(DeleteEntry(entry))

    @invariant()
    def facts_are_safe(self) -> None:
        if not hasattr(self, "agent"):
            return
        known = self.agent.saved or self.agent.noted()
        if known is None or is_untouched(self.kernel.read(), known):
            assert _settled(discover(self.kernel.read())) == _settled(self.facts)
        else:
            assert _settled(known.pod) == _settled(self.facts)

    def teardown(self) -> None:
        """Whatever has happened, this is the promise."""
        try:
            if hasattr(self, "agent"):
                self.agent.up()
                assert not self.agent.drift()
                self.agent.down()
                assert _comparable(self.kernel.read()) == _comparable(self.found)
        finally:
            note._MOST_PARTS = 99


def _settled(pod: PodInterface) -> tuple[object, ...]:
    return (replace(pod, addresses=(), routes=(), neighbours=()), set(pod.addresses), set(pod.routes))


def _comparable(status: Status) -> tuple[object, ...]:
    """Without the order of tables, which only the kernel knows."""
    return (
        {replace(link, learning=None) for link in status.links},
        set(status.addresses),
        set(status.routes),
        set(status.neighbours),
        status.fdb,
        status.notes,
    )


TestAnyStory = Story.TestCase
TestAnyStory.settings = settings(max_examples=amount(25, 150), stateful_step_count=25)
