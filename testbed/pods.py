"""A node and a pod, joined as a CNI leaves them.

    ┌ node ────────────────────────────────┐      ┌ pod ─────────────┐
    │ uplink0 198.51.100.1/24 and          │      │                  │
    │      2001:db8:100::1/64 (the peers)  │      │                  │
    │ cni0 or the veth itself: the gateway ├─veth─┤ eth0  the address│
    └──────────────────────────────────────┘      └──────────────────┘

The peers are addresses that only the pod's default routes lead to. Most layouts are made by hand (`layouts.py`),
two by the real CNI plugins, called as a runtime does.
"""

from __future__ import annotations

import json
import secrets
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed.layouts import ALL_OF_IPV6, LAYOUTS
from testbed.netns import Completed, Netns, TestbedError, netns
from testbed.watch import wait_for_sure_addresses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.layouts import Layout

CNI_BIN = Path("/usr/lib/cni")
ANSWER_WITHIN = 30
"""Seconds: an answer that comes at all comes at once."""
IFNAME = "eth0"
PEER = "198.51.100.1"
PEER6 = "2001:db8:100::1"
HEADERS, HEADERS6 = 28, 48
"""IPv4 or IPv6, and ICMP: what an echo of a full MTU does not carry as data."""
NAMESERVERS = ("10.96.0.10", "10.96.0.11")
NAMESERVERS6 = ("fd00:10:96::a", "fd00:10:96::b")
SEARCH = ("vms.svc.cluster.local", "svc.cluster.local", "cluster.local")


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod as vmnet finds it, and the node it stands on."""

    layout: str
    node: Netns
    netns: Netns
    ifname: str
    host_ifname: str
    """The node's end of the pod's veth."""
    mac: str
    mtu: int
    resolv_conf: Path
    address: str
    """IPv4, but in a pod that has none."""
    prefixlen: int
    gateway: str
    peer: str
    """An address beyond the gateway."""
    address6: str = ""
    """The IPv6 one; empty in a pod that has none, as is the rest of it."""
    peer6: str = ""
    nameservers: tuple[str, ...] = NAMESERVERS
    nameservers6: tuple[str, ...] = ()
    search: tuple[str, ...] = SEARCH


CNI_LAYOUTS = ("cni-bridge", "cni-ptp")
NAMES = (*LAYOUTS, *CNI_LAYOUTS)
BY_HAND = {**LAYOUTS, ALL_OF_IPV6.name: ALL_OF_IPV6}


@contextmanager
def pod(layout: str) -> Iterator[Pod]:
    """Make a node and a pod of that layout; both go at the end of the block.

    Duplicate address detection is off in both: it would change the addresses a second after they are made.
    """
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vmnet-pod-")))
        resolv_conf = directory / "resolv.conf"
        node, inside = stack.enter_context(netns()), stack.enter_context(netns())
        for namespace in (node, inside):
            namespace.sysctl("ipv6/conf/default/accept_dad", 0)
        _uplink(node)
        if layout in BY_HAND:
            made = _by_hand(BY_HAND[layout], node, inside, resolv_conf)
        else:
            made = stack.enter_context(_by_cni(layout, node, inside, resolv_conf))
        nameservers = (*made.nameservers, *made.nameservers6)
        resolv_conf.write_text(resolv_conf_text(nameservers, made.search), encoding="ascii")
        for namespace in (node, inside):
            wait_for_sure_addresses(namespace)
        for peer in {made.peer, made.peer6} - {""}:
            must_answer(made.netns, peer)
        yield made


def resolv_conf_text(nameservers: tuple[str, ...], search: tuple[str, ...]) -> str:
    """A resolv.conf as kubelet writes it."""
    lines = [f"search {' '.join(search)}", *(f"nameserver {address}" for address in nameservers)]
    return "\n".join([*lines, "options ndots:5", ""])


def _uplink(node: Netns) -> None:
    """Give the node a way out: without a route elsewhere it would not answer ARP for others (proxy ARP)."""
    node.ip_batch(
        "link add uplink0 type bridge",
        f"address add {PEER}/24 broadcast + dev uplink0",
        f"address add {PEER6}/64 dev uplink0 nodad",
        "link set uplink0 up",
        "route add default via 198.51.100.254 dev uplink0",
    )
    node.sysctl("ipv4/ip_forward", 1)
    node.sysctl("ipv6/conf/all/forwarding", 1)  # its neighbour advertisements say that it is a router


def _by_hand(layout: Layout, node: Netns, inside: Netns, resolv_conf: Path) -> Pod:
    host = layout.host_ifname
    node.ip_batch(
        f"link add {host} address {layout.node_mac} mtu {layout.mtu} type veth "
        f"peer name {IFNAME} address {layout.mac} mtu {layout.mtu} netns {inside.name}",
    )
    if layout.proxy_arp:
        node.sysctl(f"ipv4/conf/{host}/proxy_arp", 1)
        node.sysctl(f"ipv4/neigh/{host}/proxy_delay", 0)
    node.ip_batch(f"link set {host} up", *layout.node(layout))
    inside.ip_batch(f"link set {IFNAME} up", *_addresses(layout))
    inside.ip_batch(
        *(f"route delete {subnet} dev {IFNAME}" for subnet in layout.unconnected),
        *(f"neighbour add {neighbour} dev {IFNAME}" for neighbour in layout.neighbours),
        *(f"route add {_on(route)}" for route in (*layout.routes, *layout.routes6)),
        *layout.further,
    )
    return _pod(layout.name, node, inside, layout.gateway or layout.gateway6, resolv_conf)


def _addresses(layout: Layout) -> Iterator[str]:
    if layout.address:
        broadcast = "" if layout.address.endswith("/32") else "broadcast +"
        yield f"address add {layout.address} {broadcast} dev {IFNAME}"
    if layout.address6:
        yield f"address add {layout.address6} dev {IFNAME} {'nodad' if layout.nodad else ''}"


def readdress(pod: Pod, address: str) -> None:
    """Give a pod made by hand another IPv4 address of the same length, as its CNI might; its routes stay."""
    broadcast = "broadcast +" if pod.prefixlen < 32 else ""
    pod.netns.ip_batch(
        f"address delete {pod.address}/{pod.prefixlen} dev {pod.ifname}",
        f"address add {address}/{pod.prefixlen} {broadcast} dev {pod.ifname}",
        *(f"route add {_on(route)}" for route in LAYOUTS[pod.layout].routes),
    )
    if pod.prefixlen == 32:
        pod.node.ip_batch(f"route add {address} dev {pod.host_ifname} scope link")


def _on(route: str) -> str:
    """Put the device where `ip route` wants it: right after the destination and gateway."""
    words = route.split()
    place = 3 if "via" in words else 1
    return " ".join([*words[:place], "dev", IFNAME, *words[place:]])


def _pod(name: str, node: Netns, inside: Netns, gateway: str, resolv_conf: Path) -> Pod:
    """Describe a pod from what the kernel shows of it."""
    [link] = inside.ip("address", "show", "dev", IFNAME)
    of_family = {entry["family"]: entry for entry in link["addr_info"] if entry["scope"] == "global"}
    first = of_family.get("inet") or of_family["inet6"]
    ipv6 = "inet6" in of_family
    host = next(entry for entry in node.ip("link") if entry["ifindex"] == link["link_index"])
    return Pod(
        layout=name,
        node=node,
        netns=inside,
        ifname=IFNAME,
        host_ifname=host["ifname"],
        mac=link["address"],
        mtu=link["mtu"],
        resolv_conf=resolv_conf,
        address=first["local"],
        prefixlen=first["prefixlen"],
        gateway=gateway,
        peer=PEER if "inet" in of_family else PEER6,
        address6=of_family["inet6"]["local"] if ipv6 else "",
        peer6=PEER6 if ipv6 else "",
        nameservers=NAMESERVERS if "inet" in of_family else (),
        nameservers6=NAMESERVERS6 if ipv6 else (),
    )


def _network(layout: str, data_dir: Path) -> dict[str, Any]:
    """Configure a real plugin, as a runtime does for each plugin of a conflist."""
    subnet = {"cni-bridge": "10.245.1.0/24", "cni-ptp": "10.248.1.0/24"}[layout]
    ipam = {
        "type": "host-local",
        "ranges": [[{"subnet": subnet}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": str(data_dir),
    }
    plugin: dict[str, Any] = {
        "cni-bridge": {"type": "bridge", "bridge": "cni0", "isGateway": True, "hairpinMode": True, "mtu": 1450},
        "cni-ptp": {"type": "ptp", "mtu": 1500},
    }[layout]
    return {"cniVersion": "0.4.0", "name": layout, **plugin, "ipam": ipam}


@contextmanager
def _by_cni(layout: str, node: Netns, inside: Netns, resolv_conf: Path) -> Iterator[Pod]:
    """ADD on the way in, DEL on the way out, with the plugins of Debian's containernetworking-plugins."""
    network = _network(layout, resolv_conf.parent / "host-local")
    sandbox = Sandbox(node, inside, secrets.token_hex(8))
    result = json.loads(cni("ADD", network, sandbox, {}))
    try:
        yield _pod(layout, node, inside, result["ips"][0]["gateway"], resolv_conf)
    finally:
        cni("DEL", network, sandbox, result)


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Where a CNI plugin runs, and for whom."""

    node: Netns
    netns: Netns
    container: str


def cni(command: str, network: dict[str, Any], sandbox: Sandbox, previous: dict[str, Any]) -> str:
    """Call a CNI plugin as a runtime does: environment, configuration on stdin, result on stdout."""
    configuration = {**network, "prevResult": previous} if previous else network
    environment = {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": sandbox.container,
        "CNI_NETNS": str(sandbox.netns.path),
        "CNI_IFNAME": IFNAME,
        "CNI_PATH": str(CNI_BIN),
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    }
    words = [f"{name}={value}" for name, value in environment.items()]
    answer = sandbox.node.run(
        "env", "-i", *words, CNI_BIN / network["type"], stdin=json.dumps(configuration), check=False
    )
    if answer.returncode != 0:
        raise TestbedError(f"CNI {network['type']} {command}: {answer.stdout}{answer.stderr}")
    return answer.stdout


def ping(source: Netns, address: str, size: int = 56, timeout: int = 3) -> bool:
    """Whether an ICMP echo of `size` data bytes comes back; Linux sets DF on what fits the MTU."""
    return _ping(source, address, size, timeout).returncode == 0


def must_answer(source: Netns, address: str, size: int = 56) -> None:
    """Ping, and fail with what ping said where no answer comes."""
    answer = _ping(source, address, size, ANSWER_WITHIN)
    if answer.returncode != 0:
        raise TestbedError(f"{address} does not answer a ping from {source.name}:\n{answer.stdout}")


def _ping(source: Netns, address: str, size: int, timeout: int) -> Completed:
    options = ["-c", "1", "-W", str(timeout), "-s", str(size)]
    return source.run("busybox", "ping", *options, address, check=False, timeout=timeout + 5)
