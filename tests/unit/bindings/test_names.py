"""Names and MACs of the binding's links."""

from __future__ import annotations

import pytest

from vmnet.bindings.names import bridge_name, nic_name, own_mac
from vmnet.model.links import IFNAME_BYTES, is_link_name


@pytest.mark.parametrize("name", ["eth0", "a", "0", "net1.100", "A_b-c.d", "x" * 15])
def test_link_names(name: str) -> None:
    assert is_link_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "x" * 16, "-rf", ".", "..", "_x", "eth0;reboot", "$(id)", "tap%d", "a b", "a/b", "a\n", "ë", "a:b"],
)
def test_what_the_kernel_takes_and_we_do_not(name: str) -> None:
    assert not is_link_name(name)


def test_names_are_the_ones_people_know() -> None:
    assert (bridge_name("eth0"), nic_name("eth0")) == ("k6t-eth0", "eth0-nic")


def test_long_names_still_fit_and_stay_apart() -> None:
    names = {make(ifname) for make in (bridge_name, nic_name) for ifname in ("interface-name1", "interface-name2")}
    assert len(names) == 4
    assert all(is_link_name(name) and len(name) <= IFNAME_BYTES for name in names)


def test_own_macs_are_stable_local_unicast_and_never_the_pods() -> None:
    pod = "f6:8a:41:0a:f9:62"
    macs = {role: own_mac(pod, role) for role in ("bridge", "tap", "nic")}
    assert macs == {role: own_mac(pod, role) for role in ("bridge", "tap", "nic")}
    assert len({*macs.values(), pod}) == 4
    for mac in macs.values():
        first = int(mac[:2], 16)
        assert (first & 0b01, first & 0b10) == (0, 0b10)


def test_an_own_mac_that_would_be_the_pods_is_another() -> None:
    pod = own_mac("f6:8a:41:0a:f9:62", "tap")
    assert own_mac(pod, "tap") != pod
