"""A lease that the guest declined: what `vmnet status` says of it, and of whom."""

from __future__ import annotations

import pytest

from tests.testlib import layouts
from vmnet.control.report import FamilyReport, ServerReport
from vmnet.diagnosis.conflict import conflict
from vmnet.lease.ipv4 import lease
from vmnet.model.lease import Resolver
from vmnet.model.settings import Settings
from vmnet.plumbing.discover import discover

DECLINED = "declined"


def said(layout: str, state: str | None) -> str:
    pod = discover(layouts.status(layout))
    report = ServerReport("serving", FamilyReport(state)) if state else None
    return conflict(pod, lease(pod, Resolver(), Settings()), report)


@pytest.mark.parametrize("state", [None, "bound", "silent"])
def test_without_a_decline_nothing_is_said(state: str | None) -> None:
    assert said("bridge", state) == ""


@pytest.mark.parametrize(
    ("layout", "address", "suspects"),
    [
        ("bridge", "10.244.1.2", "10.244.1.1"),
        ("calico", "192.168.77.5", "169.254.1.1"),
        ("ovn", "10.128.2.15", "10.128.2.1"),
    ],
)
def test_a_decline_names_the_address_who_may_hold_it_and_what_to_do(
    layout: str, address: str, suspects: str
) -> None:
    sentence = said(layout, DECLINED)
    assert sentence.startswith(f"ADDRESS CONFLICT: the guest declined {address}, ")
    assert f"(the pod knew {suspects})" in sentence or f"(the pod knew {suspects} at " in sentence
    assert f"tcpdump -nei eth0-nic arp and host {address}`" in sentence
    assert "If it is the other one: `vmnet down`" in sentence
