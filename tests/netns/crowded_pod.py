"""A pod in which much is well, and one interface is there for troubles: a remedy for that shall harm nobody.

┌ pod ──────────────────────────────────────────────────────────────────────┐
│ net1 ⇢ k6t-net1 ── tap1 ◀── a guest    net4 ⇢ k6t-net4 ── tap2 ◀── a VM   │
│ KubeVirt's: net2-nic ── k6t-net2 ── tap9 ◀── a VM                          │
│ others': tap0 ◀── a VM; net3, which stays the pod's; a table of rules      │
│ eth0, whose tap would be tap3: what is in trouble                          │
└───────────────────────────────────────────────────────────────────────────┘
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from testbed import pods, tap_guest
from testbed.netns import background
from tests.netns import forked
from tests.netns.raw_client import RawClient
from tests.netns.tap_holder import HOLDS
from tests.netns.test_two_bindings import add_nic, doctor, status, wrong
from tests.netns.troubles import Patient

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.agent import Agent
    from testbed.pods import Pod

HEALTHY = ("net1", "net4")
FOREIGN = ("tap0", "tap9", "k6t-net2", "net2-nic", "net3")
GUESTS_ADDRESS = "10.9.7.2"


@dataclass(frozen=True, slots=True)
class Crowd:
    """The pod, who is well in it, and the interface that is there for troubles."""

    pod: Pod
    agent: Agent
    """Of no interface: what is typed has to say which is meant."""
    patient: Patient
    guest: RawClient
    healthy: list[dict[str, Any]]
    foreign: dict[str, tuple[Any, ...]]

    def must_be_well(self) -> None:
        """Two bindings are as they were, their guests on their taps and served; others' links are untouched."""
        told = [one for one in bindings(self.agent) if one["found"]["ifname"] in HEALTHY]
        assert [(one["state"], one["drift"]) for one in told] == [("up", [])] * len(HEALTHY)
        for name in ("settings", "found", "lease"):
            assert [one[name] for one in told] == [one[name] for one in self.healthy]
        assert all(one["links"]["tap"]["carrier"] for one in told)
        assert all(one["server"]["state"] == "serving" for one in told)
        assert others_links(self.pod) == self.foreign
        assert tables(self.pod) >= {*(f"vmnet_{ifname}" for ifname in HEALTHY), "somebody"}
        self.guest.exchange()

    def no_error_is_found(self) -> None:
        """Nor does doctor find an error in what is well."""
        for ifname in HEALTHY:
            assert wrong(doctor(self.agent, "--interface", ifname)[1]) == []


@contextmanager
def crowd(directory: Path) -> Iterator[Crowd]:
    """Make it; eth0 is as the CNI leaves it."""
    with ExitStack() as held:
        pod = held.enter_context(pods.pod("bridge-dual"))
        agent = replace(held.enter_context(forked.cleared(pod, directory)), confined=False)
        _others(pod)
        for number, ifname in enumerate(HEALTHY, start=1):
            agent.up("--interface", ifname, "--tap", f"tap{number}", "--owner", "107")
        for ifname in ("tap0", "tap2", "tap9"):
            _hold(held, pod, directory / f"{ifname}.log", ifname)
        [link] = pod.netns.ip("link", "show", "dev", HEALTHY[0])
        tap = held.enter_context(tap_guest.raw_tap(pod.netns, "tap1"))
        guest = RawClient(tap, bytes.fromhex(link["address"].replace(":", "")), GUESTS_ADDRESS)
        patient = Patient(pod, replace(agent, interface=pod.ifname), directory, held, tap="tap3")
        yield Crowd(pod, agent, patient, guest, bindings(agent), others_links(pod))


def _others(pod: Pod) -> None:
    for number, ifname in enumerate(("net1", "net2", "net3", "net4"), start=7):
        add_nic(pod, ifname, number)
    pod.netns.ip_batch(
        "tuntap add tap0 mode tap",
        "link set tap0 up",
        "tuntap add tap9 mode tap",
        "link add k6t-net2 type bridge",
        "link set net2 down",
        "link set net2 name net2-nic",
        *(f"link set {port} master k6t-net2" for port in ("net2-nic", "tap9")),
        *(f"link set {ifname} up" for ifname in ("net2-nic", "tap9", "k6t-net2")),
    )
    pod.netns.run("nft", "add table inet somebody")


def _hold(held: ExitStack, pod: Pod, log: Path, tap: str) -> None:
    """As a VM does."""
    held.enter_context(background(pod.netns.command(sys.executable, "-c", HOLDS, tap), log)).wait_for("^held$")


def bindings(agent: Agent) -> list[dict[str, Any]]:
    """What `status` says of each binding."""
    return list(status(agent)[1]["bindings"])


def others_links(pod: Pod) -> dict[str, tuple[Any, ...]]:
    """What others have made: which links they are, what they are joined to and hold, and whether a VM has them."""
    links = {
        link["ifname"]: (
            link["ifindex"],
            link["address"],
            link.get("master"),
            {"UP", "LOWER_UP"} <= set(link["flags"]),
            [entry["local"] for entry in link["addr_info"] if entry["family"] == "inet"],
        )
        for link in pod.netns.ip("address")
        if link["ifname"] in FOREIGN
    }
    assert set(links) == set(FOREIGN)
    return links


def tables(pod: Pod) -> set[str]:
    """The names of the tables of rules."""
    listed = json.loads(pod.netns.run("nft", "-j", "list", "tables").stdout)["nftables"]
    return {entry["table"]["name"] for entry in listed if "table" in entry}
