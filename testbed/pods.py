"""A node and a pod, joined as a CNI leaves them.

    ┌ node ────────────────────────────────┐      ┌ pod ─────────────┐
    │ uplink0 198.51.100.1/24 (the peer)   │      │                  │
    │ cni0 or the veth itself: the gateway ├─veth─┤ eth0  the address│
    └──────────────────────────────────────┘      └──────────────────┘

The peer is an address that only the pod's default route leads to. Addresses, MACs, MTUs and routes of the layouts
made by hand are those of `shared/pods`; aws is what the AWS VPC CNI makes. The other two are made by the real CNI
plugins, called as a runtime does.
"""

from __future__ import annotations

import json
import secrets
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed.netns import Completed, Netns, TestbedError, netns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CNI_BIN = Path("/usr/lib/cni")
IFNAME = "eth0"
PEER = "198.51.100.1"
LOCAL_ROUTE_WITHIN = 20
"""Seconds."""
HEADERS = 28
"""IPv4 and ICMP: what an echo of a full MTU does not carry as data."""
NAMESERVERS = ("10.96.0.10", "10.96.0.11")
SEARCH = ("vms.svc.cluster.local", "svc.cluster.local", "cluster.local")


@dataclass(frozen=True, slots=True)
class Layout:
    """What a CNI makes of a pod, made by hand: routes are `ip route` arguments, in the order they are added."""

    name: str
    mac: str
    address: str
    gateway: str
    routes: tuple[str, ...]
    node_mac: str
    node: Callable[[Layout], tuple[str, ...]]
    """The `ip -batch` lines that make the node's end answer as the gateway."""
    mtu: int = 1500
    address6: str = ""
    routes6: tuple[str, ...] = ()
    neighbours: tuple[str, ...] = ()
    """`ip neighbour` arguments."""
    host_ifname: str = "veth0"


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
    address: str
    prefixlen: int
    gateway: str
    mtu: int
    resolv_conf: Path
    nameservers: tuple[str, ...] = NAMESERVERS
    search: tuple[str, ...] = SEARCH
    peer: str = PEER
    """An address beyond the gateway."""


def _bridge(layout: Layout) -> tuple[str, ...]:
    return (
        f"link add cni0 address {layout.node_mac} mtu {layout.mtu} type bridge",
        f"link set {layout.host_ifname} master cni0",
        f"link set {layout.host_ifname} type bridge_slave hairpin on",
        f"address add {layout.gateway}/24 broadcast + dev cni0",
        "link set cni0 up",
    )


def _bridge_dual(layout: Layout) -> tuple[str, ...]:
    return (*_bridge(layout), "address add fd00:10:246:1::1/64 dev cni0 nodad")


def _ptp(layout: Layout) -> tuple[str, ...]:
    return (
        f"address add {layout.gateway}/32 dev {layout.host_ifname}",
        f"route add {_bare(layout.address)} dev {layout.host_ifname} scope link",
    )


def _aws(layout: Layout) -> tuple[str, ...]:
    """Nobody answers ARP for the gateway: the pod has its MAC as a permanent neighbour."""
    return (f"route add {_bare(layout.address)} dev {layout.host_ifname} scope link",)


def _calico(layout: Layout) -> tuple[str, ...]:
    return (f"route add {_bare(layout.address)} dev {layout.host_ifname} scope link",)


def _cilium(layout: Layout) -> tuple[str, ...]:
    return (
        "link add cilium_host type bridge",
        f"address add {layout.gateway}/32 dev cilium_host",
        "link set cilium_host up",
        f"address add fd00:c1::1/128 dev {layout.host_ifname} nodad",
        f"route add {_bare(layout.address)} dev {layout.host_ifname} scope link",
        f"route add {_bare(layout.address6)} dev {layout.host_ifname}",
    )


def _ovn(layout: Layout) -> tuple[str, ...]:
    return (f"address add {layout.gateway}/23 broadcast + dev {layout.host_ifname}",)


LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout(
            name="bridge",
            mac="f6:8a:41:0a:f9:62",
            address="10.244.1.2/24",
            gateway="10.244.1.1",
            mtu=1450,
            routes=("default via 10.244.1.1",),
            node_mac="ae:fb:5b:3e:f9:78",
            node=_bridge,
        ),
        Layout(
            name="bridge-dual",
            mac="8e:da:d3:ea:cd:07",
            address="10.246.1.2/24",
            gateway="10.246.1.1",
            routes=("default via 10.246.1.1",),
            address6="fd00:10:246:1::2/64",
            routes6=("default via fd00:10:246:1::1",),
            node_mac="7a:b4:0c:b9:b4:41",
            node=_bridge_dual,
        ),
        Layout(
            name="ptp",
            mac="36:79:8c:6f:b5:32",
            address="10.247.1.2/24",
            gateway="10.247.1.1",
            routes=(
                "10.247.1.1 scope link src 10.247.1.2",
                "10.247.1.0/24 via 10.247.1.1 src 10.247.1.2",
                "default via 10.247.1.1",
            ),
            node_mac="92:2c:d6:58:26:5a",
            node=_ptp,
        ),
        Layout(
            name="calico",
            mac="8a:76:13:89:8a:9c",
            address="192.168.77.5/32",
            gateway="169.254.1.1",
            mtu=1480,
            routes=("169.254.1.1 scope link", "default via 169.254.1.1"),
            node_mac="ee:ee:ee:ee:ee:ee",
            node=_calico,
            host_ifname="cali0",
        ),
        Layout(
            name="cilium",
            mac="32:f2:3f:fc:1a:f4",
            address="10.0.1.77/32",
            gateway="10.0.1.241",
            routes=("10.0.1.241 scope link", "default via 10.0.1.241 mtu 1450"),
            address6="fd00:c1::77/128",
            routes6=("fd00:c1::1", "default via fd00:c1::1 mtu 1450"),
            node_mac="8e:a0:d1:41:96:69",
            node=_cilium,
            host_ifname="lxc0",
        ),
        Layout(
            name="ovn",
            mac="0a:58:0a:80:02:0f",
            address="10.128.2.15/23",
            gateway="10.128.2.1",
            mtu=1400,
            routes=(
                "default via 10.128.2.1",
                "10.128.0.0/14 via 10.128.2.1",
                "100.64.0.0/16 via 10.128.2.1",
                "169.254.0.5 via 10.128.2.1",
                "172.30.0.0/16 via 10.128.2.1",
            ),
            node_mac="e6:41:fe:a4:81:4b",
            node=_ovn,
        ),
        Layout(
            name="aws",
            mac="4e:11:c7:5d:20:8b",
            address="10.20.31.7/32",
            gateway="169.254.1.1",
            mtu=9001,
            routes=("169.254.1.1 scope link", "default via 169.254.1.1"),
            neighbours=("169.254.1.1 lladdr 1e:8a:53:c2:07:44 nud permanent",),
            node_mac="1e:8a:53:c2:07:44",
            node=_aws,
            host_ifname="eni0",
        ),
    )
}
CNI_LAYOUTS = ("cni-bridge", "cni-ptp")
NAMES = (*LAYOUTS, *CNI_LAYOUTS)


@contextmanager
def pod(layout: str) -> Iterator[Pod]:
    """Make a node and a pod of that layout; both go at the end of the block.

    Duplicate address detection is off in the pod: it would change the addresses a second after they are made.
    """
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vmnet-pod-")))
        resolv_conf = directory / "resolv.conf"
        resolv_conf.write_text(resolv_conf_text(NAMESERVERS, SEARCH), encoding="ascii")
        node, inside = stack.enter_context(netns()), stack.enter_context(netns())
        inside.sysctl("ipv6/conf/default/accept_dad", 0)
        _uplink(node)
        if layout in LAYOUTS:
            made = _by_hand(LAYOUTS[layout], node, inside, resolv_conf)
        else:
            made = stack.enter_context(_by_cni(layout, node, inside, resolv_conf))
        must_answer(made.netns, made.peer)
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
        "link set uplink0 up",
        "route add default via 198.51.100.254 dev uplink0",
    )
    node.sysctl("ipv4/ip_forward", 1)


def _by_hand(layout: Layout, node: Netns, inside: Netns, resolv_conf: Path) -> Pod:
    host = layout.host_ifname
    node.ip_batch(
        f"link add {host} address {layout.node_mac} mtu {layout.mtu} type veth "
        f"peer name {IFNAME} address {layout.mac} mtu {layout.mtu} netns {inside.name}",
    )
    if layout.name == "calico":
        node.sysctl(f"ipv4/conf/{host}/proxy_arp", 1)
        node.sysctl(f"ipv4/neigh/{host}/proxy_delay", 0)
    node.ip_batch(f"link set {host} up", *layout.node(layout))
    inside.ip_batch(
        f"address add {layout.address} broadcast + dev {IFNAME}"
        if not layout.address.endswith("/32")
        else f"address add {layout.address} dev {IFNAME}",
        f"link set {IFNAME} up",
    )
    if layout.name == "ptp":
        inside.ip_batch("route delete 10.247.1.0/24 dev eth0")
    inside.ip_batch(
        *(f"neighbour add {neighbour} dev {IFNAME}" for neighbour in layout.neighbours),
        *(f"route add {_on(route)}" for route in layout.routes),
    )
    if layout.address6:
        nodad = " nodad" if layout.name == "cilium" else ""
        inside.ip_batch(
            f"address add {layout.address6} dev {IFNAME}{nodad}",
            *(f"route add {_on(route)}" for route in layout.routes6),
        )
        _wait_for_local_route(inside, _bare(layout.address6))
    return _pod(layout.name, node, inside, layout.gateway, resolv_conf)


def _wait_for_local_route(inside: Netns, address: str) -> None:
    """Wait until the kernel has the route to an address of its own: a worker makes it, late on a busy machine."""
    deadline = time.monotonic() + LOCAL_ROUTE_WITHIN
    while not inside.ip("-6", "route", "show", "table", "local", address):
        if time.monotonic() > deadline:
            raise TestbedError(f"the kernel makes no local route to {address}")


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
    address = next(entry for entry in link["addr_info"] if entry["family"] == "inet")
    host = next(entry for entry in node.ip("link") if entry["ifindex"] == link["link_index"])
    return Pod(
        layout=name,
        node=node,
        netns=inside,
        ifname=IFNAME,
        host_ifname=host["ifname"],
        mac=link["address"],
        address=address["local"],
        prefixlen=address["prefixlen"],
        gateway=gateway,
        mtu=link["mtu"],
        resolv_conf=resolv_conf,
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
    answer = _ping(source, address, size, 3)
    if answer.returncode != 0:
        raise TestbedError(f"{address} does not answer a ping from {source.name}:\n{answer.stdout}")


def _ping(source: Netns, address: str, size: int, timeout: int) -> Completed:
    options = ["-c", "1", "-W", str(timeout), "-s", str(size)]
    return source.run("busybox", "ping", *options, address, check=False, timeout=timeout + 5)


def _bare(address: str) -> str:
    return address.partition("/")[0]
