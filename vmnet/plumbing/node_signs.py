"""What tells the network namespace of a cluster's node from a pod's, where the node is a container itself. Pure.

In kind, k3d and minikube a node is no first namespace, so `is_host` does not know it, and a pod with
`hostNetwork: true` would take the node's own NIC away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmnet.errors import RefusedError
from vmnet.model.links import is_unicast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vmnet.model.links import Status

HOST_IP, POD_IP = "VMNET_HOST_IP", "VMNET_POD_IP"
"""Variables with status.hostIP and status.podIP by the downward API: with hostNetwork both are the node's."""
_OF_A_NODE = {
    **dict.fromkeys(("cni0", "cbr0", "kube-bridge"), "the bridge of the node's pods"),
    **dict.fromkeys(
        ("flannel.1", "vxlan.calico", "cilium_vxlan", "antrea-gw0", "ovn-k8s-mp0", "weave"), "the CNI's"
    ),
    **dict.fromkeys(("cilium_host", "cilium_net", "kube-ipvs0", "nodelocaldns"), "what only a node has"),
}
"""docker0 is not one of them: a pod may run docker."""


def signs(now: Status, environment: Mapping[str, str], ifname: str) -> tuple[str, ...]:
    """Return in words what a node has and a pod has not; `ifname` is the interface that would be handed over."""
    return (*_links(now), *_routes(now, ifname), *_addresses(environment))


def refuse_node(found: tuple[str, ...]) -> None:
    """Leave the namespace alone in which these signs were found.

    Raises:
        RefusedError: there are some.
    """
    if found:
        raise RefusedError(
            f"this looks like the network namespace of a node ({', '.join(found)}), and a VM would take the node "
            "off the network; remove hostNetwork from the pod. Use --on-node on only if this is certainly a pod's "
            "namespace"
        )


def _links(now: Status) -> Iterator[str]:
    for link in now.links:
        if link.ifname in _OF_A_NODE:
            yield f"{link.ifname} is {_OF_A_NODE[link.ifname]}"


def _routes(now: Status, ifname: str) -> Iterator[str]:
    """Tell of a route to one pod: CNIs without a bridge have one for each, over the node's end of its veth."""
    veths = {link.ifname for link in now.links if link.kind == "veth" and not link.controller} - {ifname}
    for route in now.routes:
        whole = route.dst.endswith("/128" if ":" in route.dst else "/32")
        if route.ifname in veths and whole and not route.gateway and is_unicast(route):
            yield f"{route.dst} is a pod's, behind {route.ifname}"
            return


def _addresses(environment: Mapping[str, str]) -> Iterator[str]:
    node, pod = environment.get(HOST_IP), environment.get(POD_IP)
    if node and node == pod:
        yield f"the pod's address is the node's, {node}"
