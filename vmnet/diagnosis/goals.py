"""What can be waited for, and whether it has come. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vmnet.server.lease_state import ASKED, DECLINED, HOLDING, OFFERED, RELEASED, STATIC

if TYPE_CHECKING:
    from vmnet.diagnosis.reach import Question
    from vmnet.diagnosis.sight import Sight
    from vmnet.model.links import FilterChain, Holder

READY, ASKED_FOR, BOUND_TO, REACHABLE = GOALS = ("ready", "asked", "bound", "reachable")
"""The binding stands and the server serves; the guest has asked; it has its address; it answers for it."""
HERE = (*HOLDING, STATIC)
"""The states of a guest that has its address."""


@dataclass(frozen=True, slots=True)
class Way:
    """What was asked of the guest itself, and what stands in between."""

    asked: tuple[Question, ...] = ()
    answers: dict[str, str] = field(default_factory=dict)
    """The MAC that answered for each address."""
    blocking4: tuple[FilterChain, ...] = ()
    """Chains that are asked about bridged IPv4, and drop what they do not name."""
    blocking6: tuple[FilterChain, ...] = ()
    holders: tuple[Holder, ...] = ()
    """Who has a tap open, or had one that is gone; looked for where nobody has ours."""


def is_reached(goal: str, sight: Sight, way: Way) -> bool:
    """Whether what is waited for has come, for any family that the guest is told of."""
    served = sight.server is not None and sight.server.serves
    states = [family.state for family in sight.families]
    if goal == READY:
        return served and sight.state == "up"
    if goal == REACHABLE:
        return any(reachable(way, question.address, sight) for question in way.asked)
    wanted = HERE if goal == BOUND_TO else (*HERE, OFFERED, ASKED, RELEASED, DECLINED)
    return any(state in wanted for state in states)


def reachable(way: Way, address: str, sight: Sight) -> bool:
    """Whether the VM itself answers for the address, and nothing that is known of drops its frames."""
    journal = sight.report.journal
    return journal is not None and way.answers.get(address) == journal.vm_mac and not blocked(way, address)


def blocked(way: Way, address: str) -> tuple[FilterChain, ...]:
    """The chains that stand in the way of that address's family."""
    return way.blocking6 if ":" in address else way.blocking4
