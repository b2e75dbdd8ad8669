"""Each object of the binding removed or altered in turn: `status` names it, `up` puts it right and nothing else.

┌ pod ──────────────────────────────────┐
│ eth0-nic ── k6t-eth0 ── tap0          │   every link, address, entry, setting, file and process of this
│ eth0, the stand-in      vmnet-server  │
└───────────────────────────────────────┘
"""

from __future__ import annotations

import os
import re
import shutil
import signal
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from testbed.netns import kill
from testbed.snapshot import difference, snapshot
from testbed.watch import watched
from tests.extent import sampled
from tests.netns.forked import Forked
from tests.netns.trials import Trial, note_names, trial
from vmnet.model.links import FOREVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from testbed.agent import Agent
    from testbed.pods import Pod

MAC = "f6:8a:41:0a:f9:62"
GUEST = "netdev vmnet_eth0 guest"
LOAD = "load the isolation rules of table vmnet_eth0"
SOMEBODYS = "02:00:00:00:00:99"
MORE_THAN_A_SETTING = re.compile("^(create|add address|delete address|delete route) |^set [^ ]+ up|^set tap0 mtu")
"""Where the kernel announces addresses and routes that come and go."""


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """One pod for all: each test leaves it as it shall be."""
    with handed_over("bridge", tmp_path_factory.mktemp("repair")) as made:
        yield made


@pytest.fixture(scope="module")
def mine6(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """Such a pod with all that there is of IPv6."""
    with handed_over("all-of-ipv6", tmp_path_factory.mktemp("repair6")) as made:
        yield made


@contextmanager
def handed_over(layout: str, directory: Path) -> Iterator[Trial]:
    """A pod that is up, and is as it was found after the last `down`."""
    with trial(layout, directory) as made:
        made.vmnet.up()
        yield made
        made.vmnet.down()
        made.must_be_as_found(f"all repairs of {layout}")


@dataclass(frozen=True, slots=True)
class Damage:
    """How to do it, and what `status` calls it."""

    name: str
    do: Callable[[Trial], object]
    named: str
    also: int = 0
    """How many more differences follow from it by the kernel's rules."""
    afterwards: int = 0
    """How many things the kernel adds by itself during the repair, that `up` takes away again."""
    sysctls: int = 0
    """How many of the differences a container with a read-only /proc/sys neither sees nor mends."""


def ip(*lines: str) -> Callable[[Trial], object]:
    """Do it with iproute2."""
    return lambda mine: mine.pod.netns.ip_batch(*lines)


BRIDGE_STAYS = ("link set k6t-eth0 mtu 1400", "link set k6t-eth0 mtu 1450")
"""A bridge whose MTU nobody has set takes its ports' least one (net/bridge/br_if.c, br_mtu_auto_adjust)."""


def sysctl(key: str, value: int) -> Callable[[Trial], object]:
    """Do it in /proc/sys."""
    return lambda mine: mine.pod.netns.sysctl(key, value)


def nft(command: str) -> Callable[[Trial], object]:
    """Do it with nft."""
    return lambda mine: mine.pod.netns.run("nft", command)


def _delete_rule(mine: Trial) -> None:
    listed = mine.pod.netns.run("nft", "--handle", "list", "chain", GUEST).stdout
    [handle] = re.findall(r"only own IPv4 addresses .* # handle (\d+)", listed)
    mine.pod.netns.run("nft", f"delete rule {GUEST} handle {handle}")


def _forget_fdb(mine: Trial) -> None:
    mine.pod.netns.run("bridge", "fdb", "delete", MAC, "dev", "tap0", "master")


def _tear_note(mine: Trial) -> None:
    mine.pod.netns.ip_batch(f"link property del dev eth0-nic altname {note_names(mine.pod.netns)[2]}")


def _remove_note(mine: Trial) -> None:
    mine.pod.netns.ip_batch(
        *(f"link property del dev eth0-nic altname {name}" for name in note_names(mine.pod.netns))
    )


def _lose_journal(mine: Trial) -> None:
    shutil.rmtree(mine.agent.state_dir)


def _kill_server(mine: Trial) -> None:
    [server] = mine.agent.servers()
    kill(server)


def _stop_server(mine: Trial) -> None:
    [server] = mine.agent.servers()
    os.kill(server, signal.SIGSTOP)


DAMAGES = (
    Damage("bridge gone", ip("link delete k6t-eth0"), "create bridge k6t-eth0", also=8, sysctls=1),
    Damage("bridge down", ip("link set k6t-eth0 down"), "set k6t-eth0 up=True"),
    Damage("stp on", ip("link set k6t-eth0 type bridge stp_state 1"), "set k6t-eth0 stp=False"),
    Damage(
        "snooping on", ip("link set k6t-eth0 type bridge mcast_snooping 1"), "set k6t-eth0 mcast_snooping=False"
    ),
    Damage("bridge answers ARP", sysctl("ipv4/conf/k6t-eth0/arp_ignore", 0), "set k6t-eth0 arp_ignore=1"),
    Damage("bridge takes RAs", sysctl("ipv6/conf/k6t-eth0/accept_ra", 1), "set k6t-eth0 accept_ra=0", sysctls=1),
    Damage("bridge autoconfigures", ip("link set k6t-eth0 addrgenmode eui64"), "set k6t-eth0 addr_gen_mode=1"),
    Damage(
        "bridge has an address",
        ip("address add 10.9.9.9/32 dev k6t-eth0"),
        "delete address 10.9.9.9/32 on k6t-eth0",
    ),
    Damage("bridge's MAC", ip(f"link set k6t-eth0 address {SOMEBODYS}"), "set k6t-eth0 mac="),
    Damage("tap gone", ip("link delete tap0"), "create tun tap0", also=8, sysctls=1),
    Damage("tap down", ip("link set tap0 down"), "set tap0 up=True"),
    Damage("tap out of the bridge", ip("link set tap0 nomaster"), "set tap0 controller=k6t-eth0", also=2),
    Damage("tap learns", ip("link set tap0 type bridge_slave learning on"), "set tap0 learning=False"),
    Damage("tap's MTU", ip("link set tap0 mtu 1200"), "set tap0 mtu=1450", also=5, afterwards=2, sysctls=2),
    Damage("forwarding entry gone", _forget_fdb, f"add forwarding entry {MAC} on tap0"),
    Damage("NIC out of the bridge", ip("link set eth0-nic nomaster"), "set eth0-nic controller=k6t-eth0", also=1),
    Damage("NIC with the VM's MAC", ip(f"link set eth0-nic address {MAC}"), "set eth0-nic mac=02:76:6d:", also=1),
    Damage("NIC renamed", ip("link set eth0-nic name uplink7"), "set uplink7 ifname=eth0-nic", also=1),
    Damage(
        "NIC has an address", ip("address add 10.9.9.9/32 dev eth0-nic"), "delete address 10.9.9.9/32 on eth0-nic"
    ),
    Damage("NIC down", ip("link set eth0-nic down"), "set eth0-nic up=True"),
    Damage("NIC's MTU", ip(*BRIDGE_STAYS, "link set eth0-nic mtu 1400"), "set eth0-nic mtu=1450"),
    Damage("NIC learns", ip("link set eth0-nic type bridge_slave learning on"), "set eth0-nic learning=False"),
    Damage("stand-in gone", ip("link delete eth0"), "create bridge eth0", also=3),
    Damage("stand-in down", ip("link set eth0 down"), "set eth0 up=True"),
    Damage("stand-in without address", ip("address flush dev eth0"), "add address 10.244.1.2/24 on eth0"),
    Damage("stand-in answers ARP", sysctl("ipv4/conf/eth0/arp_ignore", 0), "set eth0 arp_ignore=1"),
    Damage("stand-in's MAC", ip(f"link set eth0 address {SOMEBODYS}"), f"set eth0 mac={MAC}"),
    Damage("rule removed", _delete_rule, LOAD),
    Damage("rule added", nft(f"insert rule {GUEST} accept"), LOAD),
    Damage("rules flushed", nft(f"flush chain {GUEST}"), LOAD),
    Damage("policy changed", nft(f"chain {GUEST} {{ policy accept; }}"), LOAD),
    Damage("chain added", nft("add chain netdev vmnet_eth0 other"), LOAD),
    Damage("rules of the links gone", nft("delete table netdev vmnet_eth0"), LOAD),
    Damage("rules of the bridge gone", nft("delete table bridge vmnet_eth0"), LOAD),
    Damage("note torn", _tear_note, "add note of the pod's facts on eth0-nic"),
    Damage("note gone", _remove_note, "add note of the pod's facts on eth0-nic"),
    Damage("journal gone", _lose_journal, "save the pod's configuration again: the journal is lost"),
    Damage("server killed", _kill_server, "start the DHCP server: it does not answer"),
    Damage("server stuck", _stop_server, "start the DHCP server: it does not answer"),
)


DAMAGES6 = (
    Damage("our server's chain gone", nft("delete chain bridge vmnet_eth0 server"), LOAD),
    Damage("our server's rules flushed", nft("flush chain bridge vmnet_eth0 server"), LOAD),
    Damage(
        "an IPv6 address gone",
        ip("address delete fd00:10:251:1::3/128 dev eth0"),
        "add address fd00:10:251:1::3/128 on eth0",
    ),
    Damage(
        "an IPv6 route of the stand-in",
        ip("route add 2001:db8:9::/48 dev eth0 expires 900"),
        "delete route 2001:db8:9::/48",
    ),
    Damage(
        "the bridge with an IPv6 address",
        ip("address add fe80::7/64 dev k6t-eth0 nodad"),
        "delete address fe80::7/64 on k6t-eth0",
        also=1,
    ),
)


@pytest.mark.parametrize("damage", sampled(DAMAGES6, 2), ids=lambda damage: damage.name)
def test_damage_to_ipv6_is_named_by_status_and_repaired_by_up_alone(damage: Damage, mine6: Trial) -> None:
    _must_be_named_and_repaired(damage, mine6)


@pytest.mark.parametrize("damage", sampled(DAMAGES, 2), ids=lambda damage: damage.name)
def test_damage_is_named_by_status_and_repaired_by_up_alone(damage: Damage, mine: Trial) -> None:
    _must_be_named_and_repaired(damage, mine)


def _must_be_named_and_repaired(damage: Damage, mine: Trial) -> None:
    sysctls = damage.sysctls if mine.agent.confined else 0
    if sysctls > damage.also:
        pytest.skip("a container can neither see this nor mend it: /proc/sys is read-only")
    damage.do(mine)

    code, report = mine.vmnet.status()
    drift = report["drift"]
    assert code == 7
    assert any(difference.startswith(damage.named) for difference in drift), drift
    assert len(drift) == 1 + damage.also - sysctls, drift

    with watched(mine.pod.netns) as watch:
        changes = mine.vmnet.up().changes
        announced = watch.changes()
    of_links = [difference for difference in drift if not difference.startswith(("save ", "start "))]
    assert list(changes[: len(of_links)]) == of_links
    assert len(changes) == len(of_links) + damage.afterwards, changes
    if LOAD in changes:
        announced = [change for change in announced if not change.startswith("the firewall was changed")]
    if not any(MORE_THAN_A_SETTING.match(change) for change in changes):
        assert announced == []
    mine.must_be_up(damage.name)
    assert mine.vmnet.status()[0] == 0


def test_a_tap_to_be_made_anew_that_nobody_serves(mine: Trial) -> None:
    """Its server is started for the old tap first, then again for the new one."""
    _kill_server(mine)
    mine.pod.netns.ip_batch("link delete tap0", "tuntap add tap0 mode tap user 1234")
    assert mine.vmnet.status()[0] == 7
    mine.vmnet.up()
    mine.must_be_up("somebody else's tap")
    assert mine.vmnet.status()[0] == 0


def test_a_binding_of_which_only_the_nics_name_is_left(tmp_path: Path) -> None:
    with trial("ptp", tmp_path) as mine:
        mine.vmnet.up()
        _remove_note(mine)
        mine.pod.netns.ip_batch("link delete k6t-eth0", "link delete tap0")
        assert mine.vmnet.status()[0] == 7
        mine.vmnet.up()
        mine.must_be_up("note, bridge and tap gone")
        _remove_note(mine)
        mine.pod.netns.ip_batch("link delete k6t-eth0", "link delete tap0", "link delete eth0")
        mine.vmnet.down()
        mine.must_be_as_found("note, bridge, tap and stand-in gone")


def test_a_nic_that_is_gone_is_said_and_nothing_is_done(tmp_path: Path) -> None:
    with trial("calico", tmp_path) as mine:
        mine.vmnet.up()
        mine.pod.netns.ip_batch("link delete eth0-nic")
        code, report = mine.vmnet.status()
        assert code == 7
        assert any(text.startswith("link eth0-nic is gone, and `vmnet up --") for text in report["drift"])
        ended = mine.vmnet.run("up")
        assert (ended.code, ended.changes) == (3, ())
        assert "the pod's NIC eth0-nic is gone; run `vmnet down --state-dir " in ended.message
        mine.vmnet.down()
        assert [link["ifname"] for link in mine.pod.netns.ip("link")] == ["lo"]


def test_an_address_that_somebody_gave_a_longer_life_keeps_it(tmp_path: Path) -> None:
    """Whoever renews the pod's addresses goes on doing so while the VM has them (decision 25)."""
    renewed = "fd00:10:251:1::4"
    with trial("all-of-ipv6", tmp_path) as mine:
        mine.vmnet.up()
        longer = "valid_lft forever preferred_lft forever nodad noprefixroute"
        mine.pod.netns.ip_batch(f"address change {renewed}/64 dev eth0 {longer}")
        assert mine.vmnet.status()[0] == 0
        mine.vmnet.down()
        [link] = mine.pod.netns.ip("-6", "address", "show", "dev", "eth0")
        [address] = [address for address in link["addr_info"] if address.get("local") == renewed]
        assert address["valid_life_time"] == FOREVER


def test_a_pod_whose_mtu_is_too_small_for_ipv6(pod: Pod, agent: Agent) -> None:
    """Below 1280 the kernel takes IPv6 off a link, and refuses every setting of it."""
    pod.netns.ip_batch("link set eth0 mtu 1200")
    vmnet, found = Forked(agent), snapshot(pod)
    vmnet.up()
    assert vmnet.status()[0] == 0
    vmnet.down()
    assert difference(found, snapshot(pod)) == ""
