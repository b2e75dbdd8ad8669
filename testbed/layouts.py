"""What CNIs make of a pod: the layouts that are made by hand.

Addresses, MACs, MTUs and routes are those of `shared/pods`; aws is what the AWS VPC CNI makes. bridge-dual and
cilium have IPv6, too; ptp-dual and calico-dual are ptp and calico with it; ipv6-only is bridge-dual without IPv4.
all-of-ipv6 is no CNI's: it has each kind of fact that the kernel keeps of IPv6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Layout:
    """What a CNI makes of a pod, made by hand: routes are `ip route` arguments, in the order they are added."""

    name: str
    mac: str
    node_mac: str
    node: Callable[[Layout], tuple[str, ...]]
    """The `ip -batch` lines that make the node's end answer as the gateway."""
    address: str = ""
    gateway: str = ""
    routes: tuple[str, ...] = ()
    mtu: int = 1500
    address6: str = ""
    gateway6: str = ""
    routes6: tuple[str, ...] = ()
    nodad: bool = False
    """Whether the IPv6 address was added with that flag."""
    unconnected: tuple[str, ...] = ()
    """The subnets whose route the CNI takes away: they are reached by the gateway."""
    proxy_arp: bool = False
    """Whether the node answers for a gateway that it does not have."""
    neighbours: tuple[str, ...] = ()
    """`ip neighbour` arguments."""
    host_ifname: str = "veth0"
    further: tuple[str, ...] = ()
    """`ip -batch` lines in the pod, after all else."""


def _bridge_of(layout: Layout) -> tuple[str, ...]:
    return (
        f"link add cni0 address {layout.node_mac} mtu {layout.mtu} type bridge",
        f"link set {layout.host_ifname} master cni0",
        f"link set {layout.host_ifname} type bridge_slave hairpin on",
        "link set cni0 up",
    )


def _bridge(layout: Layout) -> tuple[str, ...]:
    return (*_bridge_of(layout), f"address add {layout.gateway}/24 broadcast + dev cni0")


def _bridge_dual(layout: Layout) -> tuple[str, ...]:
    return (*_bridge(layout), _gateway6(layout, "cni0", 64))


def _bridge6(layout: Layout) -> tuple[str, ...]:
    return (*_bridge_of(layout), _gateway6(layout, "cni0", 64))


def _gateway6(layout: Layout, ifname: str, prefixlen: int) -> str:
    return f"address add {layout.gateway6}/{prefixlen} dev {ifname} nodad"


def _to_pod6(layout: Layout) -> str:
    return f"route add {bare(layout.address6)} dev {layout.host_ifname}"


def _ptp(layout: Layout) -> tuple[str, ...]:
    return (
        f"address add {layout.gateway}/32 dev {layout.host_ifname}",
        f"route add {bare(layout.address)} dev {layout.host_ifname} scope link",
    )


def _ptp_dual(layout: Layout) -> tuple[str, ...]:
    return (*_ptp(layout), _gateway6(layout, layout.host_ifname, 128), _to_pod6(layout))


def _aws(layout: Layout) -> tuple[str, ...]:
    """Nobody answers ARP for the gateway: the pod has its MAC as a permanent neighbour."""
    return (f"route add {bare(layout.address)} dev {layout.host_ifname} scope link",)


def _calico(layout: Layout) -> tuple[str, ...]:
    return (f"route add {bare(layout.address)} dev {layout.host_ifname} scope link",)


def _calico_dual(layout: Layout) -> tuple[str, ...]:
    """The IPv6 gateway is what the kernel makes of the node's MAC."""
    return (*_calico(layout), _to_pod6(layout))


def _cilium(layout: Layout) -> tuple[str, ...]:
    return (
        "link add cilium_host type bridge",
        f"address add {layout.gateway}/32 dev cilium_host",
        "link set cilium_host up",
        _gateway6(layout, layout.host_ifname, 128),
        f"route add {bare(layout.address)} dev {layout.host_ifname} scope link",
        _to_pod6(layout),
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
            gateway6="fd00:10:246:1::1",
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
            unconnected=("10.247.1.0/24",),
            node_mac="92:2c:d6:58:26:5a",
            node=_ptp,
        ),
        Layout(
            name="ptp-dual",
            mac="ca:4f:90:1b:7e:63",
            address="10.249.1.2/24",
            gateway="10.249.1.1",
            routes=(
                "10.249.1.1 scope link src 10.249.1.2",
                "10.249.1.0/24 via 10.249.1.1 src 10.249.1.2",
                "default via 10.249.1.1",
            ),
            address6="fd00:10:249:1::2/64",
            gateway6="fd00:10:249:1::1",
            routes6=(
                "fd00:10:249:1::1 src fd00:10:249:1::2",
                "fd00:10:249:1::/64 via fd00:10:249:1::1 src fd00:10:249:1::2",
                "default via fd00:10:249:1::1",
            ),
            nodad=True,
            unconnected=("10.249.1.0/24", "fd00:10:249:1::/64"),
            node_mac="d6:83:5a:f0:0e:29",
            node=_ptp_dual,
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
            proxy_arp=True,
            host_ifname="cali0",
        ),
        Layout(
            name="calico-dual",
            mac="b6:1d:c4:29:53:8f",
            address="192.168.78.5/32",
            gateway="169.254.1.1",
            mtu=1450,
            routes=("169.254.1.1 scope link", "default via 169.254.1.1"),
            address6="fd00:192:168:78::5/128",
            gateway6="fe80::ecee:eeff:feee:eeee",
            routes6=("default via fe80::ecee:eeff:feee:eeee",),
            nodad=True,
            node_mac="ee:ee:ee:ee:ee:ee",
            node=_calico_dual,
            proxy_arp=True,
            host_ifname="cali0",
        ),
        Layout(
            name="cilium",
            mac="32:f2:3f:fc:1a:f4",
            address="10.0.1.77/32",
            gateway="10.0.1.241",
            routes=("10.0.1.241 scope link", "default via 10.0.1.241 mtu 1450"),
            address6="fd00:c1::77/128",
            gateway6="fd00:c1::1",
            nodad=True,
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
        Layout(
            name="ipv6-only",
            mac="2a:95:e1:40:6c:d8",
            address6="fd00:10:250:1::2/64",
            gateway6="fd00:10:250:1::1",
            routes6=("default via fd00:10:250:1::1",),
            nodad=True,
            node_mac="86:7f:12:ab:c3:05",
            node=_bridge6,
        ),
    )
}


ALL_OF_IPV6 = Layout(
    name="all-of-ipv6",
    mac="9e:42:0d:77:c1:5a",
    address="10.251.1.2/24",
    gateway="10.251.1.1",
    routes=("default via 10.251.1.1",),
    address6="fd00:10:251:1::2/64",
    gateway6="fd00:10:251:1::1",
    routes6=("default via fd00:10:251:1::1 src fd00:10:251:1::2",),
    nodad=True,
    node_mac="72:0e:b8:31:9d:44",
    node=_bridge_dual,
    further=(
        "address add fd00:10:251:1::3/128 dev eth0 nodad preferred_lft 0",
        "address add fd00:10:251:1::4/64 dev eth0 valid_lft 86400 preferred_lft 43200",
        "address add fd00:10:251:1::5/64 dev eth0 valid_lft 86400 preferred_lft 0",
        "address add fd00:10:251:2::2/64 dev eth0 noprefixroute",
        "address add fd00:10:251:3::2/64 dev eth0 metric 77",
        "address add fd00:10:251:4::2/64 dev eth0 mngtmpaddr home nodad",
        "address add fd00:10:251:5::2 peer fd00:10:251:5::1 dev eth0",
        "route add default via fe80::1 dev eth0 metric 2048 expires 1800 proto ra pref low",
        "route add 2001:db8:5::/48 via fd00:10:251:1::1 dev eth0 metric 30 mtu 1400 hoplimit 60 advmss 1300",
        "route add 2001:db8:5::/48 via fe80::1 dev eth0 metric 60 expires 3600 pref high",
        "route add 2001:db8:6::/64 dev eth0 src fd00:10:251:1::2 proto static",
        "route add 2001:db8:7::1 via fe80::2 dev eth0 onlink",
        "route add unreachable 2001:db8:8::/48 dev eth0 metric 5",
        "neighbour add fe80::1 lladdr 02:00:00:00:00:01 nud permanent router dev eth0",
        "neighbour add fd00:10:251:1::98 lladdr 02:00:00:00:00:98 nud permanent dev eth0",
        "neighbour add proxy fd00:10:251:1::99 dev eth0",
    ),
)
"""A pod that was configured by everybody: a CNI, a router, a service mesh and a person."""


def bare(address: str) -> str:
    """An address without its prefix length."""
    return address.partition("/")[0]
