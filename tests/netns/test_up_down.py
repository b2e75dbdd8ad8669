"""`vmnet up` hands the pod over, `vmnet down` gives it back exactly, and neither does more than it must.

before and after                       between up and down
┌ pod ──────────────────────┐         ┌ pod ──────────────────────────────────┐
│ eth0: addresses, routes   │   up    │ eth0-nic ── k6t-eth0 ── tap0 ── guest │
│                           │ ◀─────▶ │                                       │
│                           │  down   │ eth0, the stand-in: the addresses     │
└───────────────────────────┘         └───────────────────────────────────────┘
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from testbed import clients, pods
from testbed.agent import lives
from testbed.layouts import ALL_OF_IPV6
from testbed.netns import TestbedError, kill
from testbed.patience import attempts
from testbed.pods import must_answer
from testbed.snapshot import difference, look, snapshot, steady
from testbed.tap_guest import raw_tap, tap_guest
from testbed.watch import watched
from tests import figures
from tests.extent import chosen, sampled

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from testbed.agent import Agent
    from testbed.pods import Pod
    from testbed.tap_guest import RawTap, TapGuest

OFFER = 2
SAMPLE = ("ptp", "bridge-dual", "calico-dual", "cilium")
GIVEN_BACK = (*SAMPLE, "aws", "ovn", "ipv6-only", ALL_OF_IPV6.name)


@pytest.mark.parametrize("layout", chosen([*pods.NAMES, ALL_OF_IPV6.name], GIVEN_BACK.__contains__))
def test_down_gives_back_exactly_what_was_found(pod: Pod, agent: Agent) -> None:
    found = snapshot(pod)
    agent.up()
    assert snapshot(pod) != found
    [server] = agent.servers()

    agent.down()

    assert difference(found, snapshot(pod)) == ""
    assert not lives(server)
    must_answer(pod.netns, pod.peer)


SETTINGS = {
    "ipv4/conf/eth0/arp_ignore": 2,
    "ipv4/conf/eth0/rp_filter": 2,
    "ipv4/neigh/eth0/gc_stale_time": 77,
    "ipv6/conf/eth0/accept_ra": 2,
    "ipv6/conf/eth0/forwarding": 1,
    "ipv6/conf/eth0/hop_limit": 63,
    "ipv6/conf/eth0/use_tempaddr": 2,
    "ipv6/neigh/eth0/base_reachable_time_ms": 25000,
}
"""Of an administrator's or a CNI's tuning plugin's, and none of them the default."""


def settings_of(pod: Pod) -> dict[str, str]:
    """All that /proc/sys has for the pod's NIC, but what the kernel counts and draws by itself."""
    rooms = [f"{family}/{room}/{pod.ifname}" for family in ("ipv4", "ipv6") for room in ("conf", "neigh")]
    shown = pod.netns.run("sh", "-c", 'cd /proc/sys/net && grep -sr "" "$@"', "sh", *rooms, check=False).stdout
    return dict(line.split(":", 1) for line in shown.splitlines() if "stable_secret" not in line)


@pytest.mark.parametrize("layout", ["bridge-dual"])
def test_down_gives_back_the_nic_with_its_settings(pod: Pod, agent: Agent) -> None:
    for key, value in SETTINGS.items():
        pod.netns.sysctl(key, value)
    found = settings_of(pod)
    assert {key: found[key] for key in SETTINGS} == {key: str(value) for key, value in SETTINGS.items()}
    agent.up()
    agent.down()
    assert settings_of(pod) == found


@pytest.mark.parametrize("layout", ["bridge-dual"])
def test_a_container_gives_back_what_the_node_has_handed_over(pod: Pod, agent: Agent) -> None:
    """It cannot write to /proc/sys: the pod gets its addresses all the same, and one setting is left."""
    pod.netns.sysctl("ipv6/conf/eth0/accept_ra", 2)
    found, settings = snapshot(pod), settings_of(pod)
    replace(agent, confined=False).up()
    said = replace(agent, confined=True).run("down")
    assert "accept_ra of eth0 stays 0, and was 2" in said.stderr
    assert settings_of(pod) == settings | {"ipv6/conf/eth0/accept_ra": "0"}
    pod.netns.sysctl("ipv6/conf/eth0/accept_ra", 2)
    assert difference(found, snapshot(pod)) == ""


@pytest.mark.parametrize("layout", chosen(pods.NAMES, SAMPLE.__contains__))
def test_up_twice_changes_nothing_the_second_time(ready_pod: Pod, agent: Agent) -> None:
    servers, found = agent.servers(), look(ready_pod.netns)
    with watched(ready_pod.netns) as watch:
        agent.up()
        assert watch.changes() == []
    assert difference(steady(found), steady(look(ready_pod.netns))) == ""
    assert agent.servers() == servers
    assert len(servers) == 1


def test_a_second_round_is_like_the_first(pod: Pod, agent: Agent) -> None:
    found = snapshot(pod)
    agent.up()
    bound = snapshot(pod)
    agent.down()
    agent.up()
    assert difference(steady(bound), steady(snapshot(pod))) == ""
    agent.down()
    assert difference(found, snapshot(pod)) == ""


def test_down_three_times(pod: Pod, agent: Agent) -> None:
    found = snapshot(pod)
    agent.up()
    for _ in range(3):
        agent.down()
        assert difference(found, snapshot(pod)) == ""


def test_down_of_a_pod_that_was_never_up(pod: Pod, agent: Agent) -> None:
    with watched(pod.netns) as watch:
        agent.down()
        assert watch.changes() == []


@pytest.mark.parametrize("flags", [(), ("--json",)])
@pytest.mark.parametrize("layout", chosen(pods.NAMES, SAMPLE.__contains__))
def test_plan_touches_nothing(pod: Pod, agent: Agent, flags: tuple[str, ...]) -> None:
    with watched(pod.netns) as watch:
        said = agent.run("plan", *flags)
        assert watch.changes() == []
    assert pod.address in said.stdout
    assert not agent.state_dir.exists()


def test_plan_of_a_ready_pod_has_nothing_to_do(ready_pod: Pod, agent: Agent) -> None:
    plan = json.loads(agent.run("plan", "--json").stdout)
    assert plan["changes"] == []
    assert plan["lease"]["yiaddr"] == ready_pod.address


def test_status_of_a_pod_that_is_not_up(pod: Pod, agent: Agent) -> None:
    del pod
    done = agent.run("status", check=False)
    assert (done.returncode, done.stdout) == (11, "down: nothing is bound here\n")
    assert agent.status()["state"] == "down"


def test_status_follows_the_guest(guest: TapGuest, agent: Agent) -> None:
    silent = agent.status()
    clients.lease("udhcpc", guest)
    bound = agent.status()

    assert (silent["state"], silent["drift"]) == ("up", [])
    assert silent["server"]["lease"] == "silent"
    assert bound["server"]["lease"] == "bound"


@pytest.mark.parametrize(
    "damage",
    sampled(
        [
            "link set tap0 down",
            "link set tap0 nomaster",
            "link delete tap0",
            "link set eth0-nic nomaster",
            "link set k6t-eth0 type bridge stp_state 1",
            "address add 10.244.1.77/24 dev eth0-nic",
        ],
        3,
    ),
)
def test_damage_is_drift_and_up_mends_it(ready_pod: Pod, agent: Agent, tmp_path: Path, damage: str) -> None:
    ready_pod.netns.ip_batch(damage)
    assert agent.run("status", check=False).returncode == 7
    assert agent.status()["drift"]

    agent.up()

    assert agent.run("status").returncode == 0
    with tap_guest(ready_pod.netns, ready_pod.mac, tmp_path) as guest:
        clients.lease("udhcpc", guest)
        must_answer(guest.netns, ready_pod.peer)


def test_a_dead_server_is_drift_and_up_starts_another(ready_pod: Pod, agent: Agent) -> None:
    [server] = agent.servers()
    kill(server)
    with watched(ready_pod.netns) as watch:
        assert agent.run("status", check=False).returncode == 7
        agent.up()
        assert watch.changes() == []
    assert agent.servers() not in ([], [server])
    assert agent.run("status").returncode == 0


def test_serve_in_the_foreground(guest: TapGuest, agent: Agent, tmp_path: Path) -> None:
    [server] = agent.servers()
    kill(server)
    with agent.serve(tmp_path / "serve.log") as serving:
        serving.wait_for('"event":"serving"')
        leased = clients.lease("udhcpc", guest)
        assert agent.servers() == [serving.process.pid]
        os.kill(serving.process.pid, signal.SIGTERM)
        assert serving.wait() in (0, -signal.SIGTERM)
    assert leased.mac == guest.mac


OPENS_TAP = """
import fcntl, os, struct
fcntl.ioctl(os.open("/dev/net/tun", os.O_RDWR), 0x400454CA, struct.pack("16sH22x", b"tap0", 0x5002))
"""
OPEN_NODE = """
mount -t tmpfs none /dev/net
mknod -m 666 /dev/net/tun c 10 200
exec "$@"
"""
"""The device node lets everybody in, as it does on most machines."""


def test_nobody_but_its_owner_can_open_the_tap(ready_pod: Pod) -> None:
    node = ["unshare", "--mount", "sh", "-ec", OPEN_NODE, "sh"]
    stranger = ["setpriv", "--reuid", "65534", "--clear-groups", "--bounding-set", "-all", "--inh-caps", "-all"]
    opens = ["/usr/bin/python3", "-c", OPENS_TAP]
    assert ready_pod.netns.run(*node, *opens, check=False).returncode == 0
    refused = ready_pod.netns.run(*node, *stranger, *opens, check=False)
    assert "Operation not permitted" in refused.stderr
    assert refused.returncode == 1


def test_server_is_detached(ready_pod: Pod, agent: Agent) -> None:
    del ready_pod
    [server] = agent.servers()
    assert os.getsid(server) == server


@pytest.mark.parametrize("layout", ["bridge", "calico"])
def test_a_discover_right_after_ready_is_never_lost(pod: Pod, agent: Agent) -> None:
    for xid in range(5):
        agent.up()
        with raw_tap(pod.netns) as tap:
            tap.send(discover(pod.mac, xid))
            offer = Ether(tap.receive(is_offer(xid)))
        assert offer[BOOTP].yiaddr == pod.address
        agent.down()


def test_two_discovers_of_one_exchange_get_two_offers(ready_pod: Pod, raw_tap: RawTap) -> None:
    for _ in range(2):
        raw_tap.send(discover(ready_pod.mac, 7))
    for _ in range(2):
        raw_tap.receive(is_offer(7))


def test_a_tap_deleted_and_made_again_is_served_again(ready_pod: Pod, agent: Agent) -> None:
    servers = agent.servers()
    ready_pod.netns.ip_batch("link delete tap0", "tuntap add tap0 mode tap vnet_hdr", "link set tap0 up")
    with raw_tap(ready_pod.netns) as tap, figures.timed("a tap made anew is served again", at_most=1):
        wait_for_an_offer(tap, ready_pod)
    assert agent.servers() == servers

    agent.up()
    assert agent.run("status").returncode == 0
    with raw_tap(ready_pod.netns) as tap:
        tap.send(discover(ready_pod.mac, 7))
        tap.receive(is_offer(7))


def wait_for_an_offer(tap: RawTap, pod: Pod) -> None:
    """Ask again and again, as a client does that is not heard yet."""
    for xid, _ in enumerate(attempts("an offer")):
        tap.send(discover(pod.mac, xid))
        with contextlib.suppress(TestbedError):
            tap.receive(is_offer(xid), timeout=0.1)
            return


def discover(mac: str, xid: int) -> bytes:
    """A DISCOVER as a guest broadcasts it."""
    return bytes(
        Ether(src=mac, dst="ff:ff:ff:ff:ff:ff")
        / IP(src="0.0.0.0", dst="255.255.255.255")  # noqa: S104 -- what a host without address says
        / UDP(sport=68, dport=67)
        / BOOTP(chaddr=bytes.fromhex(mac.replace(":", "")), xid=xid)
        / DHCP(options=[("message-type", "discover"), "end"])
    )


def is_offer(xid: int) -> Callable[[bytes], bool]:
    """Whether a frame is the OFFER of that exchange."""

    def wanted(frame: bytes) -> bool:
        packet = Ether(frame)
        return DHCP in packet and packet[BOOTP].xid == xid and ("message-type", OFFER) in packet[DHCP].options

    return wanted
