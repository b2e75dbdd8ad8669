"""`--config` with a real pod: what the file says is what the guest gets; who names none pays nothing for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.l2 import Ether

from testbed import clients
from testbed.clients6 import living6
from testbed.jailed import assignments
from testbed.netns import TestbedError, background, run
from testbed.tap_guest import raw_tap, tap_guest
from tests.need import need
from tests.netns.test_arp import SERVER_ID, SERVER_MAC, answered
from tests.netns.test_up_down import discover, is_offer

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.agent import Agent
    from testbed.pods import Pod

FILE = """\
interfaces:
  eth0:
    mtu: 1300
    lease_time: 600
    dns: {servers: ["fd00::53", 10.0.0.53], search: [example.org]}
    ntp: [10.0.0.123, "fd00::123"]
    boot: {server: 10.0.0.9, file: ipxe.efi}
    options: [{code: 252, text: "http://wpad/"}]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    written = tmp_path / "vmnet.yaml"
    written.write_text(FILE, encoding="ascii")
    return written


def test_what_the_file_says_is_what_the_guest_gets(pod: Pod, agent: Agent, file: Path, tmp_path: Path) -> None:
    agent.up("--config", file)
    agent.up("--config", file)
    with tap_guest(pod.netns, pod.mac, tmp_path) as guest:
        leased = clients.lease("udhcpc", guest)
    assert (leased.address, leased.mtu, leased.lease_time) == (pod.address, 1300, 600)
    assert (leased.nameservers, leased.search) == (("10.0.0.53",), ("example.org",))
    with raw_tap(pod.netns) as tap:
        tap.send(discover(pod.mac, 7))
        offer = Ether(tap.receive(is_offer(7)))
    assert (offer[BOOTP].siaddr, offer[BOOTP].file.rstrip(b"\0")) == ("10.0.0.9", b"ipxe.efi")
    told = dict(option for option in offer[DHCP].options if len(option) == 2)
    assert (told["NTP_server"], told["tftp_server_name"], told[252]) == (
        "10.0.0.123",
        b"10.0.0.9",
        b"http://wpad/",
    )


@pytest.mark.parametrize("layout", ["bridge-dual"])
def test_of_each_family_it_gets_its_own(pod: Pod, agent: Agent, file: Path, tmp_path: Path) -> None:
    agent.up("--config", file)
    with living6("networkd", pod, tmp_path) as guest:
        facts, facts6 = guest.facts(), guest.facts6()
        [link] = guest.netns.ip("link", "show", "dev", guest.guest.ifname)
        told = assignments(guest.jail.read(f"run/systemd/netif/links/{link['ifindex']}"))
    assert (facts.nameservers, facts6.nameservers) == (("10.0.0.53",), ("fd00::53",))
    assert sorted(told["NTP"].split()) == ["10.0.0.123", "fd00::123"]
    assert (facts.mtu, facts6.mtu, facts6.search) == (1300, 1300, ("example.org",))


@pytest.mark.parametrize("layout", ["bridge-dual"])
def test_without_ipv6_it_gets_that_of_the_other_family(pod: Pod, agent: Agent, file: Path) -> None:
    told = agent.up("--config", file, "--ipv6", "off").stderr
    assert agent.status()["lease6"] is None
    assert "fd00::" not in told


def test_a_file_that_says_otherwise_of_a_bound_pod_is_refused(agent: Agent, file: Path) -> None:
    """Nothing changes under a running guest; what the file no longer says stays until the pod is given back."""
    agent.up("--config", file)
    for said, otherwise, words in (
        ("mtu: 1300", "mtu: 1200", "eth0 is already up with mtu 1300, you asked for 1200; run `vmnet down"),
        (
            '[10.0.0.123, "fd00::123"]',
            "[10.0.0.1]",
            "eth0 is already up with ntp 10.0.0.123, fd00::123, you asked for 10.0.0.1; run `vmnet down",
        ),
    ):
        file.write_text(FILE.replace(said, otherwise), encoding="ascii")
        refused = agent.run("up", "--config", file, check=False)
        assert refused.returncode == 3
        assert words in refused.stderr
    file.write_text("interfaces: {eth0: {}}", encoding="ascii")
    agent.up("--config", file)
    status = agent.status()
    assert (status["drift"], status["lease"]["ntp_servers"]) == ([], ["10.0.0.123"])


@pytest.mark.parametrize("mode", ["off", "external"])
def test_a_guest_that_vmnet_does_not_serve_has_silence_and_its_arp(pod: Pod, agent: Agent, mode: str) -> None:
    agent.up("--dhcp", mode)
    assert agent.status()["drift"] == []
    with raw_tap(pod.netns) as tap:
        tap.send(discover(pod.mac, 7))
        assert answered(tap, pod, SERVER_ID) == SERVER_MAC
        with pytest.raises(TestbedError, match="no such frame"):
            tap.receive(is_offer(7), timeout=0.5)
    assert agent.status()["server"]["ignored"] == {"not_served": 1}


def test_an_external_server_in_the_pod_network_serves_the_guest(pod: Pod, agent: Agent, tmp_path: Path) -> None:
    need("dnsmasq", "dnsmasq-base")
    agent.up("--dhcp", "external")
    words = ("--no-daemon", "--conf-file=/dev/null", "--port=0", "--interface=cni0", "--bind-interfaces")
    lease = (f"--dhcp-host={pod.mac},{pod.address}", "--dhcp-range=10.244.1.0,static,255.255.255.0,321")
    files = (f"--dhcp-leasefile={tmp_path / 'leases'}", f"--pid-file={tmp_path / 'pid'}", "--user=root")
    dnsmasq = pod.node.command("dnsmasq", *words, *lease, *files)
    with (
        background(dnsmasq, tmp_path / "dnsmasq.log") as server,
        tap_guest(pod.netns, pod.mac, tmp_path) as guest,
    ):
        server.wait_for("started")
        leased = clients.lease("udhcpc", guest)
    assert (leased.address, leased.lease_time) == (pod.address, 321)


@pytest.mark.parametrize("named", [False, True])
def test_the_libraries_that_read_it_are_loaded_for_a_file_only(agent: Agent, file: Path, named: bool) -> None:
    argv = agent.argv("plan", "--config", file) if named else agent.argv("plan")
    place = argv.index("-i") + 1
    done = run([*argv[:place], "PYTHONPROFILEIMPORTTIME=1", *argv[place:]])
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "vmnet.agent.lifecycle" in loaded
    assert ({"msgspec", "yaml", "vmnet.settings.file"} & loaded != set()) is named
