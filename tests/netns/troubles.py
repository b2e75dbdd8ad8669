"""For each code of `vmnet doctor` a real pod in which it is found, and what is then said.

Each is made in a fresh pod by a function, which may give flags with which doctor is to be called there.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from testbed import pods, tap_guest
from testbed.netns import background, kill, wait_for_end
from testbed.privileges import confined
from testbed.watch import RTMGRP_IPV6_IFADDR, wait_for_ip
from tests.netns import forked
from tests.netns.guest_by_hand import forward_drops
from tests.netns.raw_client import RawClient
from tests.netns.tap_holder import HOLDS
from tests.testlib.dhcp.frames import bootp, frame, message, option
from vmnet.bindings.isolation import rulesets
from vmnet.model.codec import decode, encode
from vmnet.saved.schema import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from testbed.agent import Agent
    from testbed.pods import Pod

STRANGER = bytes.fromhex("0200000000aa")


@dataclass(slots=True)
class Patient:
    """A pod, its agent, and a directory for files; what must be held until doctor has looked is in `held`."""

    pod: Pod
    agent: Agent
    directory: Path
    held: ExitStack
    wrapper: Callable[..., list[str]] | None = None
    """What doctor is run in, instead of the agent's privileges in the pod."""
    tap: str = "tap0"
    """The one that `up` makes."""
    together: bool = False
    """Whether troubles are made one upon the other: a further `up` would repair the first."""

    def up(self, *flags: str) -> None:
        if not self.together:
            self.agent.up(*flags)

    def ip(self, *lines: str) -> None:
        self.pod.netns.ip_batch(*lines)

    def inside(self, *argv: str) -> None:
        self.pod.netns.run(*argv)

    def file(self, name: str, text: str) -> str:
        path = self.directory / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    def hold(self, context: AbstractContextManager[Any]) -> Any:  # noqa: ANN401 -- whatever it gives
        return self.held.enter_context(context)

    def hold_tap(self) -> RawClient:
        tap = self.hold(tap_guest.raw_tap(self.pod.netns, self.tap))
        return RawClient(tap, bytes.fromhex(self.pod.mac.replace(":", "")), self.pod.address)

    def journal(self) -> Path:
        [path] = self.agent.state_dir.glob("netns-*/eth0/journal.json")
        return path

    def is_bound(self) -> bool:
        """Whether its facts are kept."""
        return any(self.agent.state_dir.glob("netns-*/eth0/journal.json"))

    def look(self, trouble: Trouble) -> dict[str, Any]:
        """Make the trouble, and let doctor look for it."""
        self.wrapper = None
        with ExitStack() as self.held:
            flags = trouble.provoke(self) or ()
            return self.doctor("--listen", trouble.listen, *flags)

    def doctor(self, *flags: str | Path) -> dict[str, Any]:
        """What doctor says, with its exit code."""
        if self.wrapper:
            done = self.agent.netns.run(*self._argv("--json", *flags), check=False)
        else:
            done = self.agent.run("doctor", "--json", *flags, check=False)
        try:
            return {"exit": done.returncode, **json.loads(done.stdout)}
        except ValueError:
            raise AssertionError(f"exit code {done.returncode}: {done.stdout}{done.stderr}") from None

    def _argv(self, *flags: str | Path) -> list[str]:
        assert self.wrapper
        words = self.agent.argv("doctor", *flags)
        return self.wrapper(*words[words.index("env") :])


@dataclass(frozen=True, slots=True)
class Trouble:
    """A code, how it comes about, and what is said: parts of the evidence and of the remedy."""

    code: str
    severity: str
    provoke: Callable[[Patient], tuple[str, ...] | None]
    evidence: str
    remedy: str
    layout: str = "bridge"
    listen: str = "0"
    ward: str = ""
    """Troubles of one ward come one after the other in one pod: none leaves a trace, or `up` puts it right."""


@contextmanager
def patient(layout: str, directory: Path) -> Iterator[Patient]:
    """A fresh pod."""
    directory.mkdir()
    with pods.pod(layout) as pod, ExitStack() as held:
        made = Patient(pod, forked.agent(pod, directory), directory, held)
        try:
            yield made
        finally:
            made.agent.clear()


def without_capabilities(*argv: str) -> list[str]:
    words = ["--bounding-set", "-all", "--inh-caps", "-all", "--no-new-privs"]
    return ["setpriv", *words, "--", *argv]


def _hidden(script: str) -> Callable[..., list[str]]:
    """Run in a mount namespace of its own, after that script."""
    return lambda *argv: ["unshare", "--mount", "sh", "-ec", f'{script}; exec "$@"', "sh", *argv]


def no_capabilities(it: Patient) -> None:
    it.wrapper = without_capabilities


def no_tun(it: Patient) -> None:
    it.wrapper = _hidden("mount -t tmpfs none /dev/net")


def no_nft(it: Patient) -> None:
    paths = {os.path.realpath(path) for path in (shutil.which("nft"), "/usr/sbin/nft", "/sbin/nft") if path}
    it.wrapper = _hidden("; ".join(f"mount --bind /dev/null {path}" for path in sorted(paths)))


def as_in_a_container(it: Patient) -> None:
    it.wrapper = confined


def state_directory_is_a_file(it: Patient) -> tuple[str, ...]:
    return ("--state-dir", it.file("state-file", "") + "/vmnet")


def a_nodes_bridge(it: Patient) -> None:
    it.ip("link add cni0 type bridge")


def interface_down(it: Patient) -> None:
    it.ip("link set eth0 down")


def somebodys_port(it: Patient) -> None:
    it.ip("link add br7 type bridge", "link set eth0 master br7")


def several_next_hops(it: Patient) -> None:
    it.ip("route add 10.99.0.0/16 nexthop via 10.244.1.1 dev eth0 nexthop via 10.244.1.3 dev eth0")


def tap_name_taken(it: Patient) -> tuple[str, ...]:
    it.ip("link add tap0 type bridge")
    return ("--tap", "tap0")


def bridge_without_facts(it: Patient) -> None:
    it.ip("link add k6t-eth0 type bridge", "link set k6t-eth0 address 02:76:6d:00:00:01")
    it.ip("link add v1 type veth peer name v2", "link set v1 master k6t-eth0")


def bound_by_kubevirt(it: Patient) -> None:
    it.ip("link add k6t-eth0 type bridge", "tuntap add tap0 mode tap", "link set tap0 master k6t-eth0")


def somebody_elses_ipv6_address(it: Patient) -> None:
    it.pod.node.ip_batch("address add fd00:10:246:1::77/64 dev cni0 nodad")
    it.pod.netns.sysctl("ipv6/conf/eth0/accept_dad", 1)
    it.ip("address add fd00:10:246:1::77/64 dev eth0")
    wait_for_ip(it.pod.netns, RTMGRP_IPV6_IFADDR, "-6 address show dadfailed", any)


def address_for_ten_minutes(it: Patient) -> None:
    it.ip("address replace 10.244.1.77/24 dev eth0 valid_lft 600 preferred_lft 300")


def address_expired(it: Patient) -> None:
    """As if the ten minutes had gone by since `up`."""
    address_for_ten_minutes(it)
    it.up()
    it.ip("address delete 10.244.1.77/24 dev eth0")
    journal = decode(Journal, it.journal().read_bytes())
    long_ago = replace(journal, pod=replace(journal.pod, read_at=max(1, journal.pod.read_at - 600)))
    it.journal().write_bytes(encode(long_ago).encode())


def larger_than_the_pods(_it: Patient) -> tuple[str, ...]:
    return ("--mtu", "9000")


def spanning_tree(it: Patient) -> None:
    it.up()
    it.ip("link set k6t-eth0 type bridge stp_state 1")


def nic_deleted(it: Patient) -> None:
    it.up()
    it.pod.node.ip_batch(f"link delete {it.pod.host_ifname}")


def other_end_down(it: Patient) -> None:
    it.pod.node.ip_batch(f"link set {it.pod.host_ifname} down")


def bound(it: Patient) -> None:
    it.up()


def port_disabled(it: Patient) -> None:
    it.up()
    it.inside("bridge", "link", "set", "dev", "eth0-nic", "state", "0")


def another_port(it: Patient) -> None:
    it.up()
    it.ip("link add v1 type veth peer name v2", "link set v1 master k6t-eth0")
    it.held.callback(it.ip, "link delete v1")


def tap_deleted_under_a_vm(it: Patient) -> None:
    it.up()
    words = it.agent.command(sys.executable, "-c", HOLDS, it.tap)
    it.hold(background(words, it.directory / "holder.log")).wait_for("^held$")
    it.ip(f"link delete {it.tap}")
    it.up()


def no_isolation(_it: Patient) -> tuple[str, ...]:
    return ("--isolation", "off")


def rules_without_ingress(it: Patient) -> None:
    it.up()
    journal = decode(Journal, it.journal().read_bytes())
    lesser = rulesets(journal.pod, journal.settings)[4]
    tables = "".join(f"delete table {family} vmnet_eth0\n" for family in ("netdev", "bridge"))
    it.pod.netns.run("nft", "-f", "-", stdin=tables + lesser.text)


def rules_unchecked(it: Patient) -> None:
    """As where the program for unfinished frames cannot be loaded."""
    it.up()
    it.inside("nft", "add", "chain", "netdev", "vmnet_eth0", "unfinished_frames_unchecked")


def larger_than_the_route(it: Patient) -> tuple[str, ...]:
    it.ip(f"route change default via {it.pod.gateway} dev eth0 mtu 1400")
    return ("--mtu", "1450")


def too_small_for_ipv6(_it: Patient) -> tuple[str, ...]:
    return ("--mtu", "1200")


def gateway_gone(it: Patient) -> None:
    it.pod.node.ip_batch("address flush dev cni0")
    it.ip("neighbour flush dev eth0")
    pods.ping(it.pod.netns, it.pod.gateway, timeout=1)


def gateway6_gone(it: Patient) -> None:
    it.pod.node.ip_batch("address delete fd00:10:246:1::1/64 dev cni0")
    it.inside("ip", "-6", "neighbour", "flush", "dev", "eth0")
    it.up()


def forward_drop(it: Patient) -> None:
    it.pod.netns.sysctl("bridge/bridge-nf-call-iptables", 1)
    forward_drops(it.pod.netns)


def advertisements_accepted(it: Patient) -> None:
    it.up()
    it.pod.netns.sysctl("ipv6/conf/k6t-eth0/accept_ra", 1)


def no_way_out(it: Patient) -> None:
    it.ip("route delete default")


def only_the_pods_own_resolver(it: Patient) -> tuple[str, ...]:
    return ("--resolv-conf", it.file("resolv.conf", "nameserver 127.0.0.53\n"))


def one_resolver_of_the_pods_own(it: Patient) -> tuple[str, ...]:
    return ("--resolv-conf", it.file("resolv.conf", "nameserver 10.96.0.10\nnameserver 127.0.0.53\n"))


def resolver_changed(it: Patient) -> tuple[str, ...]:
    it.up()
    return ("--resolv-conf", it.file("resolv.conf", "nameserver 10.96.0.99\n"))


def server_killed(it: Patient) -> None:
    it.up()
    [server] = it.agent.servers()
    kill(server)
    with suppress(ProcessLookupError):
        wait_for_end(server)


def no_sandbox(it: Patient) -> None:
    it.up("--sandbox", "off")


def declined(it: Patient) -> None:
    it.up()
    client = it.hold_tap()
    client.exchange()
    conflict = option(50, client.address), option(54, client.server_id)
    client.tap.send(client.request(4, *conflict))
    wait_for_log(it, '"event":"decline"')


def address_by_hand(it: Patient) -> None:
    it.up()
    client = it.hold_tap()
    asked = socket.inet_aton(it.pod.gateway)
    arp = b"\0\1\x08\0\6\4\0\1" + client.mac + socket.inet_aton("192.168.1.5") + bytes(6) + asked  # RFC 826
    client.tap.send(b"\xff" * 6 + client.mac + b"\x08\x06" + arp)
    wait_for_log(it, '"lease":"foreign-address"')


def wait_for_log(it: Patient, words: str) -> None:
    """Wait until the server has said that."""
    [log] = it.agent.logs()
    with background(["tail", "-n", "+1", "-F", log], it.directory / "tail.log") as told:
        told.wait_for(words)


def tap_held(it: Patient) -> None:
    it.up()
    it.hold_tap()


def stranger_asks(it: Patient) -> None:
    it.up()
    client = it.hold_tap()
    client.tap.send(frame(bootp(message(1), chaddr=STRANGER), source_mac=STRANGER))
    client.exchange()


def offers_in_the_network(it: Patient) -> None:
    reply = bootp(message(2), op=2)
    offer = frame(reply, source_mac=STRANGER, source="10.244.1.66", sport=67, dport=68)
    it.hold(_repeated(it, offer))


def advertisements_in_the_network(it: Patient) -> None:
    # RFC 4861 §4.2 from fe80::aa; whoever only listens does not look at the checksum
    packet = b"\x60\0\0\0\0\x10\x3a\xff" + _packed6("fe80::aa") + _packed6("ff02::1") + b"\x86".ljust(16, b"\0")
    it.hold(_repeated(it, bytes.fromhex("333300000001") + STRANGER + b"\x86\xdd" + packet))


def _packed6(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, address)


REPEATED = """
import select, socket, sys
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire:
    wire.bind((sys.argv[1], 0))
    while True:
        wire.send(bytes.fromhex(sys.argv[2]))
        select.select([], [], [], 0.05)
"""


def _repeated(it: Patient, sent: bytes) -> AbstractContextManager[Any]:
    """Send a frame to the pod twenty times a second: nobody can say when doctor listens."""
    words = ["python3", "-I", "-S", "-c", REPEATED, it.pod.host_ifname, sent.hex()]
    return background(it.pod.node.command(*words), it.directory / "sender.log")


def _domain(it: Patient, mac: str, model: str = "virtio", queues: str = "") -> tuple[str, ...]:
    driver = f"<driver queues='{queues}'/>" if queues else ""
    interface = (
        f"<interface type='ethernet'><mac address='{mac}'/><target dev='{it.tap}' managed='no'/>"
        f"<model type='{model}'/>{driver}</interface>"
    )
    text = f"<domain type='kvm'><name>vm</name><devices>{interface}</devices></domain>"
    return ("--domain", it.file("vm.xml", text))


def domain_with_another_mac(it: Patient) -> tuple[str, ...]:
    return _domain(it, "52:54:00:00:00:07")


def domain_with_e1000(it: Patient) -> tuple[str, ...]:
    return _domain(it, it.pod.mac, "e1000")


def domain_with_queues(it: Patient) -> tuple[str, ...]:
    return _domain(it, it.pod.mac, queues="4")


def endless(_it: Patient) -> tuple[str, ...]:
    return ("--lease-time", "infinite")


def journal_of_another_boot(it: Patient) -> None:
    directory = it.agent.state_dir / "netns-7" / "eth0"
    for path in (directory.parent, directory):
        path.mkdir(mode=0o700, parents=True)
    (directory / "journal.json").write_text('{"boot_id": "b00t"}', encoding="ascii")


def journal_of_nothing(it: Patient) -> None:
    it.up()
    saved, path = it.journal().read_bytes(), it.journal()
    it.agent.down()
    for directory in (path.parent.parent, path.parent):
        directory.mkdir(mode=0o700, exist_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(saved)


def another_state_directory(it: Patient) -> tuple[str, ...]:
    it.up()
    return ("--state-dir", str(it.directory / "other"))


LISTENS = """
import signal, socket, sys
lone = socket.socket(socket.AF_UNIX)
lone.bind("\\0vmnet/server/" + sys.argv[1])
lone.listen()
print("held", flush=True)
signal.pause()
"""
"""As a server whose binding is gone."""


def lone_server(it: Patient) -> None:
    words = it.pod.netns.command(sys.executable, "-c", LISTENS, "eth0")
    it.hold(background(words, it.directory / "lone.log")).wait_for("^held$")


def lone_rules(it: Patient) -> None:
    it.inside("nft", "add table inet vmnet_eth0")
    it.inside("nft", "add chain inet vmnet_eth0 pod")


def broken_journal(it: Patient) -> None:
    it.up()
    path = it.journal()
    it.agent.down()
    for directory in (path.parent.parent, path.parent):
        directory.mkdir(mode=0o700, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text("{", encoding="ascii")


TROUBLES = (
    Trouble(
        "VMN-102", "error", no_capabilities, "CapEff is 0000000000000000", "NET_ADMIN and NET_RAW", ward="flags-1"
    ),
    Trouble("VMN-103", "error", no_tun, "open /dev/net/tun: No such file", "device plugin", ward="flags-1"),
    Trouble("VMN-104", "error", no_nft, "nft is neither in PATH", "install nftables", ward="flags-1"),
    Trouble("VMN-105", "info", as_in_a_container, "accept_ra cannot be written", "VMN-405", ward="flags-1"),
    Trouble(
        "VMN-106",
        "info",
        as_in_a_container,
        "CapEff is 0000008000003000",
        "add SETUID, SETGID and SETPCAP",
        ward="flags-1",
    ),
    Trouble(
        "VMN-107", "error", state_directory_is_a_file, "state-file is no directory", "--state-dir", ward="flags-1"
    ),
    Trouble("VMN-108", "error", a_nodes_bridge, "cni0 is the bridge of the node's pods", "remove hostNetwork"),
    Trouble("VMN-201", "error", interface_down, "eth0 is down", "try again when the CNI"),
    Trouble("VMN-202", "error", somebodys_port, "eth0 is of kind veth, a port of br7", "--interface"),
    Trouble(
        "VMN-203",
        "error",
        several_next_hops,
        "route 10.99.0.0/16 with several next hops",
        "or a program in the pod, made it",
    ),
    Trouble("VMN-204", "error", tap_name_taken, "tap0 is of kind bridge", "omit --tap"),
    Trouble("VMN-205", "error", bridge_without_facts, "v1 is a port of k6t-eth0", "--state-dir"),
    Trouble(
        "VMN-206",
        "error",
        somebody_elses_ipv6_address,
        "fd00:10:246:1::77 on eth0 is dadfailed",
        "which of the two should have the address",
        layout="bridge-dual",
    ),
    Trouble("VMN-207", "warning", address_for_ten_minutes, "10.244.1.77 is valid for ", "do not expire"),
    Trouble("VMN-208", "error", larger_than_the_pods, "would be refused", "--mtu", ward="flags-1"),
    Trouble("VMN-209", "error", bound_by_kubevirt, "tap0 is a port of k6t-eth0", "leave it to KubeVirt"),
    Trouble(
        "VMN-301",
        "error",
        spanning_tree,
        "`vmnet up` would set k6t-eth0 stp=",
        "run `vmnet up --state-dir",
        ward="bound-1",
    ),
    Trouble("VMN-302", "error", nic_deleted, "which was eth0", "run `vmnet down --state-dir"),
    Trouble(
        "VMN-303", "error", other_end_down, "eth0 is up and has no carrier", "on the node, set the other end up"
    ),
    Trouble(
        "VMN-304", "warning", bound, "tap0 is up and has no carrier", "start the VM with tap0", ward="bound-1"
    ),
    Trouble(
        "VMN-305",
        "error",
        port_disabled,
        "eth0-nic, a port of k6t-eth0, has a carrier and is ",
        "state 3",
        ward="bound-1",
    ),
    Trouble("VMN-306", "warning", another_port, "v1 is of kind veth", "ip link set v1 nomaster"),
    Trouble("VMN-307", "warning", no_isolation, "isolation is off", "--isolation strict", ward="flags-2"),
    Trouble("VMN-308", "warning", rules_without_ingress, "bridge prerouting", "kernel has what is named"),
    Trouble("VMN-309", "info", bound, "tap0 belongs to uid 0", "--owner UID[:GID]", ward="bound-1"),
    Trouble("VMN-310", "error", tap_deleted_under_a_vm, "without a link", "start it again", ward="bound-2"),
    Trouble("VMN-401", "error", larger_than_the_route, "default route via 10.244.1.1 has MTU 1400", "--mtu"),
    Trouble(
        "VMN-402", "warning", too_small_for_ipv6, "the pod has fd00:10:246:1::2/64", "at least 1280", "bridge-dual"
    ),
    Trouble("VMN-403", "warning", gateway_gone, "neighbour 10.244.1.1 on eth0 is ", "ping 10.244.1.1"),
    Trouble("VMN-404", "warning", gateway6_gone, "is not known", "fd00:10:246:1::1", "bridge-dual"),
    Trouble("VMN-405", "error", forward_drop, "chain ip filter FORWARD: forward, drop", "nf-call-iptables=0"),
    Trouble(
        "VMN-406",
        "info",
        advertisements_accepted,
        "accept_ra of k6t-eth0 is 1",
        "net/ipv6/conf/k6t-eth0/accept_ra=0",
        ward="bound-2",
    ),
    Trouble("VMN-407", "warning", no_way_out, "route 10.244.1.0/24 on eth0", "in the CNI's configuration"),
    Trouble(
        "VMN-501", "warning", only_the_pods_own_resolver, "nameserver 127.0.0.53", "dnsPolicy", ward="flags-2"
    ),
    Trouble(
        "VMN-502",
        "info",
        one_resolver_of_the_pods_own,
        "127.0.0.53 is the pod's own loopback",
        "by hand",
        ward="flags-2",
    ),
    Trouble("VMN-503", "warning", resolver_changed, "now: nameserver 10.96.0.99", "--resolv-conf", ward="bound-1"),
    Trouble(
        "VMN-504",
        "error",
        server_killed,
        "it does not answer; last line of its log: ",
        "`vmnet up --state-dir",
        ward="bound-2",
    ),
    Trouble("VMN-505", "warning", no_sandbox, "the server says so", "without --sandbox off"),
    Trouble("VMN-506", "error", declined, "DHCPDECLINE: 1", "tcpdump -nei eth0-nic"),
    Trouble(
        "VMN-507",
        "info",
        tap_held,
        "s without DHCP from f6:8a:41:0a:f9:62",
        "driver for the NIC's model",
        ward="bound-2",
    ),
    Trouble(
        "VMN-508",
        "warning",
        stranger_asks,
        "foreign_source_mac: 1\n02:00:00:00:00:aa asks",
        "--mac MAC",
        ward="bound-2",
    ),
    Trouble(
        "VMN-509",
        "warning",
        offers_in_the_network,
        "DHCP from 10.244.1.66 at 02:00:00:00:00:aa",
        "--dhcp external",
        listen="2",
    ),
    Trouble(
        "VMN-510",
        "warning",
        advertisements_in_the_network,
        "router advertisement from fe80::aa at 02:00:00:00:00:aa",
        "find it by its MAC",
        listen="2",
    ),
    Trouble(
        "VMN-511",
        "error",
        domain_with_another_mac,
        "mac address is 52:54:00:00:00:07",
        "`vmnet domain --state-dir",
        ward="flags-2",
    ),
    Trouble(
        "VMN-512", "warning", domain_with_e1000, "model type is e1000", "use the model virtio", ward="flags-2"
    ),
    Trouble(
        "VMN-513", "error", domain_with_queues, "the domain's interface has 4 queues", "--queues 4", ward="flags-2"
    ),
    Trouble("VMN-514", "info", endless, "the lease time is infinite", "--lease-time 86400", ward="flags-2"),
    Trouble("VMN-515", "warning", address_by_hand, "the guest was seen to use 192.168.1.5", "vmnet render"),
    Trouble("VMN-601", "info", journal_of_another_boot, "netns-7/eth0", "delete these directories"),
    Trouble("VMN-602", "info", journal_of_nothing, "journal.json exists", "`vmnet down --state-dir"),
    Trouble(
        "VMN-603",
        "warning",
        another_state_directory,
        "the NIC of eth0 has the note",
        "saves the journal again",
        ward="bound-2",
    ),
    Trouble("VMN-604", "warning", lone_server, "@vmnet/server/eth0", "`ss -lxp`"),
    Trouble("VMN-605", "warning", lone_rules, "table inet vmnet_eth0", "nft delete table inet vmnet_eth0"),
)
