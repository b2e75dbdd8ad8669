"""`vmnet render`: what it prints makes a guest that does not listen the pod, applied by the programs it is for.

┌ pod ─────────────────────────┐      ┌ guest ──────────────────────────┐
│ vmnet render > configuration │      │ eth0: networkd, ifupdown …      │
│ eth0-nic ── k6t-eth0 ── tap0 ┼──────┤ reads the configuration         │
└──────────────────────────────┘      └─────────────────────────────────┘
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from testbed.clients import NETWORKD
from testbed.facts import GuestFacts, differences, read_facts
from testbed.facts6 import differences6, read_facts6, read_pod6
from testbed.jailed import Jail, Told, assignments
from testbed.netns import background, run
from testbed.patience import PATIENCE
from testbed.pods import HEADERS6, must_answer
from testbed.tap_guest import tap_guest
from testbed.unpacked import CLOUD_INIT, programs
from testbed.watch import wait_for_sure_addresses, watched
from tests.extent import chosen
from tests.need import need

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from testbed.agent import Agent
    from testbed.pods import Pod
    from testbed.tap_guest import TapGuest

NETWORK_GENERATOR = Path("/usr/lib/systemd/systemd-network-generator")
RENDERERS = Path(__file__).parents[2] / "testbed" / "cloud_init_renderers.py"
LAYOUTS = ("bridge", "calico", "cilium", "ovn", "ptp")
LAYOUTS6 = ("bridge-dual", "calico-dual", "cilium", "ipv6-only", "ptp-dual")


def rendered(agent: Agent, form: str) -> str:
    return agent.run("render", "--format", form).stdout


def jailed(guest: TapGuest, form: str) -> Jail:
    """A directory behind whose walls a program of the guest runs."""
    directory = guest.directory / form
    (directory / "run").mkdir(parents=True)
    return Jail(guest, directory)


def networkd(guest: TapGuest, form: str, network: str) -> Told:
    """Let systemd-networkd apply a .network file; it resolves nothing itself, its state says what it was told."""
    jail = jailed(guest, form)
    place = jail.directory / "run" / "systemd" / "network"
    place.mkdir(parents=True)
    (place / "10-vmnet.network").write_text(network, encoding="utf-8")
    environment = ("env", "SYSTEMD_LOG_LEVEL=debug", "SYSTEMD_LOG_TARGET=console")
    with background(jail.command(*environment, NETWORKD), jail.log) as client:
        client.wait_for(rf"{guest.ifname}: State changed: configuring -> configured", PATIENCE)
        [link] = guest.netns.ip("link", "show", "dev", guest.ifname)
        state = jail.directory / "run" / "systemd" / "netif" / "links" / str(link["ifindex"])
        told = assignments(state.read_text(encoding="utf-8"))
    return Told(tuple(told["DNS"].split()), tuple(told.get("DOMAINS", "").split()))


def by_networkd(agent: Agent, guest: TapGuest) -> Told:
    return networkd(guest, "networkd", rendered(agent, "networkd"))


def by_netplan(agent: Agent, guest: TapGuest) -> Told:
    """Let netplan check it and write it for networkd; a veth has no permanent MAC, of which netplan speaks."""
    need("netplan", "netplan.io")
    root = guest.directory / "netplan"
    configuration = root / "etc" / "netplan" / "vmnet.yaml"
    configuration.parent.mkdir(parents=True)
    configuration.touch(mode=0o600)
    configuration.write_text(rendered(agent, "netplan"), encoding="utf-8")
    said = run(["netplan", "generate", "--root-dir", root])
    assert "Error" not in said.stderr
    [network] = (root / "run" / "systemd" / "network").glob("*.network")
    text = network.read_text(encoding="utf-8").replace("PermanentMACAddress=", "MACAddress=")
    return networkd(guest, "netplan-networkd", text)


def by_cloud_init(agent: Agent, guest: TapGuest) -> Told:
    """Let cloud-init write it for networkd; the NIC keeps the name that the testbed gave it."""
    configuration = yaml.safe_load(rendered(agent, "cloud-init"))
    asked = json.dumps({"guest": configuration})
    said = run([sys.executable, RENDERERS, programs(CLOUD_INIT)], stdin=asked).stdout
    [text] = (text for path, text in json.loads(said)["guest"]["networkd"].items() if path.endswith(".network"))
    return networkd(guest, "cloud-init", text.replace("Name=eth0\n", ""))


def by_ifupdown(agent: Agent, guest: TapGuest) -> Told:
    """Let ifup find the NIC by its MAC; DNS it leaves to resolvconf, so that is only read back."""
    need("ifup", "ifupdown")
    jail = jailed(guest, "ifupdown")
    interfaces = jail.directory / "run" / "interfaces"
    interfaces.write_text(rendered(agent, "ifupdown"), encoding="utf-8")
    (jail.directory / "run" / "network").mkdir()
    jail.to_the_end("ifup", "--all", "--interfaces", "/run/interfaces")
    words = run(["ifquery", "--interfaces", interfaces, "vmnet"]).stdout.splitlines()
    told = {key: tuple(value.split()) for key, _, value in (line.partition(": ") for line in words)}
    return Told(told["dns-nameservers"], told["dns-search"])


def of_ipv4(guest: TapGuest, told: Told) -> GuestFacts:
    """What the guest has and was told of IPv4."""
    nameservers = tuple(address for address in told.nameservers if ":" not in address)
    return replace(read_facts(guest.netns, guest.ifname), nameservers=nameservers, search=told.search)


def of_layouts(layouts: Sequence[str], by_another_way: Sequence[str]) -> list[Any]:
    """Layouts, and who applies what was rendered. In a sample each layout is there once, and each who applies."""
    several = [
        pytest.param(layout, apply, marks=[] if number % 2 == place else pytest.mark.exhaustive)
        for number, layout in enumerate(layouts)
        for place, apply in enumerate((by_networkd, by_ifupdown))
    ]
    first, *rest = by_another_way
    return [
        *several,
        (first, by_netplan),
        *(pytest.param(one, by_netplan, marks=pytest.mark.exhaustive) for one in rest),
    ]


@pytest.mark.parametrize(
    ("layout", "apply"),
    of_layouts(LAYOUTS, ("calico", "ovn")),
)
def test_guest_without_dhcp_is_what_the_pod_was(
    pod: Pod, before: GuestFacts, guest: TapGuest, agent: Agent, apply: Callable[[Agent, TapGuest], Told]
) -> None:
    told = apply(agent, guest)
    assert differences(before, of_ipv4(guest, told)) == ""
    must_answer(guest.netns, pod.peer)
    must_answer(pod.node, pod.address)
    agent.run("wait", "--for", "bound", "--timeout", str(PATIENCE / 2))
    assert agent.status()["server"]["lease"] == "static"


@pytest.mark.parametrize(
    ("layout", "apply"),
    of_layouts(LAYOUTS6, ("ipv6-only", "calico-dual")),
)
def test_its_ipv6_is_the_pods_too_and_goes_by_the_pods_own_gateway(
    pod: Pod, agent: Agent, tmp_path: Path, apply: Callable[[Agent, TapGuest], Told]
) -> None:
    before = read_pod6(pod)
    [own] = pod.netns.ip("-6", "route", "show", "default")
    agent.up()
    with tap_guest(pod.netns, pod.mac, tmp_path, accept_ra=0) as guest:
        told = apply(agent, guest)
        wait_for_sure_addresses(guest.netns)
        facts = read_facts6(guest.netns, guest.ifname, pod.peer6)
        nameservers = tuple(address for address in told.nameservers if ":" in address)
        assert differences6(before, replace(facts, nameservers=nameservers, search=told.search)) == ""
        [default] = guest.netns.ip("-6", "route", "show", "default")
        assert default["gateway"] == own["gateway"]
        must_answer(guest.netns, pod.peer6, size=facts.mtu - HEADERS6)
        must_answer(pod.node, pod.address6)
        # Which of them depends on whether it has had to solicit anybody by now.
        assert agent.status()["server"]["ipv6"]["lease"] in ("silent", "static")


@pytest.mark.parametrize("layout", chosen(("bridge", "calico", "ptp", "aws"), ("calico", "aws").__contains__))
def test_what_cloud_init_makes_of_it_is_a_working_network(pod: Pod, guest: TapGuest, agent: Agent) -> None:
    """The prefixes are not always the pod's: each renderer of cloud-init can say these."""
    told = by_cloud_init(agent, guest)
    assert told.nameservers[: len(pod.nameservers)] == tuple(pod.nameservers)
    must_answer(guest.netns, pod.peer)
    must_answer(pod.node, pod.address)


@pytest.mark.parametrize("layout", ["bridge"])
def test_kernel_ip_as_an_initramfs_reads_it(
    pod: Pod, before: GuestFacts, guest: TapGuest, agent: Agent, tmp_path: Path
) -> None:
    need(NETWORK_GENERATOR, "systemd")
    run([NETWORK_GENERATOR, f"--root={tmp_path}", "--", rendered(agent, "kernel-ip").strip()])
    [network] = tmp_path.glob("run/systemd/network/*.network")
    text = network.read_text(encoding="utf-8")
    # A veth is of a kind, which the generator's match excludes; no router is there to wait for.
    here = text.replace("Kind=!*", f"Name={guest.ifname}").replace("[Network]", "[Network]\nIPv6AcceptRA=no")
    facts = of_ipv4(guest, networkd(guest, "kernel-ip", here))
    assert differences(before, replace(facts, mtu=before.mtu, search=before.search)) == ""
    assert "Hostname=vm-1" in text
    must_answer(guest.netns, pod.peer)


@pytest.mark.parametrize("form", ["cloud-init", "networkd", "netplan", "ifupdown", "kernel-ip", "json"])
def test_before_up_it_says_what_it_will_say_after(pod: Pod, agent: Agent, form: str) -> None:
    flags = ("--format", form, "--resolv-conf", agent.resolv_conf, "--hostname", "vm-1")
    with watched(pod.netns) as watch:
        early = agent.run("render", *flags)
        assert watch.changes() == []
    assert not agent.state_dir.exists()
    assert pod.address in early.stdout
    agent.up()
    assert agent.run("render", "--format", form).stdout == early.stdout


def test_an_unknown_format_is_a_usage_error(agent: Agent) -> None:
    done = agent.run("render", "--format", "toml", check=False)
    assert done.returncode == 2
    assert "netplan" in done.stderr
