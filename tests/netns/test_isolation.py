"""Frames through the isolation, both ways: what passes, what does not, and that each rule is needed for it.

raw tap (the guest) ── tap0 ── k6t-eth0 ── eth0-nic ══ veth ══ the node's end (the pod network)
                                  └── a packet socket, as our server has one to ask with
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import socket
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest

from testbed import pods, tap_guest
from testbed.netns import entered
from testbed.patience import PATIENCE, wait_until_so
from testbed.pods import must_answer, ping
from testbed.snapshot import difference, snapshot
from testbed.tap_copier import open_wire
from tests.netns import forked, probes
from tests.netns.probes import Wire
from vmnet.bindings.isolation import rulesets
from vmnet.model.codec import decode
from vmnet.model.lease import SERVER_PREFIX
from vmnet.model.settings import DHCP_EXTERNAL, ISOLATION_DHCP_ONLY, ISOLATION_OFF, Settings
from vmnet.saved.schema import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from testbed.agent import Agent
    from testbed.pods import Pod
    from testbed.tap_guest import RawTap
    from tests.netns.probes import Probe
    from vmnet.model.pod import PodInterface

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
FROM_SERVER = probes.from_server(WIRE)
BOTH = {"guest": FROM_GUEST, "network": FROM_NETWORK}
ALL_SIDES = {**BOTH, "server": FROM_SERVER}
EVERY = tuple(probe for sent in ALL_SIDES.values() for probe in sent)
ROUTER = f"default via {probes.ROUTER} dev eth0 metric 2048"
BRIDGE = "k6t-eth0"
TABLE, FAMILIES = "vmnet_eth0", ("netdev", "bridge", "inet")
_CALLS = itertools.count()
VNET_HDR = tap_guest.VNET_HDR
SEND_AGAIN = 0.1
"""Seconds."""
SO_RCVBUFFORCE = 33
"""asm-generic/socket.h."""


@dataclass(frozen=True, slots=True)
class Line:
    """Both ends of the line, and the rules on it."""

    pod: Pod
    tap: RawTap
    network: socket.socket
    """A packet socket on the node's end of the pod's veth."""
    server: socket.socket
    """One on the bridge, in the pod."""
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
        who = "network" if side == "network" else "guest"  # our server has but one thing to say
        last = probes.last(WIRE, who, next(_CALLS))
        for probe in sent:
            self.send(side, probe.octets())
        for probe in last:
            self.send(who, probe.octets())
        marks = {probe.mark: probe.name for probe in (*sent, *last)}
        ends, seen = {probe.name for probe in last}, set[str]()
        while not seen & ends:
            frame = self._next(side)
            seen |= {name for mark, name in marks.items() if frame.endswith(mark)}
        return seen - ends

    def send(self, side: str, frame: bytes) -> None:
        """Send a frame from that side."""
        if side == "guest":
            self.tap.send(frame)
        else:
            sender = self.network if side == "network" else self.server
            sender.send(bytes(VNET_HDR) + frame)

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
        patience = self.network.gettimeout()
        self.network.settimeout(SEND_AGAIN)
        wait_until_so(
            lambda: self._forwards() and (self._has_no_ipv6() or self._has_multicast_route()),
            "anything to come through",
        )
        self.network.settimeout(patience)

    def _forwards(self) -> bool:
        try:
            return bool(self.heard_before_the_last())
        except TimeoutError:
            return False

    def _has_no_ipv6(self) -> bool:
        return self.pod.netns.run("sysctl", "-n", "net.ipv6.conf.tap0.disable_ipv6").stdout == "1\n"

    def _has_multicast_route(self) -> bool:
        return bool(self.pod.netns.ip("-6", "route", "show", "table", "local", "dev", "tap0", "type", "multicast"))

    def _next(self, side: str) -> bytes:
        if side == "network":
            return self.tap.receive(lambda _frame: True)
        return self.network.recv(1 << 17)

    def wrong(self, sides: Mapping[str, tuple[Probe, ...]] = ALL_SIDES) -> list[str]:
        """Name the probes of which something else became than shall."""
        found = []
        for side, sent in sides.items():
            seen = self.passed(side, sent)
            found += [probe.name for probe in sent if (probe.name in seen) is not probe.passes]
        return found

    def all_passed(self) -> set[str]:
        """Name all that passes, from whichever side."""
        return {name for side, sent in ALL_SIDES.items() for name in self.passed(side, sent)}


def agent_for(pod: Pod, directory: Path, *flags: str) -> Agent:
    """Make vmnet for a pod; without rules as root, since then accept_ra alone keeps advertisements off the pod."""
    made = forked.agent(pod, directory)
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
                with entered(pod.node):
                    network = open_wire(pod.host_ifname)
                with entered(pod.netns):
                    server = open_wire(BRIDGE)
                with network, server:
                    network.settimeout(PATIENCE)
                    network.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20)  # for all probes at once
                    [path] = agent.state_dir.glob("**/journal.json")
                    journal = decode(Journal, path.read_bytes())
                    best = [ruleset.text for ruleset in rulesets(journal.pod, journal.settings)[:1]]
                    made = Line(pod, tap, network, server, journal.pod, agent, "".join(best))
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
    return {side: strict.passed(side, sent) for side, sent in ALL_SIDES.items()}


def test_there_are_probes_enough_and_each_has_a_name_of_its_own() -> None:
    names = [probe.name for probe in EVERY]
    assert len(names) == len(set(names)) >= 250


@pytest.mark.parametrize(
    ("side", "probe"),
    [(side, probe) for side, sent in ALL_SIDES.items() for probe in sent],
    ids=lambda p: getattr(p, "name", p),
)
def test_probe(verdicts: dict[str, set[str]], side: str, probe: Probe) -> None:
    assert (probe.name in verdicts[side]) is probe.passes


OTHERS = "other bridges are none of our business"


def _without_each_rule(ruleset: str) -> Iterator[tuple[str, str]]:
    """A ruleset without one of its rules, and that rule.

    The last one and the policy stand in for each other but while rules are replaced, and so they go together;
    test_hostile_guest.py shows what that one is for, and the chain `pod`, whose affair are the pod's own sockets.
    """
    lines = ruleset.splitlines()
    chain = ""
    for number, text in enumerate(lines):
        chain = text.split()[1] if text.startswith("  chain ") else chain
        if " comment " in text and chain != "pod" and OTHERS not in text:
            rest = "\n".join([*lines[:number], *lines[number + 1 :], ""])
            last = text.strip().startswith("drop ")
            yield text.strip(), rest.replace("policy drop", "policy accept") if last else rest


def test_no_rule_can_be_removed_unnoticed(strict: Line) -> None:
    """A mutation test of the ruleset."""
    unnoticed, tried = [], 0
    try:
        for lacking, mutant in _without_each_rule(strict.ruleset):
            strict.load(mutant)
            tried += 1
            if not strict.wrong():
                unnoticed.append(lacking)
    finally:
        strict.load(strict.ruleset)
    assert unnoticed == []
    assert tried >= 45
    assert strict.wrong() == []


@pytest.mark.parametrize("place", [2, 4], ids=["no-bridge-family", "no-ingress"])
def test_the_rules_for_a_lesser_kernel_let_pass_the_same(strict: Line, place: int) -> None:
    """But what our server sends is seen by the bridge family alone."""
    lesser = rulesets(strict.facts, Settings())[place].text
    try:
        strict.clear()
        strict.load(lesser)
        assert strict.wrong(ALL_SIDES if "table bridge" in lesser else BOTH) == []
    finally:
        strict.clear()
        strict.load(strict.ruleset)


DHCP_ONLY_STOPS = {
    *("dhcp-discover", "dhcp-renewal", "rogue-offer", "rogue-offer-from-any-port", "dhcp-behind-ip-options"),
    "dhcp-first-fragment",
    *(probe.name for probe in FROM_GUEST if re.match("(ra|rs|redirect|dhcpv6)(-|$)|fragment-whose", probe.name)),
    *("network-offer", "network-offer-unicast"),
    *(probe.name for probe in FROM_NETWORK if re.match("network-(ra|redirect|dhcpv6|fragment-whose)", probe.name)),
    *("own-broadcast-sent-back", "own-dad-sent-back"),
    *("icmp-redirect", "icmp-router-advertisement"),
    *("ipv6-of-version-4", "ipv6-longer-than-its-frame"),
    *(probe.name for probe in FROM_GUEST if re.match("offer-|broken-|ipv[46]-in-the", probe.name)),
    *(probe.name for probe in FROM_NETWORK if re.match("network-(offer|icmp-r)", probe.name)),
    "qinq-arp",
    *(probe.name for probe in EVERY if re.search("priority-tag-.*(ra|offer|twice|llc)|-our-|snap-", probe.name)),
    *(probe.name for probe in FROM_SERVER),
} - {probe.name for probe in EVERY if probe.passes}
NEVER_FORWARDED = {
    *("lldp", "eapol", "stp", "broadcast-mac-as-source", "group-as-source"),
    *(probe.name for probe in EVERY if "udp-to-0180" in probe.name),
}
"""The bridge itself keeps these (IEEE 802.1D §7.12.6), whatever the rules are."""


def test_dhcp_only_stops_dhcp_and_router_messages_and_nothing_else(tmp_path: Path) -> None:
    with line(tmp_path, "--isolation", ISOLATION_DHCP_ONLY) as made:
        stopped = {probe.name for probe in EVERY} - made.all_passed() - NEVER_FORWARDED
        assert stopped == DHCP_ONLY_STOPS


def _unnoticed(made: Line, but: str = "") -> list[str]:
    """Rules that can be removed, and nothing else passes than before; `but` those of that ruleset."""
    shall, unnoticed = made.all_passed(), []
    for lacking, mutant in _without_each_rule(made.ruleset):
        if lacking in but:
            continue
        made.load(mutant)
        if shall == made.all_passed():
            unnoticed.append(lacking)
    return unnoticed


def test_no_rule_of_dhcp_only_can_be_removed_unnoticed(tmp_path: Path) -> None:
    with line(tmp_path, "--isolation", ISOLATION_DHCP_ONLY) as made:
        assert _unnoticed(made) == []


def test_without_isolation_everything_passes(tmp_path: Path) -> None:
    """So the probes are seen when nothing stops them; the tests above could fail."""
    with line(tmp_path, "--isolation", "off") as made:
        assert {probe.name for probe in EVERY} - made.all_passed() <= NEVER_FORWARDED
        assert _asked_for(made.pod) != set()


def test_without_isolation_and_with_a_read_only_proc_sys_status_warns_of_router_advertisements(
    pod: Pod, agent: Agent
) -> None:
    del pod
    confined = replace(agent, confined=True)
    confined.up("--isolation", ISOLATION_OFF)
    assert "k6t-eth0 accepts router advertisements" in confined.status()["warnings"][1]
    confined.down()
    as_root = replace(agent, confined=False)
    as_root.up("--isolation", ISOLATION_OFF)
    assert len(as_root.status()["warnings"]) == 1


EXTERNAL = ("--dhcp", DHCP_EXTERNAL)
EXTERNAL_LETS = {
    *("dhcp-discover", "dhcp-renewal", "dhcp-behind-ip-options", "dhcp-first-fragment"),
    *(probe.name for probe in FROM_GUEST if re.match("rs(-|$)|dhcpv6-(solicit|req|inf|relay)", probe.name)),
    *(probe.name for probe in FROM_NETWORK if re.match("network-(offer|ra|dhcpv6)", probe.name)),
    *("network-priority-tag-802.1ad-ra", "network-priority-tag-offer"),
} - {
    *("rs-from-own-address", "rs-to-the-router"),
    "dhcpv6-request-to-our-server",
    *(probe.name for probe in FROM_NETWORK if re.match("network-ra.*(-ah$|-tag-|-our-)", probe.name)),
    *("network-offer-in-ip-version-5", "network-offer-longer-than-its-frame", "network-offer-of-length-0"),
}


def test_a_server_and_router_in_the_pod_network_are_let_through_and_the_guest_is_neither(
    strict: Line, tmp_path: Path
) -> None:
    usually = strict.all_passed()
    with line(tmp_path, *EXTERNAL) as made:
        assert made.all_passed() - usually == EXTERNAL_LETS
        assert usually <= made.all_passed()
        assert _unnoticed(made, but=strict.ruleset) == []


def _asked_for(pod: Pod) -> set[str]:
    """Which of our server's addresses the node has looked for, or believes to have found."""
    shown = pod.node.ip("-6", "neighbour", "show", "nud", "all")
    return {entry["dst"] for entry in shown if ip_address(entry["dst"]) in ip_network(SERVER_PREFIX)}


def test_the_gateway_never_looks_for_what_only_our_server_answers_for(tmp_path: Path) -> None:
    """Without rules it does: `test_without_isolation_everything_passes`."""
    with line(tmp_path) as made:  # which no rule was ever missing of
        made.passed("guest", [probe for probe in FROM_GUEST if "-our-" in probe.name])
        assert _asked_for(made.pod) == set()


def test_nothing_of_what_our_server_asks_with_comes_back_to_the_guest(strict: Line) -> None:
    """The bridge would send it to both ports."""
    strict.passed("server", FROM_SERVER)
    [_, last] = probes.last(WIRE, "network", next(_CALLS))
    strict.network.send(bytes(VNET_HDR) + last.octets())
    marks, seen = {probe.mark: probe.name for probe in FROM_SERVER}, set[str]()
    while not (frame := strict.tap.receive(lambda _frame: True)).endswith(last.mark):
        seen |= {name for mark, name in marks.items() if frame.endswith(mark)}
    assert seen == set()


def test_the_chain_of_our_server_leaves_other_bridges_alone(strict: Line) -> None:
    other = "192.0.2.9"
    strict.pod.netns.ip_batch(
        "link add other9 type bridge",
        f"address add {other}/24 dev other9",
        "link set other9 up",
        f"link add port9 master other9 up type veth peer name other9 netns {strict.pod.node.name}",
    )
    strict.pod.node.ip_batch("address add 192.0.2.8/24 dev other9", "link set other9 up")
    must_answer(strict.pod.node, other)
    lines = strict.ruleset.splitlines(keepends=True)
    try:
        strict.load("".join(line for line in lines if not (OTHERS in line and "oifname" in line)))
        assert not ping(strict.pod.node, other, timeout=1)
    finally:
        strict.load(strict.ruleset)
        strict.pod.netns.ip_batch("link delete other9", "link delete port9")


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
        assert made.wrong(BOTH if "bridge" in word else ALL_SIDES) == []
        report = made.agent.status()
        assert report["drift"] == []
        assert len(report["warnings"]) == 1
        assert warning in report["warnings"][0]
        assert made.agent.run("up").returncode == 0
        made.agent.down("--force")  # the tap is held here
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
