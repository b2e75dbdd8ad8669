"""One step of a plan."""

from __future__ import annotations

from dataclasses import dataclass

from vmnet.model.links import LinkEntry, LinkSpec, Ruleset, describe


@dataclass(frozen=True, slots=True)
class CreateLink:
    """Make this link. Everything of the spec that is not given at creation follows as an `AlterLink`."""

    link: LinkSpec

    def __str__(self) -> str:
        return f"create {self.link.kind} {self.link.ifname}"


@dataclass(frozen=True, slots=True)
class DeleteLink:
    """Remove this link; the kernel removes all that stands on it."""

    ifname: str
    ifindex: int

    def __str__(self) -> str:
        return f"delete link {self.ifname}"


@dataclass(frozen=True, slots=True)
class AlterLink:
    """Set these properties (`LinkSpec` field and value) of the link that is called `ifname` at this point."""

    ifname: str
    values: tuple[tuple[str, int | str], ...]

    def __str__(self) -> str:
        return f"set {self.ifname} " + " ".join(f"{field}={value!s}" for field, value in self.values)


@dataclass(frozen=True, slots=True)
class AddEntry:
    """Put this address, route, neighbour or forwarding entry on its link."""

    entry: LinkEntry

    def __str__(self) -> str:
        return f"add {describe(self.entry)}"


@dataclass(frozen=True, slots=True)
class DeleteEntry:
    """Take this address, route, neighbour or forwarding entry off its link."""

    entry: LinkEntry

    def __str__(self) -> str:
        return f"delete {describe(self.entry)}"


@dataclass(frozen=True, slots=True)
class LoadRules:
    """Load the first of these rulesets that the kernel takes, in one transaction with the end of what stands."""

    table: str
    rulesets: tuple[Ruleset, ...]
    standing: tuple[str, ...]
    """The families in which a table of that name stands."""

    def __str__(self) -> str:
        return f"load the isolation rules of table {self.table}"


@dataclass(frozen=True, slots=True)
class DeleteRules:
    """Remove the tables of that name in these families."""

    table: str
    families: tuple[str, ...]

    def __str__(self) -> str:
        return f"delete the isolation rules of table {self.table}"


@dataclass(frozen=True, slots=True)
class DeleteCheck:
    """Take our program off the link's ingress, and the place that it hung on with it unless that is the pod's."""

    ifname: str
    keep_place: bool = False

    def __str__(self) -> str:
        return f"delete the check of unfinished frames on {self.ifname}"


Change = CreateLink | DeleteLink | AlterLink | AddEntry | DeleteEntry | LoadRules | DeleteRules | DeleteCheck
"""One step of a plan: one call to the kernel, that it accepts or refuses as a whole."""
