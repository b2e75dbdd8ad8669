"""`vmnet wait`: each cause provoked on a real pod, and each goal reached by a real or a handmade guest.

┌ pod, after vmnet up ─────────┐
│ vmnet wait ⇢ server, tap0    ├─── the guest: silent, under another MAC, refused, bound and deaf …
└──────────────────────────────┘
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from testbed import clients, pods
from testbed.netns import background, kill
from testbed.patience import PATIENCE
from testbed.tap_guest import raw_tap, tap_guest
from tests.at_once import at_once
from tests.netns import forked
from tests.netns.guest_by_hand import OTHER_MAC, SERVER_ID, forward_drops, guest_by_hand

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from testbed.agent import Agent
    from tests.netns.guest_by_hand import GuestByHand

OTHER_ADDRESS = "10.244.1.77"

IN_TIME = PATIENCE / 2
"""Seconds for `wait` itself, whose end is awaited."""


def waited(agent: Agent, goal: str, timeout: float = 0) -> tuple[int, dict[str, Any]]:
    done = agent.run("wait", "--for", goal, "--timeout", str(timeout), "--json", check=False)
    return done.returncode, json.loads(done.stdout)


def must_be(cause: dict[str, Any], word: str, *evidence: str) -> None:
    """The cause has this word, these texts are in what it says, and it says what to do."""
    assert cause["word"] == word
    said = "\n".join((cause["what"], *cause["evidence"]))
    assert [text for text in evidence if text not in said] == []
    assert cause["remedy"]


def must_have_come(ended: tuple[int, dict[str, Any]], **families: str) -> dict[str, Any]:
    """It ended well, with the guest in these states; gives who answered."""
    code, told = ended
    assert (code, told["reached"], told["cause"], told["families"]) == (0, True, None, families), told
    return dict(told["answered"])


def before_the_guest(directory: Path) -> None:
    """Nothing is up; the tap is nobody's; a tap without a driver behind it; frames that are no DHCP."""
    directory.mkdir()
    with pods.pod("bridge") as pod, forked.cleared(pod, directory) as agent:
        must_be(waited(agent, "ready")[1]["cause"], "not-up", "no binding")
        agent.up()
        must_have_come(waited(agent, "ready", IN_TIME), ipv4="silent")
        must_be(waited(agent, "bound")[1]["cause"], "no-carrier", "tap0 has no carrier", "no frames")
        with raw_tap(pod.netns) as tap:
            must_be(waited(agent, "asked")[1]["cause"], "no-frames", "no frames from the guest")
            tap.send(bytes.fromhex("ffffffffffff" + pod.mac.replace(":", "") + "88b5") + bytes(46))
            must_be(waited(agent, "asked")[1]["cause"], "no-discover", "1 frame from the guest")
        must_be(waited(agent, "asked")[1]["cause"], "no-carrier", "1 frame from the guest")
        pod.netns.ip_batch("link set tap0 down")
        must_be(waited(agent, "ready")[1]["cause"], "drift", "set tap0 up=True")
        [server] = agent.servers()
        kill(server)
        must_be(waited(agent, "bound")[1]["cause"], "server-dead", "start the DHCP server")


def on_the_way(directory: Path) -> None:
    """Another MAC; offered and no more; another server's; refused."""
    with guest_by_hand(directory) as guest:
        guest.ask_as(OTHER_MAC)
        must_be(guest.cause("asked"), "other-mac", OTHER_MAC, guest.pod.mac)
        guest.ask()
        must_have_come(guest.wait("asked"), ipv4="offered")
        must_be(guest.cause("bound"), "not-requested", guest.pod.address, "1 offer")
        guest.request(guest.pod.address, "10.9.9.9", "other_server")
        must_be(guest.cause("bound"), "other-server", "1 request for another server")
        guest.ask()
        guest.request(OTHER_ADDRESS, SERVER_ID, "nak_selecting")
        must_be(guest.cause("bound"), "refused", "nak_selecting: 1", guest.pod.address)
        guest.decline()
        must_be(guest.cause("bound"), "declined", "ADDRESS CONFLICT", guest.pod.address)
        guest.use(OTHER_ADDRESS, "foreign-address")
        must_be(guest.cause("bound"), "foreign-address", OTHER_ADDRESS, guest.pod.address)


def bound_and_deaf(directory: Path) -> None:
    """Bound; not answering; answering the gateway; cut off by rules for routed packets; released."""
    with guest_by_hand(directory) as guest:
        guest.client.exchange()
        must_have_come(guest.wait("bound"), ipv4="bound")
        must_be(
            guest.cause("reachable"),
            *("unreachable", f"ARP for {guest.pod.address} on the tap", "nobody answered"),
            f"gateway {guest.pod.gateway}",
        )
        gateway = answered(guest, 0)
        assert (gateway.psrc, gateway.hwsrc) == (guest.pod.gateway, _gateway_mac(guest.pod))
        forward_drops(guest.pod.netns)
        for switch, code in ((1, 6), (0, 0)):
            guest.pod.netns.sysctl("bridge/bridge-nf-call-iptables", switch)
            answered(guest, code, "chain ip filter FORWARD" if code else "")
        guest.release()
        must_be(guest.cause("bound"), "released", guest.pod.address)


def _gateway_mac(pod: pods.Pod) -> str:
    [link] = pod.node.ip("link", "show", "dev", "cni0")
    return str(link["address"])


def answered(guest: GuestByHand, code: int, evidence: str = "") -> Any:  # noqa: ANN401 # scapy is untyped
    """Answer whatever `wait --for reachable` asks until it ends; gives the first question."""
    ended, told, questions = guest.wait_and_answer(1 if code else IN_TIME)
    assert ended == code, told
    assert told["answered"] == {guest.pod.address: guest.pod.mac}
    if code:
        must_be(told["cause"], "unreachable", evidence)
    return questions[0]


def real_client(directory: Path) -> None:
    """It is waited for before it begins, and found by ARP from the gateway."""
    directory.mkdir()
    with pods.pod("bridge") as pod, forked.cleared(pod, directory) as agent:
        agent.up()
        argv = agent.argv("wait", "--for", "bound", "--timeout", str(IN_TIME), "--json")
        with (
            background(argv, directory / "wait.log") as waiting,
            tap_guest(pod.netns, pod.mac, directory) as guest,
        ):
            with clients.living("udhcpc", guest):
                must_have_come((waiting.wait(), json.loads(waiting.text)), ipv4="bound")
                assert must_have_come(waited(agent, "reachable", IN_TIME), ipv4="bound") == {pod.address: pod.mac}
                guest.netns.ip_batch(f"address flush dev {guest.ifname}", f"link set {guest.ifname} arp off")
                must_be(waited(agent, "reachable")[1]["cause"], "unreachable", "nobody answered")


def static_ipv6(directory: Path) -> None:
    """Set up by hand, in a pod without IPv4: neighbour discovery tells."""
    directory.mkdir()
    with pods.pod("ipv6-only") as pod, forked.cleared(pod, directory) as agent:
        agent.up()
        with tap_guest(pod.netns, pod.mac, directory, accept_ra=0) as guest:
            guest.netns.ip_batch(f"address add {pod.address6}/64 dev {guest.ifname} nodad")
            code, told = waited(agent, "reachable", IN_TIME)
            assert (code, told["answered"]) == (0, {pod.address6: pod.mac})
            must_have_come(waited(agent, "bound", IN_TIME), ipv6="static")


STORIES = (before_the_guest, on_the_way, bound_and_deaf, real_client, static_ipv6)


def test_causes_and_goals(tmp_path: Path, subtests: pytest.Subtests) -> None:
    def play(story: Callable[[Path], None]) -> None:
        story(tmp_path / story.__name__)

    for story, outcome in at_once(STORIES, play, len(STORIES)).items():
        with subtests.test(story=story.__name__):
            outcome.get()


def test_people_are_told_why_and_what_to_do(agent: Agent) -> None:
    done = agent.run("wait", "--for", "bound", "--timeout", "0", check=False)
    assert done.returncode == 6
    first, *rest = done.stdout.splitlines()
    assert first.startswith("not bound after ")
    assert first.endswith("not-up: no binding is up here")
    assert rest == [
        "├─ seen: `vmnet status` says `down`",
        f"├─ do: run `vmnet up --state-dir {agent.state_dir}`",
        "└─ see: docs/watching.md#not-up",
    ]
    [line] = done.stderr.splitlines()
    assert json.loads(line)["message"] == "not bound within 0 s: not-up"


@pytest.mark.parametrize("flags", [(), ("--for", "coffee"), ("--for", "bound", "--timeout", "soon")])
def test_what_cannot_be_waited_for_is_a_usage_error(agent: Agent, flags: tuple[str, ...]) -> None:
    assert agent.run("wait", *flags, check=False).returncode == 2
