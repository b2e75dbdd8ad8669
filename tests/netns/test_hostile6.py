"""The hostile frames of the IPv6 rooms' tests, each through the real server: the same server serves on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from testbed.agent import lives
from tests import figures
from tests.netns.raw_client import Served, served
from tests.netns.raw_client6 import RawClient6
from tests.testlib.ipv6.discovery import VM, VM_MAC
from tests.testlib.ipv6.vectors import VECTORS as DHCPV6
from tests.unit.server.ipv6.test_neighbour import HOSTILE as DISCOVERY

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
NO_FRAME = "no octet"
"""The tap takes none that is shorter than its Ethernet header."""
HOSTILE = {**{f"ND: {name}": of for name, of in DISCOVERY.items()}, **DHCPV6}
del HOSTILE[NO_FRAME]
KERNEL = {
    "ND: a neighbour's without its target",
    "ND: a target cut off",
    "ND: a group as the target",
    "ND: a router's advertisement",
    "ND: a neighbour's advertisement",
    "ND: a redirect",
    "ND: an echo request",
    "ND: UDP",
    "ND: a first fragment",
    "ND: a fragment that is whole",
    "ND: behind hop-by-hop options",
    "ND: a VLAN's tag",
    "cut within the IPv6 header",
    "a fragment",
    "hop-by-hop options",
    "to the client's port",
}
"""These the server's filter leaves in the kernel."""
EXCHANGE = {"advertise": 1, "reply_request": 1}
OWN_AFFAIRS = {"router_advertisement", "gateway_found", "gateway_moved"}
"""What the server counts without being asked."""


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for all of them, whose VM has the MAC that is in the frames."""
    with served(tmp_path_factory.mktemp("hostile6"), "bridge-dual", VM) as made:
        yield made


@pytest.fixture(scope="module")
def client(mine: Served) -> RawClient6:
    """The VM's DHCPv6 client, which has leased once."""
    made = RawClient6(mine.client.tap, VM_MAC)
    made.exchange()
    return made


@pytest.mark.parametrize("name", HOSTILE)
def test_the_same_server_serves_the_next_exchange(name: str, mine: Served, client: RawClient6) -> None:
    frame, becomes = HOSTILE[name]
    before = _counted(mine)
    mine.client.tap.send(frame)
    figures.tell("the next exchange", client.exchange(), "s", at_most=1)
    after = _counted(mine)

    news = {word: count - before.get(word, 0) for word, count in after.items() if count != before.get(word, 0)}
    more = {} if name in KERNEL else {becomes: EXCHANGE.get(becomes, 0) + 1}
    assert news == {**EXCHANGE, **more}


def _counted(mine: Served) -> dict[str, int]:
    """Frames of IPv6 by what became of them, also those that were ignored."""
    said: dict[str, Any] = mine.report()
    return {
        word: count
        for word, count in (said["ignored"] | said["ipv6"]["events"]).items()
        if word not in OWN_AFFAIRS
    }


def test_it_is_still_the_same_server_and_has_not_grown(mine: Served, client: RawClient6) -> None:
    resident = mine.memory()
    for frame, _ in HOSTILE.values():
        mine.client.tap.send(frame)
        mine.client.tap.take(0.001)
    client.exchange()

    assert lives(mine.server)
    assert mine.report()["pid"] == mine.server
    assert mine.report()["errors"] == {}
    assert mine.memory() - resident <= MIB
