"""Bad input: one clear line on stderr, the right exit code, no traceback, and a pod as it was.

┌ node ┐     ┌ pod ─────────────────────────────────────────────┐
│      ├─veth┤ eth0 10.244.1.2/24                               │
│      ├─veth┤ net0 is in somebody's bridge br0, net1 has none  │
└──────┘     │ mv0 is a macvlan of net1                         │
             └──────────────────────────────────────────────────┘
"""

from __future__ import annotations

import json
import os
import pty
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from testbed import pods
from testbed.agent import VMNET, Agent
from testbed.netns import Completed, run
from testbed.patience import PATIENCE
from testbed.snapshot import difference, look, steady
from testbed.watch import watched
from tests.extent import sampled
from tests.netns import forked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.pods import Pod

USAGE, REFUSED = 2, 3


@dataclass(frozen=True, slots=True)
class Case:
    """What is typed in the pod, the exit code it shall have and a word of the line that says why."""

    name: str
    words: tuple[str, ...]
    code: int
    says: str
    environment: tuple[str, ...] = ()


def up(name: str, *flags: str, says: str, code: int = USAGE) -> Case:
    """A case of `vmnet up`."""
    return Case(name, ("up", *flags), code, says)


CASES = (
    Case("no-verb", (), USAGE, "required"),
    Case("unknown-verb", ("upp",), USAGE, "invalid choice"),
    up("unknown-flag", "--force", says="--force"),
    up("abbreviated-flag", "--interf", "eth0", says="--interf"),
    up("flag-without-value", "--mac", says="expected one argument"),
    up("surplus-word", "now", says="now"),
    up("interface-with-a-command", "--interface", "eth0;reboot", says="no link name"),
    up("interface-with-a-substitution", "--interface", "$(id)", says="no link name"),
    up("interface-like-a-flag", "--interface=-rf", says="no link name"),
    up("interface-empty", "--interface", "", says="no link name"),
    up("interface-too-long", "--interface", "a" * 16, says="no link name"),
    up("interface-with-a-slash", "--interface", "../eth0", says="no link name"),
    up("interface-with-a-newline", "--interface", "eth0\nx", says="no link name"),
    up("interface-not-ascii", "--interface", "ethö", says="no link name"),
    up("tap-pattern", "--tap", "tap%d", says="no link name"),
    up("tap-with-a-blank", "--tap", "tap 0", says="no link name"),
    up("mac-multicast", "--mac", "01:00:5e:00:00:01", says="multicast"),
    up("mac-broadcast", "--mac", "ff:ff:ff:ff:ff:ff", says="multicast"),
    up("mac-zero", "--mac", "00:00:00:00:00:00", says="zero"),
    up("mac-short", "--mac", "52:54:00:12:34", says="52:54:00:12:34"),
    up("mac-long", "--mac", "52:54:00:12:34:56:78", says="MAC"),
    up("mac-not-hexadecimal", "--mac", "52:54:00:12:34:zz", says="MAC"),
    up("mac-empty", "--mac", "", says="MAC"),
    up("mtu-0", "--mtu", "0", says="MTU"),
    up("mtu-67", "--mtu", "67", says="MTU"),
    up("mtu-65536", "--mtu", "65536", says="MTU"),
    up("mtu-negative", "--mtu=-1500", says="MTU"),
    up("mtu-word", "--mtu", "jumbo", says="MTU"),
    up("mtu-fraction", "--mtu", "1e3", says="MTU"),
    up("mtu-huge", "--mtu", "9" * 5000, says="MTU"),
    up("mtu-above-the-device", "--mtu", "1451", says="larger than eth0's 1450", code=REFUSED),
    up("owner-name", "--owner", "qemu", says="owner"),
    up("owner-three", "--owner", "1:2:3", says="owner"),
    up("owner-negative", "--owner=-1", says="owner"),
    up("owner-nobody-at-all", "--owner", "4294967295", says="owner"),
    up("lease-time-with-a-unit", "--lease-time", "1h", says="lease time"),
    up("lease-time-0", "--lease-time", "0", says="lease time"),
    up("dhcp-by-somebody", "--dhcp", "dnsmasq", says="none of on, off, external"),
    up("ipv6-perhaps", "--ipv6", "auto", says="neither on nor off"),
    up("config-missing", "--config", "/nonexistent", says="no such file"),
    up("config-a-directory", "--config", "/etc", says="directory"),
    up("config-a-program", "--config", "/bin/true", says="unacceptable character"),
    up("config-something-else", "--config", "/etc/hostname", says="expected `object`"),
    up("hostname-with-a-blank", "--hostname", "a b", says="host name"),
    up("hostname-long-label", "--hostname", "a" * 64, says="host name"),
    up("hostname-with-a-hyphen-first", "--hostname=-a", says="host name"),
    up("isolation-unknown", "--isolation", "none", says="isolation"),
    up("allow-address-word", "--allow-address", "gateway", says="no address or prefix"),
    up("allow-address-empty", "--allow-address", "", says="no address or prefix"),
    up("allow-address-multicast", "--allow-address", "224.0.0.0/4", says="multicast"),
    up("allow-address-with-a-rule", "--allow-address", "10.0.0.1 } accept", says="no address or prefix"),
    up("allow-mac-multicast", "--allow-mac", "01:00:5e:00:00:01", says="multicast"),
    up("allow-mac-list-with-a-hole", "--allow-mac", "52:54:00:00:00:01,,52:54:00:00:00:02", says="MAC"),
    up("resolv-conf-missing", "--resolv-conf", "{tmp}/none", says="no such file"),
    up("resolv-conf-a-directory", "--resolv-conf", "{tmp}", says="directory"),
    up("resolv-conf-endless", "--resolv-conf", "/dev/zero", says="neither a file nor a pipe"),
    up("resolv-conf-empty-name", "--resolv-conf", "", says="resolver file"),
    up("netns-missing", "--netns", "vmnet-none", says="vmnet-none"),
    up("netns-a-file", "--netns", "/etc/passwd", says="/etc/passwd"),
    up("netns-a-directory", "--netns", "/tmp", says="/tmp"),  # noqa: S108 -- only named
    up("netns-another-kind", "--netns", "/proc/self/ns/uts", says="no network namespace"),
    up("netns-empty", "--netns", "", says="network namespace"),
    up("state-dir-a-file", "--state-dir", "/etc/passwd", says="state-dir"),
    up("state-dir-below-a-file", "--state-dir", "/etc/passwd/x", says="state-dir"),
    up("state-dir-unwritable", "--state-dir", "/proc/vmnet", says="state-dir", code=REFUSED),
    up("state-dir-empty", "--state-dir", "", says="state directory"),
    up("interface-missing", "--interface", "eth7", says="no interface eth7", code=REFUSED),
    up("interface-loopback", "--interface", "lo", says="lo is not an Ethernet", code=REFUSED),
    up(
        "interface-without-address",
        "--interface",
        "net1",
        says="neither an IPv4 nor a global IPv6 address",
        code=REFUSED,
    ),
    up("interface-in-a-bridge", "--interface", "net0", says="a port of br0 already", code=REFUSED),
    up("interface-macvlan", "--interface", "mv0", says="macvlan", code=REFUSED),
    up("interface-down", "--interface", "down0", says="down0 is down", code=REFUSED),
    Case("serve-without-up", ("serve",), REFUSED, "vmnet up"),
    Case("plan-of-nothing", ("plan", "--interface", "eth7"), REFUSED, "eth7"),
    Case("down-with-a-setting", ("down", "--mac", "52:54:00:12:34:56"), USAGE, "--mac"),
    Case("status-with-a-bad-name", ("status", "--interface", "a b"), USAGE, "no link name"),
    Case("mtu-from-the-environment", ("up",), USAGE, "MTU", ("VMNET_MTU=0",)),
    Case("mac-from-the-environment", ("up",), USAGE, "multicast", ("VMNET_MAC=01:00:5e:00:00:01",)),
    Case("interface-from-the-environment", ("plan",), USAGE, "no link name", ("VMNET_INTERFACE=$(id)",)),
)


@pytest.fixture(scope="module")
def crowded_pod() -> Iterator[Pod]:
    """Make one pod for all cases: none of them may change it."""
    with pods.pod("bridge") as pod:
        pod.netns.ip_batch(
            "link add name br0 type bridge",
            f"link add net0 type veth peer name nodenet0 netns {pod.node.name}",
            f"link add net1 type veth peer name nodenet1 netns {pod.node.name}",
            f"link add down0 type veth peer name nodedown0 netns {pod.node.name}",
            "link add link net1 name mv0 type macvlan mode bridge",
            "link set net0 master br0 up",
            "address add 10.9.0.2/24 dev net0",
            "link set net1 up",
            "link set mv0 up",
            "address add 10.9.1.2/24 dev mv0",
            "address add 10.9.2.2/24 dev down0",
        )
        yield pod


@pytest.fixture
def crowded_agent(crowded_pod: Pod, tmp_path: Path) -> Iterator[Agent]:
    made = forked.agent(crowded_pod, tmp_path)
    yield made
    made.clear()


def typed(agent: Agent, case: Case) -> list[str]:
    """What a case types, after the flags that keep the test to itself."""
    words = [word.replace("{tmp}", str(agent.state_dir.parent)) for word in case.words]
    place = ["--state-dir", str(agent.state_dir)] if words and words[0] != "upp" else []
    environment = [f"PATH={os.environ['PATH']}", *case.environment]
    return agent.command("env", "-i", *environment, VMNET, *words[:1], *place, *words[1:])


def assert_one_clear_line(done: Completed, case: Case) -> None:
    """One JSON object on stderr, nothing on stdout, the code and the reason as they shall be."""
    assert done.stderr.count("\n") == 1, done.stderr
    said = json.loads(done.stderr)
    assert (done.returncode, said.get("code"), said["level"]) == (case.code, case.code, "error"), said
    assert case.says in said["message"]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("case", sampled(CASES, 3), ids=lambda case: case.name)
def test_bad_input(crowded_pod: Pod, crowded_agent: Agent, case: Case) -> None:
    before = steady(look(crowded_pod.netns))
    with watched(crowded_pod.netns) as watch:
        done = run(typed(crowded_agent, case), check=False)
        assert_one_clear_line(done, case)
        assert watch.changes() == []
    assert difference(before, steady(look(crowded_pod.netns))) == ""
    assert list(crowded_agent.state_dir.glob("*/*/")) == [], "facts were saved"


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("tap0", "tuntap add dev tap0 mode tap"),
        ("tap0", "link add name tap0 type bridge"),
        ("k6t-eth0", "link add name k6t-eth0 type bridge"),
        ("eth0-nic", "link add name eth0-nic type bridge"),
    ],
)
def test_names_that_others_took(pod: Pod, agent: Agent, name: str, made: str) -> None:
    """Of the tap the name that is asked for; where none is, another one is taken."""
    pod.netns.ip_batch(made)
    case = up(f"taken-{name}", *(("--tap", name) if name == "tap0" else ()), says=name, code=REFUSED)
    with watched(pod.netns) as watch:
        assert_one_clear_line(run(typed(agent, case), check=False), case)
        assert watch.changes() == []


def test_pod_without_an_address(pod: Pod, agent: Agent) -> None:
    pod.netns.ip_batch("address flush dev eth0")
    case = up("no-address", says="neither an IPv4 nor a global IPv6 address", code=REFUSED)
    done = run(typed(agent, case), check=False)
    assert_one_clear_line(done, case)
    assert json.loads(done.stderr)["retryable"] is True


def test_other_settings_than_those_it_is_up_with(ready_pod: Pod, agent: Agent) -> None:
    case = up("other-tap", "--tap", "tap1", says="tap", code=REFUSED)
    with watched(ready_pod.netns) as watch:
        assert_one_clear_line(run(typed(agent, case), check=False), case)
        assert watch.changes() == []
    assert agent.run("status").returncode == 0


@pytest.mark.parametrize("verb", ["plan", "up"])
def test_the_hosts_own_namespace(tmp_path: Path, verb: str) -> None:
    """Asked for an interface that is not there: even a vmnet that does not know the host could not touch it."""
    words = (verb, "--state-dir", str(tmp_path / "state"), "--interface", "none0")
    case = Case("host", words, REFUSED, "host's own")
    assert_one_clear_line(run([VMNET, *words], check=False), case)


def test_a_terminal_gets_a_sentence(crowded_agent: Agent) -> None:
    case = up("mtu-0", "--mtu", "0", says="MTU")
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        try:
            done = subprocess.run(typed(crowded_agent, case), stderr=theirs, check=False, timeout=PATIENCE)
        finally:
            os.close(theirs)
        line = terminal.read(4096).decode()
    assert done.returncode == USAGE
    assert line.startswith("vmnet: error: MTU '0'")
    assert line.count("\n") == 1
