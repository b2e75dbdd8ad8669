"""What a node has and a pod has not, by the links and routes of real ones."""

from __future__ import annotations

import pytest

from vmnet.model.links import Link, Route, Status
from vmnet.plumbing.node_signs import signs

NOBODY: dict[str, str] = {}


def link(ifname: str, kind: str = "veth", controller: str = "") -> Link:
    return Link(2, ifname, kind, "02:00:00:00:00:01", 1500, up=True, controller=controller)


POD = Status((link("lo", ""), link("eth0")), routes=(Route("eth0", "0.0.0.0/0", "10.244.0.1"),))
CALICO_POD = Status((link("eth0"), link("tunl0", "ipip")), routes=(Route("eth0", "169.254.1.1/32", scope=253),))
TWO_NETWORKS = Status((link("eth0"), link("net1")), routes=(Route("net1", "172.30.0.0/16"),))
DOCKER_INSIDE = Status(
    (link("eth0"), link("docker0", "bridge"), link("veth12ab34c", controller="docker0")),
    routes=(Route("docker0", "172.17.0.0/16"),),
)


@pytest.mark.parametrize("now", [POD, CALICO_POD, TWO_NETWORKS, DOCKER_INSIDE])
def test_a_pod_has_none(now: Status) -> None:
    assert signs(now, {"VMNET_HOST_IP": "192.0.2.1", "VMNET_POD_IP": "10.244.0.5"}, "eth0") == ()
    assert signs(now, {"VMNET_HOST_IP": "", "VMNET_POD_IP": ""}, "eth0") == ()
    assert signs(now, {"VMNET_HOST_IP": "192.0.2.1"}, "eth0") == ()


@pytest.mark.parametrize(
    ("now", "seen"),
    [
        (Status((link("eth0"), link("cni0", "bridge"))), "cni0"),
        (Status((link("eth0"), link("flannel.1", "vxlan"))), "flannel.1"),
        (Status((link("eth0"), link("cilium_host"), link("cilium_net"))), "cilium_host"),
        (Status((link("eth0"), link("kube-ipvs0", "dummy"))), "kube-ipvs0"),
        # kindnet, calico, AWS VPC CNI
        (Status((link("eth0"), link("veth5c0f1d2e")), routes=(Route("veth5c0f1d2e", "10.244.0.5/32"),)), "veth5c"),
        (
            Status((link("eth0"), link("cali1a2b")), routes=(Route("cali1a2b", "192.168.77.5/32", scope=253),)),
            "cali",
        ),
        (Status((link("eth0"), link("eni9f8")), routes=(Route("eni9f8", "10.0.1.77/32", scope=253),)), "eni9f8"),
        (Status((link("eth0"), link("lxc01")), routes=(Route("lxc01", "fd00::5/128"),)), "lxc01"),
    ],
)
def test_a_node_has_one(now: Status, seen: str) -> None:
    [first, *_] = signs(now, NOBODY, "eth0")
    assert seen in first


def test_with_the_hosts_network_the_pods_address_is_the_nodes() -> None:
    found = signs(POD, {"VMNET_HOST_IP": "172.18.0.2", "VMNET_POD_IP": "172.18.0.2"}, "eth0")
    assert found == ("the pod's address is the node's, 172.18.0.2",)
