"""Windows in the guest, imitated by scapy: what it asks in its own way, and what it is told.

┌ pod ───────────────────────────────┐
│ k6t-eth0 ── tap0 ── vmnet-server   │
│               └──── a raw tap, held as the guest's driver holds it: every frame is the test's
└────────────────────────────────────┘
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scapy.layers.dhcp import BOOTP
from scapy.layers.inet import IP

from testbed.eavesdrop import KINDS
from testbed.facts import GuestFacts, differences
from testbed.windows import EVERYBODY, NO_ADDRESS, REQUEST_LIST, Windows, options, told

if TYPE_CHECKING:
    from scapy.layers.l2 import Ether

    from testbed.agent import Agent
    from testbed.pods import Pod
    from testbed.tap_guest import RawTap

OTHER_ADDRESS = "10.99.0.1"
BROADCAST_MAC = "ff:ff:ff:ff:ff:ff"
LEAVES_OUT = (31, 33, 43, 44, 46, 47, 252)
"""What it asks for and a pod does not have."""


@pytest.fixture
def windows(ready_pod: Pod, raw_tap: RawTap) -> Windows:
    return Windows(raw_tap, ready_pod.mac)


@pytest.mark.parametrize("layout", ["bridge", "calico", "cilium"])
def test_windows_leases(ready_pod: Pod, before: GuestFacts, windows: Windows, agent: Agent) -> None:
    """Broadcast, as it asked; in the order of its list; the routes under both of their numbers."""
    offer = windows.discover()
    answer = windows.request(offer[BOOTP].yiaddr, offer[IP].src)

    assert differences(before, told(answer, ready_pod.mac)) == ""
    assert told(answer, ready_pod.mac).lease_time == 86400
    assert (answer.dst, answer[IP].dst) == (BROADCAST_MAC, EVERYBODY)
    found = options(answer)
    assert found[249] == found[121]
    asked = [code for code in REQUEST_LIST if code not in LEAVES_OUT]
    assert [code for code in found if code in REQUEST_LIST] == asked
    assert agent.status()["server"]["lease"] == "bound"


def test_windows_comes_back_with_the_address_it_had(ready_pod: Pod, before: GuestFacts, windows: Windows) -> None:
    answer = windows.reboot(ready_pod.address)

    assert message_type(answer) == "ACK"
    assert differences(before, told(answer, ready_pod.mac)) == ""


def test_windows_comes_back_with_an_address_of_yesterday(ready_pod: Pod, windows: Windows) -> None:
    refusal = windows.reboot(OTHER_ADDRESS)

    assert message_type(refusal) == "NAK"
    assert (refusal[IP].dst, refusal[BOOTP].yiaddr) == (EVERYBODY, NO_ADDRESS)
    assert windows.discover()[BOOTP].yiaddr == ready_pod.address


def test_windows_asks_for_more(ready_pod: Pod, before: GuestFacts, windows: Windows, agent: Agent) -> None:
    """INFORM: the answer goes to the address it has, and leases nothing."""
    answer = windows.inform(ready_pod.address)

    assert (answer.dst, answer[IP].dst, answer[BOOTP].yiaddr) == (ready_pod.mac, ready_pod.address, NO_ADDRESS)
    assert not options(answer).keys() & {51, 58, 59}
    answer[BOOTP].yiaddr = ready_pod.address
    assert differences(before, told(answer, ready_pod.mac)) == ""
    assert agent.status()["server"]["lease"] == "silent"


def test_windows_finds_its_address_in_use(ready_pod: Pod, windows: Windows, agent: Agent) -> None:
    """DECLINE: told loudly, and the address is offered again, since there is no other."""
    offer = windows.discover()
    windows.request(offer[BOOTP].yiaddr, offer[IP].src)
    windows.decline(ready_pod.address, offer[IP].src)
    again = windows.discover()

    assert again[BOOTP].yiaddr == ready_pod.address
    assert agent.status()["server"]["events"]["decline"] == 1
    [log] = agent.logs()
    assert any('"event":"decline"' in line and '"level":"error"' in line for line in log.read_text().splitlines())


def message_type(answer: Ether) -> str:
    return KINDS[options(answer)[53][0]]
