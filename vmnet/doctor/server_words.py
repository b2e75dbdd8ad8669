"""The server's own words, as far as the checks ask. A guest may have taken it over: nothing in them is trusted."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from vmnet.lease_state import FOREIGN_ADDRESS

_LONGEST_SECONDS = 1e10
"""Three hundred years."""


@dataclass(frozen=True, slots=True)
class SilentGateway:
    """An IPv6 gateway that has not answered, and the router that the server plays for it."""

    gateway: str
    router: str
    seconds: float = 0.0
    """For how long the guest has asked in vain; 0 where the gateway's MAC was never known."""


@dataclass(frozen=True, slots=True)
class Server:
    """What a server says of itself and the guest; what it does not say, or not as it should, is left out."""

    state: str = ""
    """What it is at (vmnet.server_state); empty where nobody says anything."""
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


def understand(answer: bytes) -> Server:
    """Read one line of JSON that a server has said."""
    said = _object(json.loads(answer))
    sandbox, ipv6 = _object(said.get("sandbox")), _object(said.get("ipv6"))
    return Server(
        state=str(said.get("state", "")),
        lease=str(said.get("lease", "")),
        lease_seconds=_number(said.get("lease_seconds")),
        events=_counts(said.get("events")),
        ignored=_counts(said.get("ignored")),
        foreign_macs=tuple(map(str, _list(said.get("foreign_macs")))),
        foreign_addresses=tuple(
            str(family.get("uses_foreign", ""))
            for family in (said, ipv6)
            if family.get("lease") == FOREIGN_ADDRESS
        ),
        sandboxed=sandbox.get("on") is not False,
        missed={stage: str(reason) for stage, reason in _object(sandbox.get("missed")).items()},
        silent_gateways=tuple(
            SilentGateway(
                str(router["gateway"]), str(router.get("address", "")), _number(router.get("silent_seconds"))
            )
            for router in map(_object, _list(ipv6.get("routers")))
            if router.get("gateway") and (not router.get("mac") or _number(router.get("silent_seconds")))
        ),
    )


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and abs(value) < _LONGEST_SECONDS else 0.0


def _counts(value: object) -> dict[str, int]:
    return {name: count for name, count in _object(value).items() if isinstance(count, int)}
