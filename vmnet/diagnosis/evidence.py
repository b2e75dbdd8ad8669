"""What the checks look at, and what they say. Plain values: nothing here reads anything."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vmnet.diagnosis.server_words import Server
from vmnet.errors import RefusedError
from vmnet.model.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vmnet.domain.read import Domain
    from vmnet.kernel.inspect import LinkState, NeighbourState, Probed
    from vmnet.model.lease import Resolver
    from vmnet.model.links import FilterChain, Holder, Status
    from vmnet.saved.schema import Journal

INFO, WARNING, ERROR = SEVERITIES = ("info", "warning", "error")
"""Worth knowing; something does not work, or will not; nothing works."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What vmnet has to work with."""

    is_host: bool = False
    capabilities: int = (1 << 64) - 1
    """The effective ones, as bits."""
    tun: str = ""
    """Why no tap can be made; empty where one can."""
    tun_closed: str = ""
    """Why the tap's owner cannot open the device; empty where it can."""
    nft: bool = True
    """Whether the program is there."""
    sysctls_writable: bool = True
    state_directory: str = ""
    """Why nothing can be kept there; empty where it can."""
    node_signs: tuple[str, ...] = ()
    """What a node has and a pod has not."""


@dataclass(frozen=True, slots=True)
class Netfilter:
    """What stands between bridged frames and the rules for routed ones."""

    calls: tuple[str, ...] = ()
    """Whose rules br_netfilter shows them to: iptables, ip6tables, arptables."""
    chains: tuple[FilterChain, ...] | None = ()
    """The chains that are then asked; None where we may not look."""
    legacy: tuple[str, ...] = ()
    """Tables of the older iptables, whose rules are not read."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What only a server or a router says, heard from the pod network."""

    what: str
    """`DHCP`, `DHCPv6` or `router advertisement`."""
    mac: str
    address: str


@dataclass(frozen=True, slots=True)
class Left:
    """What is there and should be no more, or is no more and should be."""

    stale: tuple[str, ...] = ()
    """The paths of journals from before the last boot."""
    begun: str = ""
    """The path of a journal of which nothing stands."""
    lost: bool = False
    """Whether the binding's journal is gone: what is known of it, the note on the NIC says."""
    servers: tuple[str, ...] = ()
    """The interfaces that a server here serves, or believes to."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that was gathered. The defaults are those of a place where nothing is wrong, nor anything there."""

    status: Status
    interface: str = ""
    """The one that was asked for; empty for the usual one."""
    settings: Settings = field(default_factory=Settings)
    """What `up` was asked for; those of a binding are in its journal."""
    surroundings: Surroundings = Surroundings()
    link_states: tuple[LinkState, ...] = ()
    neighbours: tuple[NeighbourState, ...] = ()
    probed: tuple[Probed, ...] = ()
    netfilter: Netfilter = Netfilter()
    refusal: str = ""
    """Why `up` would be refused, in its own words."""
    bound: bool = False
    journal: Journal | None = None
    """Of the binding; where there is none, of what `up` would make. None where it would be refused."""
    drift: tuple[str, ...] = ()
    server: Server = field(default_factory=Server)
    server_trouble: str = ""
    """Why it does not serve; empty where it does."""
    conflict: str = ""
    """In words, that the guest has declined its address."""
    resolv_conf: str | None = None
    """What it says now; None where there is none."""
    resolver: Resolver | None = None
    """The same as read, or what stands behind the stub that it names; None for what `resolv_conf` says."""
    domain: Domain | None = None
    listened: float = 0.0
    """Seconds."""
    heard: tuple[Heard, ...] = ()
    left: Left = Left()
    tap: str = ""
    """The name that the tap was asked to have; empty where nobody cares."""
    flags: tuple[str, ...] = ()
    """What names this place on the command line."""
    begun: tuple[str, ...] = ()
    """The interfaces that are bound here, also those whose facts cannot be read."""
    taken: dict[str, str] = field(default_factory=dict)
    """Of each name that their links have, whose it is."""
    holders: tuple[Holder, ...] = ()

    def link_state(self, ifname: str) -> LinkState | None:
        """How the link of that name is doing, if there is one."""
        return next((state for state in self.link_states if state.ifname == ifname), None)

    @property
    def known(self) -> frozenset[str]:
        """The interfaces that are bound here, this one included."""
        return frozenset((*self.begun, *((self.journal.pod.ifname,) if self.bound and self.journal else ())))

    @property
    def told_settings(self) -> Settings:
        """The settings that count: the binding's, else those that were asked for."""
        return self.journal.settings if self.journal else self.settings


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has found: what it is, what it was seen by, and what to do."""

    severity: str
    what: str
    evidence: tuple[str, ...]
    remedy: str
    code: str = ""
    """Of the check, which the table knows."""


def refused(call: Callable[[], object], seen: tuple[str, ...]) -> Iterator[Finding]:
    """Make a finding of a refusal of `up`: its text is the cause, then the remedy."""
    try:
        call()
    except RefusedError as error:
        cause, _, remedy = str(error).partition("; ")
        yield Finding(ERROR, cause, seen, remedy)


ALWAYS, BEFORE, BOUND = "always", "before", "bound"
"""When a check applies: at any time, before `up`, while a binding is there."""
SERVED, WITH_DOMAIN = "served", "with a domain"
"""While the binding's server serves, and can be asked; where a domain was named."""


@dataclass(frozen=True, slots=True)
class Check:
    """A check: its code, what is well where it finds nothing, when it applies, and how it looks."""

    code: str
    title: str
    when: str
    look: Callable[[Evidence], Iterator[Finding]]

    @property
    def page(self) -> str:
        """Where it is explained."""
        return f"docs/doctor.md#{self.code.lower()}"

    def applies(self, evidence: Evidence) -> bool:
        """Whether there is something to look at."""
        times = {
            ALWAYS: True,
            BEFORE: not evidence.bound,
            BOUND: evidence.bound,
            SERVED: evidence.bound and bool(evidence.server.state) and not evidence.server_trouble,
            WITH_DOMAIN: evidence.domain is not None,
        }
        return times[self.when]
