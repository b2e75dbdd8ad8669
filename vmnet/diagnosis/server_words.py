"""What a server reports, as far as the checks ask."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vmnet.model.left_out import DHCPV4, DHCPV6, sentences
from vmnet.server.lease_state import FOREIGN_ADDRESS

if TYPE_CHECKING:
    from vmnet.control.report import ServerReport


@dataclass(frozen=True, slots=True)
class SilentGateway:
    """An IPv6 gateway that has not answered, and the router that the server plays for it."""

    gateway: str
    router: str
    seconds: float = 0.0
    """For how long the guest has asked in vain; 0 where the gateway's MAC was never known."""


@dataclass(frozen=True, slots=True)
class Server:
    """What a server says of itself and the guest; nothing of what it does not say."""

    state: str = ""
    """What it is at (vmnet.server.state); empty where nobody says anything."""
    lease: str = ""
    """The state of the IPv4 lease."""
    lease_seconds: float = 0.0
    events: dict[str, int] = field(default_factory=dict)
    ignored: dict[str, int] = field(default_factory=dict)
    """Frames of the guest, by the reason."""
    foreign_macs: tuple[str, ...] = ()
    """Who else has asked on the tap."""
    foreign_addresses: tuple[str, ...] = ()
    """What the guest uses in the place of its own address, one of each family at most."""
    sandboxed: bool = True
    missed: dict[str, str] = field(default_factory=dict)
    """The stages of the sandbox that were not reached, and why."""
    silent_gateways: tuple[SilentGateway, ...] = ()
    left_out: tuple[str, ...] = ()
    """In words, what the last replies had no room for."""


def understand(report: ServerReport | None) -> Server:
    """Take of a report what the checks ask; nothing where there is none."""
    if report is None:
        return Server()
    sandbox, routers = report.sandbox, report.ipv6.routers if report.ipv6 else ()
    return Server(
        state=report.state,
        lease=report.ipv4.lease,
        lease_seconds=report.ipv4.lease_seconds or 0.0,
        events=report.ipv4.events,
        ignored=report.ignored,
        foreign_macs=report.foreign_macs,
        foreign_addresses=tuple(
            family.uses_foreign for family in report.families if family.lease == FOREIGN_ADDRESS
        ),
        sandboxed=sandbox is None or sandbox.on,
        missed=sandbox.missed if sandbox else {},
        silent_gateways=tuple(
            SilentGateway(router.gateway, router.address, router.silent_seconds or 0.0)
            for router in routers
            if router.gateway and (not router.mac or router.silent_seconds)
        ),
        left_out=(
            *sentences(report.ipv4.left_out, DHCPV4),
            *sentences(report.ipv6.left_out if report.ipv6 else {}, DHCPV6),
        ),
    )
