"""Frames through the isolation, both ways: what passes, what does not, and that each rule is needed for it.

raw tap (the guest) ── tap0 ── k6t-eth0 ── eth0-nic ══ veth ══ the node's end (the pod network)
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from testbed import agent as agents
from testbed import pods, tap_guest
from testbed.netns import entered
from testbed.snapshot import difference, snapshot
from testbed.tap_copier import open_wire
from tests.netns import probes
from tests.netns.probes import Wire
from vmnet.codec import decode
from vmnet.model import ISOLATION_DHCP_ONLY, ISOLATION_OFF, Settings
from vmnet.plumbing.isolation import rulesets
from vmnet.schema import Journal

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from testbed.agent import Agent
    from testbed.pods import Pod
    from testbed.tap_guest import RawTap
    from tests.netns.probes import Probe
    from vmnet.model import PodInterface

WIRE = Wire(
    mac="8e:da:d3:ea:cd:07",
    ipv4="10.246.1.2",
    ipv6="fd00:10:246:1::2",
    gateway_mac="7a:b4:0c:b9:b4:41",
    peer4="10.246.1.1",
    peer6="fd00:10:246:1::1",
)
"""The layout bridge-dual, to which a second default route by a link-local gateway is added."""
FROM_GUEST, FROM_NETWORK = probes.from_guest(WIRE), probes.from_network(WIRE)
BOTH = {"guest": FROM_GUEST, "network": FROM_NETWORK}
ROUTER = f"default via {probes.ROUTER} dev eth0 metric 2048"
TABLE, FAMILIES = "vmnet_eth0", ("netdev", "bridge", "inet")
_CALLS = itertools.count()
VNET_HDR = tap_guest.VNET_HDR
CARRIER_WITHIN, SEND_AGAIN = 20, 0.1
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Line:
    """Both ends of the line, and the rules on it."""

    pod: Pod
    tap: RawTap
    network: socket.socket
    """A packet socket on the node's end of the pod's veth."""
    facts: PodInterface
    agent: Agent
    ruleset: str

    def load(self, ruleset: str) -> None:
        """Replace the tables that the ruleset speaks of."""
        spoken_of = [family for family in FAMILIES if f"table {family}" in ruleset]
        clear = "".join(f"add table {family} {TABLE}\ndelete table {family} {TABLE}\n" for family in spoken_of)
        self.pod.netns.run("nft", "-f", "-", stdin=clear + ruleset)

    def clear(self) -> None:
        """Remove all rules."""
        self.pod.netns.run("nft", "flush", "ruleset")

    def passed(self, side: str, sent: Iterable[Probe]) -> set[str]:
        """Send them from that side, and name those that come out at the other.

        The last two pass by different rules and end the wait: whichever comes, all others have come or never will.
        """
        last = probes.last(WIRE, side, next(_CALLS))
        for probe in (*sent, *last):
            if side == "guest":
                self.tap.send(probe.octets())
            else:
                self.network.send(bytes(VNET_HDR) + probe.octets())
        marks = {probe.mark: probe.name for probe in (*sent, *last)}
        ends, seen = {probe.name for probe in last}, set[str]()
        while not seen & ends:
            frame = self._next(side)
            seen |= {name for mark, name in marks.items() if frame.endswith(mark)}
        return seen - ends

    def heard_before_the_last(self) -> list[bytes]:
        """Give what the pod network hears of what the guest sent before now."""
        [_, last] = probes.last(WIRE, "guest", next(_CALLS))
        self.tap.send(last.octets())
        heard: list[bytes] = []
        while not (heard and heard[-1].endswith(last.mark)):
            heard.append(self._next("guest")[VNET_HDR:])
        return heard

    def wait_for_the_carrier(self) -> None:
        """Send until something comes through, and all else that follows from the tap's carrier is there.

        The kernel announces a carrier up to a second late; not before that does the bridge forward.
        """
        patience, deadline = self.network.gettimeout(), time.monotonic() + CARRIER_WITHIN
        self.network.settimeout(SEND_AGAIN)
        while not (self._forwards() and self._has_multicast_route()):
            assert time.monotonic() < deadline, "nothing comes through"
        self.network.settimeout(patience)

    def _forwards(self) -> bool:
        try:
            return bool(self.heard_before_the_last())
        except TimeoutError:
            return False

    def _has_multicast_route(self) -> bool:
        return bool(self.pod.netns.ip("-6", "route", "show", "table", "local", "dev", "tap0", "type", "multicast"))

    def _next(self, side: str) -> bytes:
        if side == "network":
            return self.tap.receive(lambda _frame: True)
        return self.network.recv(1 << 17)

    def wrong(self) -> list[str]:
        """Name the probes of which something else became than shall."""
        found = []
        for side, sent in BOTH.items():
            seen = self.passed(side, sent)
            found += [probe.name for probe in sent if (probe.name in seen) is not probe.passes]
        return found


def agent_for(pod: Pod, directory: Path, *flags: str) -> Agent:
    """Make vmnet for a pod; without rules as root, since then accept_ra alone keeps advertisements off the pod."""
    made = agents.agent(pod, directory)
    return replace(made, confined=made.confined and ISOLATION_OFF not in flags)


@contextmanager
def line(directory: Path, *flags: str) -> Iterator[Line]:
    """A pod that is up with these flags, held at both ends."""
    with pods.pod("bridge-dual") as pod:
        pod.netns.ip_batch(f"route add {ROUTER}")
        for family in ("iptables", "ip6tables"):  # br_netfilter cuts off what follows a packet, and so our marks
            pod.netns.sysctl(f"bridge/bridge-nf-call-{family}", 0)
        agent = agent_for(pod, directory, *flags)
        agent.up(*flags)
        try:
            with tap_guest.raw_tap(pod.netns) as tap:
                with entered(pod.node), open_wire(pod.host_ifname) as network:
                    network.settimeout(5)
                    [path] = agent.state_dir.glob("**/journal.json")
                    journal = decode(Journal, path.read_bytes())
                    best = [ruleset.text for ruleset in rulesets(journal.pod, journal.settings)[:1]]
                    made = Line(pod, tap, network, journal.pod, agent, "".join(best))
                    made.wait_for_the_carrier()
                    yield made
        finally:
            agent.clear()


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, _room: None) -> Iterator[Line]:
    with line(tmp_path_factory.mktemp("strict")) as made:
        yield made


@pytest.fixture(scope="module")
def verdicts(strict: Line) -> dict[str, set[str]]:
    """What passes from each side, all probes being sent once."""
    return {side: strict.passed(side, sent) for side, sent in BOTH.items()}


def test_there_are_probes_enough_and_each_has_a_name_of_its_own() -> None:
    names = [probe.name for probe in (*FROM_GUEST, *FROM_NETWORK)]
    assert len(names) == len(set(names)) >= 45


@pytest.mark.parametrize(
    ("side", "probe"),
    [(side, probe) for side, sent in BOTH.items() for probe in sent],
    ids=lambda p: getattr(p, "name", p),
)
def test_probe(verdicts: dict[str, set[str]], side: str, probe: Probe) -> None:
    assert (probe.name in verdicts[side]) is probe.passes


def _without_each_rule(ruleset: str) -> Iterator[tuple[str, str]]:
    """A ruleset without one of its rules, and that rule.

    The last one and the policy stand in for each other but while rules are replaced, and so they go together;
    test_hostile_guest.py shows what that one is for.
    """
    lines = ruleset.splitlines()
    for number, text in enumerate(lines):
        if " comment " in text:
            rest = "\n".join([*lines[:number], *lines[number + 1 :], ""])
            last = text.strip().startswith("drop ")
            yield text.strip(), rest.replace("policy drop", "policy accept") if last else rest


def test_no_rule_can_be_removed_unnoticed(strict: Line) -> None:
    """A mutation test of the ruleset; what the chain `pod` does is for the pod's own sockets, tested below."""
    guarded = strict.ruleset.partition("table bridge")[0]
    unnoticed, tried = [], 0
    try:
        for lacking, mutant in _without_each_rule(guarded):
            strict.load(mutant)
            tried += 1
            if not strict.wrong():
                unnoticed.append(lacking)
    finally:
        strict.load(strict.ruleset)
    assert unnoticed == []
    assert tried >= 25
    assert strict.wrong() == []


@pytest.mark.parametrize("place", [1, 2], ids=["no-bridge-family", "no-ingress"])
def test_the_rules_for_a_lesser_kernel_let_pass_the_same(strict: Line, place: int) -> None:
    lesser = rulesets(strict.facts, Settings())[place].text
    try:
        strict.clear()
        strict.load(lesser)
        assert strict.wrong() == []
    finally:
        strict.clear()
        strict.load(strict.ruleset)


DHCP_ONLY_STOPS = {
    *("dhcp-discover", "dhcp-renewal", "rogue-offer", "rogue-offer-from-any-port", "dhcp-behind-ip-options"),
    *("dhcp-first-fragment", "dhcpv6-solicit", "dhcpv6-advertise", "rs", "rs-unspecified", "rs-fragmented"),
    *(probe.name for probe in FROM_GUEST if re.match("ra(-|$)|fragment-whose", probe.name)),
    "redirect",
    *("network-offer", "network-offer-unicast", "network-dhcpv6-advertise", "network-redirect"),
    *(probe.name for probe in FROM_NETWORK if re.match("network-ra|network-fragment-whose", probe.name)),
    *("own-broadcast-sent-back", "own-dad-sent-back"),
    *("icmp-redirect", "icmp-router-advertisement"),
    *("ipv6-of-version-4", "ipv6-longer-than-its-frame"),
    *(probe.name for probe in FROM_GUEST if re.match("offer-|broken-|ipv[46]-in-the", probe.name)),
    *(probe.name for probe in FROM_NETWORK if re.match("network-(offer|icmp-r)", probe.name)),
    *("802.1q-priority-only", "qinq-arp"),
    *(probe.name for probe in (*FROM_GUEST, *FROM_NETWORK) if "priority-tag-" in probe.name),
}
NEVER_FORWARDED = {"lldp", "eapol", "stp", "broadcast-mac-as-source", "group-as-source"}
"""The bridge itself keeps these (IEEE 802.1D §7.12.6), whatever the rules are."""


def test_dhcp_only_stops_dhcp_and_router_messages_and_nothing_else(tmp_path: Path) -> None:
    with line(tmp_path, "--isolation", ISOLATION_DHCP_ONLY) as made:
        for side, sent in BOTH.items():
            passed = made.passed(side, sent)
            stopped = {probe.name for probe in sent} - passed - NEVER_FORWARDED
            assert stopped == {probe.name for probe in sent} & DHCP_ONLY_STOPS


def test_no_rule_of_dhcp_only_can_be_removed_unnoticed(tmp_path: Path) -> None:
    with line(tmp_path, "--isolation", ISOLATION_DHCP_ONLY) as made:
        shall = {side: made.passed(side, sent) for side, sent in BOTH.items()}
        unnoticed = []
        for lacking, mutant in _without_each_rule(made.ruleset.partition("table bridge")[0]):
            made.load(mutant)
            if shall == {side: made.passed(side, sent) for side, sent in BOTH.items()}:
                unnoticed.append(lacking)
        assert unnoticed == []


def test_without_isolation_everything_passes(tmp_path: Path) -> None:
    """So the probes are seen when nothing stops them; the tests above could fail."""
    with line(tmp_path, "--isolation", "off") as made:
        for side, sent in BOTH.items():
            assert {probe.name for probe in sent} - made.passed(side, sent) <= NEVER_FORWARDED


def test_without_isolation_and_with_a_read_only_proc_sys_status_warns_of_router_advertisements(
    pod: Pod, agent: Agent
) -> None:
    del pod
    confined = replace(agent, confined=True)
    confined.up("--isolation", ISOLATION_OFF)
    assert "accept_ra 0 of k6t-eth0" in confined.status()["warnings"][1]
    confined.down()
    as_root = replace(agent, confined=False)
    as_root.up("--isolation", ISOLATION_OFF)
    assert len(as_root.status()["warnings"]) == 1


SECOND = "net1.7"
OF_SECOND = ("--interface", SECOND, "--tap", "tap1", "--isolation", ISOLATION_DHCP_ONLY)
CHAINS = re.compile(r"^table (\w+ \w+) ", re.MULTILINE)


def test_two_bindings_of_a_pod_have_their_rules_apart(pod: Pod, agent: Agent) -> None:
    """Tables, drift and warnings are of one interface each, and its name may hold a dot."""

    def drift(ifname: str) -> list[str]:
        report = json.loads(agent.run("status", "--json", "--interface", ifname, check=False).stdout)
        assert report["warnings"] == []
        return list(report["drift"])

    def tables() -> set[str]:
        return set(CHAINS.findall(pod.netns.run("nft", "list", "ruleset").stdout))

    pod.netns.ip_batch(
        f"link add {SECOND} type veth peer name second netns {pod.node.name}",
        f"address add 10.9.7.2/24 dev {SECOND}",
        f"link set {SECOND} up",
    )
    pod.node.ip_batch("link set second up")
    before = snapshot(pod)
    agent.up("--interface", "eth0")
    of_first = tables()
    agent.up(*OF_SECOND)
    of_second = tables() - of_first
    assert len(of_first) == len(of_second) == 2
    assert drift("eth0") == drift(SECOND) == []

    [ingress] = (table for table in of_second if table.startswith("netdev"))
    pod.netns.run("nft", f"delete table {ingress}")
    assert drift("eth0") == []
    assert drift(SECOND) == [f"load the isolation rules of table {ingress.split()[1]}"]
    agent.run("up", "--interface", SECOND)
    assert drift(SECOND) == []

    agent.run("down", "--interface", "eth0")
    assert tables() == of_second
    assert drift(SECOND) == []
    agent.run("down", "--interface", SECOND)
    assert difference(before, snapshot(pod)) == ""


LESSER = """#!/bin/sh
# nft on a kernel that was built without {word!r}: what nft says there, and how it ends
script=$(cat)
case "$script" in
*"{word}"*) echo '/dev/stdin:1:1-1: Error: Could not process rule: Operation not supported' >&2; exit 1 ;;
*) printf '%s' "$script" | exec {nft} "$@" ;;
esac
"""


@pytest.fixture
def lesser_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let nft be that of a kernel without a family or hook."""

    def lack(word: str) -> None:
        nft = tmp_path / "bin" / "nft"
        nft.parent.mkdir()
        nft.write_text(LESSER.format(word=word, nft=shutil.which("nft")), encoding="ascii")
        nft.chmod(0o755)
        monkeypatch.setenv("PATH", f"{nft.parent}:{os.environ['PATH']}")

    return lack


@pytest.mark.parametrize(
    ("word", "warning"), [("table bridge", "no bridge family"), ("hook ingress", "no netdev ingress hook")]
)
def test_a_kernel_without_a_hook_gets_the_next_best_rules_and_status_says_so(
    lesser_kernel: Callable[[str], None], tmp_path: Path, word: str, warning: str
) -> None:
    lesser_kernel(word)
    with line(tmp_path) as made:
        assert made.wrong() == []
        report = made.agent.status()
        assert report["drift"] == []
        assert len(report["warnings"]) == 1
        assert warning in report["warnings"][0]
        assert made.agent.run("up").returncode == 0
        made.agent.down()
        assert made.pod.netns.run("nft", "list", "ruleset").stdout == ""


def test_a_kernel_without_nftables_is_one_line_and_the_pod_is_as_it_was_found(
    lesser_kernel: Callable[[str], None], pod: Pod, agent: Agent
) -> None:
    lesser_kernel("table")
    before = snapshot(pod)
    done = agent.run("up", check=False)
    assert done.returncode == 4
    assert "load the isolation rules of table vmnet_eth0: Operation not supported" in done.stderr
    assert difference(before, snapshot(pod)) == ""
    assert agent.run("up", "--isolation", "off").returncode == 0
    assert "the guest is not isolated" in agent.status()["warnings"][0]
