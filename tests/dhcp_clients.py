"""What each DHCP client asks for, sends of itself and uses: tests/data/dhcp-clients.json, and how it shows.

That file is of Debian 12's clients; those that ask otherwise in a later release stand in a file of that release.
"""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass, replace
from ipaddress import ip_interface
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.agent import HOSTNAME
from testbed.facts import DEFAULT, GuestFacts, RouteFact, differences

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from testbed.eavesdrop import Message

DATA = Path(__file__).parent / "data"


def of_release(codename: str) -> dict[str, dict[str, list[int]]]:
    """The clients of a Debian release."""
    names = ("dhcp-clients.json", f"dhcp-clients-{codename}.json")
    found = [json.loads((DATA / name).read_text(encoding="ascii")) for name in names if (DATA / name).exists()]
    return {client: options for clients in found for client, options in clients.items()}


CLIENTS = of_release(platform.freedesktop_os_release().get("VERSION_CODENAME", ""))


@dataclass(frozen=True, slots=True)
class Before:
    """What a pod had before it was handed over."""

    facts: GuestFacts
    broadcast: str = ""


@dataclass(frozen=True, slots=True)
class Leased:
    """What a guest has after its client leased, and the first message and the last answer."""

    facts: GuestFacts
    asked: Message
    answered: Message
    broadcast: str | None = None
    """None where it was not looked at."""


def tellable(client: str, before: GuestFacts) -> GuestFacts:
    """What of the pod's facts a client can be told: one that does not know all the options gets by with others."""
    used = CLIENTS[client]["uses"]
    if 119 not in used:  # the domain name is the first of the search list
        before = replace(before, search=before.search[:1])
    if 121 not in used and before.prefixlen < 32:  # who has a subnet takes all of it for a neighbour
        subnet = str(ip_interface(f"{before.address}/{before.prefixlen}").network)
        ways = (RouteFact(subnet), RouteFact(f"{before.gateway}/32"), RouteFact(DEFAULT, before.gateway))
        before = replace(before, routes=ways)
    return before


SHOWS: dict[int, Callable[[Before, Leased], bool]] = {
    1: lambda mine, got: got.facts.prefixlen == mine.facts.prefixlen,
    3: lambda mine, got: got.facts.gateway == mine.facts.gateway,
    6: lambda mine, got: got.facts.nameservers == mine.facts.nameservers,
    12: lambda _mine, got: got.facts.hostname.partition(".")[0] == HOSTNAME,
    15: lambda mine, got: got.facts.search == mine.facts.search[:1],
    26: lambda mine, got: got.facts.mtu == mine.facts.mtu,
    28: lambda mine, got: got.broadcast is not None and mine.broadcast in ("", got.broadcast),
    51: lambda _mine, got: got.facts.lease_time == 86400,
    80: lambda _mine, got: 80 in got.answered.options,
    119: lambda mine, got: got.facts.search == mine.facts.search,
    121: lambda mine, got: "route:" not in differences(mine.facts, got.facts),
}
"""How it shows in a guest that an option was used."""
UNASKED = (51, 80)
"""What is told without being on the request list."""


def options(before: Mapping[str, Before], found: Mapping[str, Leased]) -> dict[str, list[int]]:
    """Which options a client asked for, which it sent, and which it used in every layout, as far as it shows."""
    asked = found["bridge"].asked.options
    uses = [
        code
        for code, shows in SHOWS.items()
        if (code in asked[55] or code in UNASKED) and all(shows(before[at], got) for at, got in found.items())
    ]
    if 121 in uses:
        uses.remove(3)  # RFC 3442: who knows 121 must not look at 3, and it says the same
    return {"asks": list(asked[55]), "sends": sorted(asked.keys() - {53, 55}), "uses": uses}
