"""Whose a link is: what others leave in a pod is told by what it is, and nobody is told to delete it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.testlib import layouts
from tests.testlib.evidence import bound
from vmnet.bindings.names import bridge_name, free_tap
from vmnet.bindings.whose import KATA, KUBEVIRT, OTHER, VMNET, bound_elsewhere, of_bindings
from vmnet.errors import RefusedError
from vmnet.model.links import Holder, Link, Route, Status
from vmnet.plumbing.discover import discover, refuse_bound_elsewhere, refuse_names_taken, refuse_orphans

FOREIGN, OURS = "02:00:00:00:00:08", "02:76:6d:12:34:56"


def link(ifname: str, kind: str, controller: str = "", mac: str = FOREIGN) -> Link:
    return Link(90 + len(ifname), ifname, kind, mac, 1500, up=True, controller=controller)


def pod_with(*links: Link) -> Status:
    status = layouts.status("bridge")
    names = {link.ifname for link in links}
    return replace(status, links=(*(link for link in status.links if link.ifname not in names), *links))


KUBEVIRT_BRIDGE = (
    link("eth0", "dummy"),
    link("eth0-nic", "veth", "k6t-eth0"),
    link("k6t-eth0", "bridge"),
    link("tap0", "tun", "k6t-eth0"),
)
MASQUERADE = (link("k6t-eth0", "bridge"), link("tap0", "tun", "k6t-eth0"))
HASHED = (
    link("pod16477688c0e", "dummy"),
    link("16477688c0e-nic", "veth", "k6t-16477688c0e"),
    link("k6t-16477688c0e", "bridge"),
    link("tap16477688c0e", "tun", "k6t-16477688c0e"),
)
LEFTOVER = (
    link("eth0", "bridge"),
    link("eth0-nic", "veth", "k6t-eth0", OURS),
    link("k6t-eth0", "bridge", "", OURS),
    link("tap0", "tun", "k6t-eth0", OURS),
)
DOCKER = (link("k6t-eth0", "bridge"), link("veth1a2b", "veth", "k6t-eth0"))
KATA_CONTAINERS = (link("tap0_kata", "tun"),)


@pytest.mark.parametrize(
    ("links", "ifname", "who", "says"),
    [
        pytest.param(KUBEVIRT_BRIDGE, "eth0", KUBEVIRT, "k6t-eth0 joins eth0-nic and tap0", id="KubeVirt bridge"),
        pytest.param(MASQUERADE, "eth0", KUBEVIRT, "k6t-eth0 joins tap0", id="KubeVirt masquerade"),
        pytest.param(HASHED, "pod16477688c0e", KUBEVIRT, "has bound pod16477688c0e already", id="KubeVirt hashed"),
        pytest.param(LEFTOVER, "eth0", VMNET, "which vmnet has made", id="another state directory"),
        pytest.param(DOCKER, "eth0", OTHER, "veth1a2b, and vmnet has not made it", id="a docker bridge"),
        pytest.param(KATA_CONTAINERS, "eth0", KATA, "tap0_kata", id="Kata"),
    ],
)
def test_who_has_bound_it(links: tuple[Link, ...], ifname: str, who: str, says: str) -> None:
    status = pod_with(*links)
    [found] = bound_elsewhere(status)
    assert found.who == who
    assert says in found.what
    refuse = refuse_orphans if who == VMNET else refuse_bound_elsewhere
    with pytest.raises(RefusedError) as refused:
        refuse(status, ifname)
    assert str(refused.value) == f"{found.what}; {found.remedy}"
    assert not {"del", "delete", "remove"} & set(str(refused.value).split())
    other = refuse_bound_elsewhere if who == VMNET else refuse_orphans
    other(status, ifname)
    if found.bridge == bridge_name(ifname):
        assert bound_elsewhere(status, (ifname,)) == ()


@pytest.mark.parametrize(
    "links",
    [
        pytest.param((link("k6t-test", "bridge"), link("veth9", "veth", "k6t-test")), id="docker's k6t-test"),
        pytest.param((link("virbr0", "bridge"), link("vnet0", "tun", "virbr0")), id="libvirt's default network"),
        pytest.param((link("podman0", "bridge"), link("veth0", "veth", "podman0")), id="netavark's"),
        pytest.param((link("k6t-eth0", "bridge"),), id="a bridge without ports"),
        pytest.param((link("tap7", "tun"),), id="slirp4netns' or passt's further tap"),
    ],
)
def test_what_is_of_another_interface_is_in_nobodys_way(links: tuple[Link, ...]) -> None:
    status = pod_with(*links)
    refuse_orphans(status, "eth0")
    refuse_bound_elsewhere(status, "eth0")
    refuse_bound_elsewhere(status)


def test_without_any_pod_interface_what_is_bound_is_in_the_way() -> None:
    status = replace(pod_with(*HASHED), routes=())
    gone = replace(status, links=tuple(link for link in status.links if link.ifname != "eth0"))
    with pytest.raises(RefusedError, match="KubeVirt"):
        refuse_bound_elsewhere(gone)


OF_ETH0 = {"tap0": "the tap of eth0's binding"}


@pytest.mark.parametrize(
    ("links", "tap", "ours", "holders", "says"),
    [
        pytest.param((), "tap0", OF_ETH0, (), "tap0 is the tap of eth0's binding; ", id="ours, and gone just now"),
        pytest.param((link("tap0", "tun"),), "tap0", OF_ETH0, (), "the tap of eth0's binding", id="ours"),
        pytest.param((), "eth0", {}, (), "eth0 is the pod's own NIC", id="the NIC itself"),
        pytest.param(
            (link("tap0", "tun"),),
            "tap0",
            {},
            (Holder(7, "cloud-hyperviso", "tap0"), Holder(8, "passt", "tap1")),
            "tap0 is a tap that cloud-hyperviso (pid 7) has open; ",
            id="cloud-hypervisor's",
        ),
        pytest.param(
            (link("virbr0", "bridge"), link("vnet0", "tun", "virbr0")),
            "vnet0",
            {},
            (Holder(9, "qemu-system-x86", "vnet0"),),
            "qemu-system-x86 (pid 9) has open, a port of virbr0",
            id="libvirt's",
        ),
        pytest.param(
            (link("tap0", "dummy"),), "tap0", {}, (), "a link of kind dummy that vmnet has not", id="unknown"
        ),
        pytest.param((link("tap0", "tun"),), "tap0", {}, (), "tap0 is a tap that vmnet has not made", id="a tap"),
    ],
)
def test_a_name_that_is_taken_says_whose_it_is(
    links: tuple[Link, ...], tap: str, ours: dict[str, str], holders: tuple[Holder, ...], says: str
) -> None:
    status = pod_with(*links)
    with pytest.raises(RefusedError) as refused:
        refuse_names_taken(status, discover(status), tap, ours, holders)
    assert says in str(refused.value)
    assert not {"del", "delete", "remove"} & set(str(refused.value).split())


def test_a_tap_that_the_pod_reaches_the_world_by_is_its_nic() -> None:
    status = pod_with(link("tap0", "tun"))
    way = replace(next(route for route in status.routes if route.is_default), ifname="tap0", metric=50)
    assert isinstance(way, Route)
    status = replace(status, routes=(*status.routes, way))
    with pytest.raises(
        RefusedError, match="tap0 is a NIC of the pod: its default route leads there; name another"
    ):
        refuse_names_taken(status, discover(status), "tap0", {})


def test_a_free_name_is_nobodys() -> None:
    journal = bound().journal
    assert journal is not None
    ours = of_bindings([(journal.pod.ifname, journal.settings.tap)])
    assert ours == {
        "eth0": "the stand-in of eth0's binding",
        "k6t-eth0": "the bridge of eth0's binding",
        "eth0-nic": "the NIC of eth0's binding",
        "tap0": "the tap of eth0's binding",
    }
    assert free_tap({}) == "tap0"
    assert free_tap(ours) == "tap1"
    assert free_tap({*ours, "tap1", "tap3"}) == "tap2"
