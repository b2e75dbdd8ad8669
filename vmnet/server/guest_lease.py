"""How far the guest has come with its lease of one family: what it said, what it does, and what is told of it."""

from __future__ import annotations

from vmnet.server.lease_state import ASKED, DECLINED, FOREIGN_ADDRESS, RELEASED, SILENT, SPOKEN, STATIC
from vmnet.server.witness import NEVER, Use

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from vmnet.server.json_text import Json
    from vmnet.server.log import Log
    from vmnet.server.witness import Prefixes

_LEVELS = {ASKED: "warning", FOREIGN_ADDRESS: "warning", DECLINED: "error"}
_SEEN = {
    STATIC: "the guest uses its address and has not asked for it: it was set up by hand",
    FOREIGN_ADDRESS: "the guest uses an address that is not its: what the pod network sends will not reach it",
}
_LATE = 0.5
"""Seconds. What the guest does is looked at every 0.2 s (vmnet.server.loop): what it said since may be newer."""
GUEST_GONE = "guest-gone"
_AGAIN = "the guest uses its own address again"


class GuestLease:
    """Fed with events and with addresses in use; tells of what changes the state, in the family's own sentences.

    A server that follows another one is told by `before` how the guest stood then: it need not ask again for days.
    """

    __slots__ = (
        *("_after", "_clock", "_family", "_last", "_log", "_sentences", "_spoken", "_spoken_at"),
        *("events", "reached", "since", "state", "use"),
    )

    def __init__(
        self,
        family: str,
        after: Callable[[str, str], str],
        sentences: dict[str, str],
        log: Log,
        clock: Callable[[], float],
    ) -> None:
        self._family = family
        self._after = after
        self._sentences = sentences
        self._log = log
        self._clock = clock
        self._spoken = self.state = SILENT
        self._spoken_at, self.since = NEVER, clock()
        self._last = ""
        """The last event that could change the state."""
        self.reached: dict[str, float] = {}
        """When each state was reached last, by the clock."""
        self.events: dict[str, int] = {}
        self.use = Use(clock)

    def remember(self, before: str) -> None:
        """Begin with the state in which the guest was when the last server ended."""
        if before in SPOKEN:
            self._spoken = self.state = before

    def begin_anew(self) -> None:
        """Forget the guest, since another one comes."""
        self._last = ""
        self._spoken, self._spoken_at = SILENT, NEVER
        self.use = Use(self._clock)
        self._moved(GUEST_GONE, "QEMU has closed the tap: the guest that comes next has to ask anew")
        self.reached.clear()

    def happened(self, event: str) -> bool:
        """Count the event; return whether it changes the state, which is then to be told by `tell`."""
        events = self.events
        events[event] = events.get(event, 0) + 1
        if event == self._last and self._spoken == self.state:
            self._spoken_at = self._clock()
            return False  # as nearly all are in a flood
        if event not in self._sentences:
            return False
        self._last = event
        self._spoken_at = self._clock()
        self._spoken = self._after(self._spoken, event)
        return self._spoken != self.state

    def tell(self, event: str, **facts: Json) -> None:
        """Tell of the event that has changed the state, with these facts."""
        self._moved(event, self._sentences[event], **facts)

    def saw(self, address: bytes, prefixes: Prefixes, text: Callable[[bytes], str]) -> None:
        """Take notice of an address that the guest uses."""
        self.use.seen(address, prefixes)
        state = self._truth()
        own = text(self.use.own) if self.use.own else ""
        self._moved(state, _SEEN.get(state, _AGAIN), address=text(address), own=own)

    def seconds(self) -> float:
        """How long it has been in this state."""
        return self._clock() - self.since

    def report(self, began: float, text: Callable[[bytes], str]) -> dict[str, Json]:
        """What `vmnet status` shows; moments are seconds after `began`."""
        use = self.use
        return {
            "lease": self.state,
            "lease_seconds": self.seconds(),
            "reached": {state: at - began for state, at in self.reached.items()},
            "uses": text(use.own) if use.own else "",
            "uses_foreign": text(use.foreign) if use.foreign else "",
            "events": self.events,
        }

    def _truth(self) -> str:
        """What it does counts where it is later than what it said."""
        use, surely_later = self.use, self._spoken_at + _LATE
        if use.foreign_at > max(use.own_at, surely_later):
            return FOREIGN_ADDRESS
        if use.own_at > surely_later and self._spoken in (SILENT, ASKED, RELEASED):
            return STATIC
        return self._spoken

    def _moved(self, event: str, sentence: str, **facts: Json) -> None:
        state = self._truth()
        if state == self.state:
            return
        self.state = state
        self.since = self.reached[state] = self._clock()
        level = _LEVELS.get(state, "info")
        self._log(level, event, sentence, family=self._family, lease=state, **facts)
