"""`vmnet wait`: look until something has come, and where it does not, say why."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vmnet.agent.place import at
from vmnet.diagnosis import reach
from vmnet.diagnosis.causes import cause
from vmnet.diagnosis.goals import REACHABLE, Way, is_reached
from vmnet.diagnosis.live import News
from vmnet.diagnosis.sight import NAMES, look
from vmnet.kernel import firewall, inspect
from vmnet.kernel.tap_holders import tap_holders
from vmnet.server.lease_state import STATIC
from vmnet.settings.advice import at_this_place, place_flags
from vmnet.show.outline import Node
from vmnet.show.units import span

if TYPE_CHECKING:
    from vmnet.diagnosis.causes import Cause
    from vmnet.diagnosis.sight import Sight
    from vmnet.settings.config import Config

SCHEMA = 1
DEFAULT_SECONDS = 60.0
_LOOK_AGAIN = 0.5
"""Seconds between two looks where the server logs nothing: counters and links are nobody's to log."""
_ANSWER_SECONDS = 0.5
"""How long the guest may take to answer; Linux waits a second (RFC 4861 §10, RETRANS_TIMER)."""

_SHOWN = {"iptables": ("ip", "inet"), "ip6tables": ("ip6", "inet")}
"""Which chains br_netfilter shows bridged packets to, by its switches."""


@dataclass(frozen=True, slots=True)
class Waited:
    """What became of the wait."""

    goal: str
    seconds: float
    sight: Sight
    way: Way
    cause: Cause | None
    """Why it did not come; None where it did."""


def wait(config: Config, goal: str, seconds: float) -> Waited:
    """Wait until it has come, at most so long.

    Raises:
        UsageError: there is no such namespace.
        RefusedError: several bindings are meant, or this is the host's own namespace.
        KernelError: the kernel cannot be asked, or the guest for want of CAP_NET_RAW.
    """
    began = time.monotonic()
    with at(config) as place, contextlib.closing(News()) as news:
        while True:
            sight = look(place, config)
            way = _way(sight) if goal == REACHABLE else Way()
            passed = time.monotonic() - began
            if is_reached(goal, sight, way):
                return Waited(goal, passed, sight, way, None)
            if passed >= seconds:
                why = cause(goal, sight, replace(way, holders=tap_holders()))
                remedy = at_this_place(why.remedy, place_flags(config))
                return Waited(goal, passed, sight, way, replace(why, remedy=remedy))
            news.wait(place, (sight,), min(_LOOK_AGAIN, seconds - passed))


def _way(sight: Sight) -> Way:
    """Ask the guest itself, and see what stands between it and the pod network."""
    journal = sight.report.journal
    if journal is None:
        return Way()
    asked = reach.questions(sight)
    answers = reach.ask(journal.settings.tap, asked, _ANSWER_SECONDS)
    calls = inspect.bridge_calls()
    chains = (firewall.read_bridged_chains() or ()) if calls else ()
    dropping = [chain for chain in chains if chain.policy == "drop"]
    blocking = {
        name: tuple(chain for chain in dropping if name in calls and chain.family in families)
        for name, families in _SHOWN.items()
    }
    return Way(asked, answers, blocking["iptables"], blocking["ip6tables"])


def value(waited: Waited) -> dict[str, Any]:
    """Return it as JSON has it."""
    why = waited.cause
    return {
        "schema": SCHEMA,
        "goal": waited.goal,
        "reached": why is None,
        "waited_seconds": round(waited.seconds, 3),
        "families": {family.name: family.state for family in waited.sight.families},
        "answered": dict(waited.way.answers),
        "cause": why
        and {"word": why.word, "what": why.what, "evidence": list(why.evidence), "remedy": why.remedy},
    }


def outline(waited: Waited) -> tuple[Node, ...]:
    """Return it as people read it."""
    why = waited.cause
    if why is None:
        states = ", ".join(f"{NAMES[family.name]} {_state(family.state)}" for family in waited.sight.families)
        answers = "".join(f", {mac} answers for {address}" for address, mac in waited.way.answers.items())
        return (Node(f"{waited.goal} after {span(waited.seconds)}: {states}{answers}", "good"),)
    details = (
        *(Node(f"seen: {line}", "dim") for line in why.evidence),
        Node(f"do: {why.remedy}"),
        Node(f"see: docs/watching.md#{why.word}", "dim"),
    )
    return (Node(f"not {waited.goal} after {span(waited.seconds)}: {why.word}: {why.what}", "bad", details),)


def _state(state: str) -> str:
    return f"{state} (it uses its address and has not asked for it)" if state == STATIC else state
