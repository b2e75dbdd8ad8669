"""What there is to see of a binding at one moment: gathered by `look`, which only reads; plain values after."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from vmnet.bindings.names import bridge_name, nic_name
from vmnet.bindings.whose import bound_elsewhere
from vmnet.control.report import FamilyReport
from vmnet.diagnosis import standing
from vmnet.kernel import inspect
from vmnet.model.left_out import DHCPV4, DHCPV6, sentences
from vmnet.server.lease_state import SILENT
from vmnet.settings.advice import at_this_place, place_flags

if TYPE_CHECKING:
    from vmnet.agent.place import Place
    from vmnet.control.report import ServerReport
    from vmnet.diagnosis.standing import Report
    from vmnet.kernel.inspect import LinkState
    from vmnet.model.links import Link
    from vmnet.settings.config import Config

UNKNOWN = "unknown"
"""The state of a guest whose server does not answer."""
IPV4, IPV6 = "ipv4", "ipv6"
NAMES = {IPV4: "IPv4", IPV6: "IPv6"}


@dataclass(frozen=True, slots=True)
class Family:
    """How the guest stands with one family of what it is told."""

    name: str
    told: tuple[str, ...]
    """The addresses that are the guest's, of IPv4 with the length of the prefix."""
    served: bool = True
    """Whether vmnet answers its DHCP."""
    state: str = SILENT
    seconds: float | None = None
    """How long it has been in that state."""
    reached: tuple[tuple[str, float], ...] = ()
    """When each state was reached last, in seconds after READY, the earliest first."""
    uses: str = ""
    """The own address that it was seen to use last, and the foreign one; empty for none."""
    uses_foreign: str = ""
    events: dict[str, int] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    """In words, what the last reply with its lease had no room for."""


@dataclass(frozen=True, slots=True)
class Sight:
    """A binding, and the links that it is made of."""

    report: Report
    links: tuple[LinkState, ...] = ()
    flags: tuple[str, ...] = ()
    """What a command of vmnet needs to be about this binding."""

    @property
    def drift(self) -> tuple[str, ...]:
        """What is not as it shall be, with commands that can be typed here."""
        return tuple(at_this_place(text, self.flags) for text in self.report.drift)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What else is to be said, with commands that can be typed here."""
        return tuple(at_this_place(text, self.flags) for text in self.report.warnings)

    @property
    def server(self) -> ServerReport | None:
        """What its server says; None where none answers."""
        return self.report.server

    @property
    def state(self) -> str:
        """`down`, `up`, or `drift` where something is not as it shall be."""
        if self.report.journal is None:
            return "down"
        return "drift" if self.report.drift else "up"

    def link(self, ifname: str) -> Link | None:
        """The link of that name, if there is one."""
        return self.report.now.link(ifname)

    def link_state(self, ifname: str) -> LinkState | None:
        """How it is doing."""
        return next((state for state in self.links if state.ifname == ifname), None)

    @property
    def ifname(self) -> str:
        """The pod interface; empty where nothing is bound."""
        return self.report.journal.pod.ifname if self.report.journal else ""

    @property
    def elsewhere(self) -> tuple[str, ...]:
        """In words, what is bound here and not by a binding that is known; looked for where none is."""
        found = () if self.report.journal else bound_elsewhere(self.report.now)
        return tuple(one.what for one in found)

    @property
    def families(self) -> tuple[Family, ...]:
        """How the guest stands, by each family that it is told of."""
        journal = self.report.journal
        if journal is None:
            return ()
        said = self.server
        found = []
        if journal.lease:
            own = f"{journal.lease.yiaddr}/{journal.lease.prefixlen}"
            found.append(_family(IPV4, (own,), said.ipv4 if said else None, served=journal.lease.served))
        if journal.lease6:
            told = tuple(leased.address for leased in journal.lease6.addresses)
            # While it compiles, it says nothing of IPv6.
            ipv6 = (said.ipv6 or FamilyReport(SILENT)) if said else None
            found.append(_family(IPV6, told, ipv6, served=journal.lease6.served))
        return tuple(found)


def ours(ifname: str, tap: str) -> dict[str, str]:
    """The links of a binding by their parts in it, from the pod network to the guest."""
    return {"nic": nic_name(ifname), "bridge": bridge_name(ifname), "tap": tap, "stand_in": ifname}


def look(place: Place, config: Config) -> Sight:
    """See how things stand now.

    Raises:
        KernelError: the kernel cannot be asked.
        RefusedError: several bindings are meant.
    """
    return Sight(standing.report(place, config), inspect.link_states(place.netlink), place_flags(config))


def look_at_all(place: Place, config: Config) -> tuple[Sight, ...]:
    """See how each binding here stands, or the one that is named; one that is `down` where there is none.

    Raises:
        KernelError: the kernel cannot be asked.
        RefusedError: the journal of one of them cannot be trusted.
    """
    links = inspect.link_states(place.netlink)
    each = standing.reports(place, config)
    several = len(each) > 1
    return tuple(Sight(report, links, _flags(report, config, several=several)) for report in each)


def _flags(report: Report, config: Config, *, several: bool) -> tuple[str, ...]:
    if several and report.journal:
        return place_flags(replace(config, interface=report.journal.pod.ifname))
    return place_flags(config)


def _family(name: str, told: tuple[str, ...], said: FamilyReport | None, *, served: bool) -> Family:
    if said is None:
        return Family(name, told, served, UNKNOWN)
    return Family(
        *(name, told, served, said.lease, said.lease_seconds),
        reached=tuple(sorted(said.reached.items(), key=lambda state: state[1])),
        uses=said.uses,
        uses_foreign=said.uses_foreign,
        events=said.events,
        left_out=tuple(sentences(said.left_out, DHCPV4 if name == IPV4 else DHCPV6)),
    )
