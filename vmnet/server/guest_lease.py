"""How far the guest has come with its lease of one family: counters, state, and what is told of it."""

from __future__ import annotations

from vmnet import lease_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from vmnet.server.json_text import Json
    from vmnet.server.log import Log

_LEVELS = {lease_state.ASKED: "warning", lease_state.DECLINED: "error"}


class GuestLease:
    """Fed with events; tells of each that changes the state, in the family's own sentences."""

    __slots__ = ("_after", "_clock", "_log", "_sentences", "_since", "events", "state")

    def __init__(
        self,
        after: Callable[[str, str], str],
        sentences: dict[str, str],
        log: Log,
        clock: Callable[[], float],
    ) -> None:
        self._after = after
        self._sentences = sentences
        self._log = log
        self._clock = clock
        self._since = clock()
        self.state = lease_state.SILENT
        self.events: dict[str, int] = {}

    def happened(self, event: str, **facts: Json) -> None:
        """Count the event, and tell of it with these facts where it changes the state."""
        self.events[event] = self.events.get(event, 0) + 1
        state = self._after(self.state, event)
        if state != self.state:
            self.state = state
            self._since = self._clock()
            self._log(_LEVELS.get(state, "info"), event, self._sentences[event], lease=state, **facts)

    def seconds(self) -> float:
        """How long it has been in this state."""
        return self._clock() - self._since
