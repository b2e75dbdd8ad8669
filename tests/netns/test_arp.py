"""The guest's ARP for what answers none by itself: the server identifier, and a gateway of a permanent entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scapy.layers.l2 import ARP, Ether

from testbed import clients
from testbed.netns import TestbedError, kill
from testbed.pods import must_answer
from testbed.tap_guest import raw_tap

if TYPE_CHECKING:
    from collections.abc import Callable

    from testbed.agent import Agent
    from testbed.pods import Pod
    from testbed.tap_guest import RawTap, TapGuest

SERVER_ID, SERVER_MAC = "169.254.75.10", "02:76:6d:6e:65:74"
GATEWAY_MAC = "1e:8a:53:c2:07:44"


def question(pod: Pod, target: str) -> bytes:
    """The guest's request for an address."""
    layers = Ether(src=pod.mac, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=pod.mac, psrc=pod.address, pdst=target)
    return bytes(layers)


def is_reply(target: str) -> Callable[[bytes], bool]:
    """Whether a frame says where `target` is."""
    return lambda frame: (packet := Ether(frame)).haslayer(ARP) and packet[ARP].op == 2 and packet.psrc == target


def answered(tap: RawTap, pod: Pod, target: str) -> str:
    """The MAC that the guest is told."""
    tap.send(question(pod, target))
    return str(Ether(tap.receive(is_reply(target)))[ARP].hwsrc)


@pytest.mark.parametrize("layout", ["aws"])
def test_exactly_what_nobody_else_answers_is_answered(ready_pod: Pod, raw_tap: RawTap) -> None:
    assert answered(raw_tap, ready_pod, SERVER_ID) == SERVER_MAC
    assert answered(raw_tap, ready_pod, "169.254.1.1") == GATEWAY_MAC
    raw_tap.send(question(ready_pod, "169.254.1.2"))
    raw_tap.send(question(ready_pod, ready_pod.address))
    with pytest.raises(TestbedError, match="no such frame"):
        raw_tap.receive(lambda frame: frame[12:14] == b"\x08\x06", timeout=0.5)


@pytest.mark.parametrize("layout", ["aws"])
def test_a_guest_reaches_the_network_through_a_gateway_that_answers_no_arp(
    ready_pod: Pod, guest: TapGuest
) -> None:
    clients.lease("udhcpc", guest)
    must_answer(guest.netns, ready_pod.peer)


def test_a_gateway_that_answers_for_itself_is_left_to_do_so(ready_pod: Pod, raw_tap: RawTap) -> None:
    [gateway] = ready_pod.node.ip("link", "show", "dev", "cni0")
    assert answered(raw_tap, ready_pod, "10.244.1.1") == gateway["address"]
    with pytest.raises(TestbedError, match="no such frame"):
        raw_tap.receive(is_reply("10.244.1.1"), timeout=0.5)


@pytest.mark.parametrize("layout", ["aws"])
def test_another_server_goes_on_answering(pod: Pod, agent: Agent) -> None:
    agent.up()
    [server] = agent.servers()
    kill(server)
    agent.up()
    with raw_tap(pod.netns) as tap:
        assert answered(tap, pod, "169.254.1.1") == GATEWAY_MAC
