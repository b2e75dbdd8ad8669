"""Plans as text and as JSON.

Whole screens are in tests/data/screens; VMNET_GOLDEN=write writes them anew, to be read in the diff.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.testlib import journals, layouts
from vmnet.agent.lifecycle import Plan
from vmnet.bindings.bridge import bound
from vmnet.diagnosis import plan as show
from vmnet.lease.ipv4 import lease
from vmnet.model.lease import ArpEntry, Resolver
from vmnet.model.settings import Boot, RawOption, Settings
from vmnet.plumbing.diff import diff
from vmnet.plumbing.discover import discover
from vmnet.saved.schema import SCHEMA, Journal
from vmnet.show.outline import plain

if TYPE_CHECKING:
    from vmnet.model.pod import PodInterface

_RESOLVER = Resolver(("10.96.0.10",), ("svc.cluster.local",), ("nameserver ::1: left out",))


_SCREENS = Path(__file__).parents[2] / "data" / "screens"


def _plan(layout: str) -> Plan:
    status = layouts.status(layout)
    pod: PodInterface = discover(status)
    told = lease(pod, _RESOLVER, Settings(hostname="vm"))
    journal = Journal(SCHEMA, "b00t", 42, pod, Settings(), told)
    return Plan(journal, diff(status, bound(pod, Settings(), ipv6_settable=True)), already_up=False)


@pytest.mark.parametrize("width", [100, 60])
@pytest.mark.parametrize("layout", ["calico", "bridge-dual", journals.IPV6_ONLY])
def test_a_plan_on_the_screen(layout: str, width: int) -> None:
    saved = journals.journal(layout)
    changes = diff(journals.status(layout), bound(saved.pod, saved.settings, ipv6_settable=True))
    text = plain(show.plan_outline(Plan(saved, changes, already_up=False)), width) + "\n"
    path = _SCREENS / f"plan-{layout}-{width}.txt"
    if os.environ.get("VMNET_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
    assert all(len(line) <= width for line in text.splitlines())


def test_a_plan_says_what_is_there_what_would_change_and_what_the_guest_is_told() -> None:
    said = {node.text: [line.text for line in node.children] for node in show.plan_outline(_plan("calico"))}
    assert "address 192.168.77.5/32 on eth0" in said["the pod has"]
    assert "route default via 169.254.1.1 on eth0" in said["the pod has"]
    assert "create bridge k6t-eth0" in said["`vmnet up` will"]
    assert "routes    169.254.1.1/32 on-link, 0.0.0.0/0 via 169.254.1.1" in said["the guest will be told"]
    assert "MTU       1480" in said["the guest will be told"]
    assert "search    svc.cluster.local" in said["the guest will be told"]
    assert said["what it cannot be told"] == ["nameserver ::1: left out"]


def test_what_both_families_are_told_is_said_once() -> None:
    lines = show.lease_lines(journals.journal("bridge-dual").leases)
    assert len([line for line in lines if line.startswith("MTU")]) == 1
    assert len([line for line in lines if line.startswith("DNS")]) == 2


def test_a_lease_says_what_was_configured_beyond_the_pod() -> None:
    leases = _plan("calico").journal.leases
    assert leases.lease
    told = replace(
        leases.lease,
        lease_time=0xFFFFFFFF,
        ntp_servers=("10.0.0.1", "10.0.0.2"),
        boot=Boot("10.0.0.9", "ipxe.efi"),
        options=(RawOption(252, "78"),),
        neighbours=(ArpEntry("169.254.1.1", "02:00:00:00:00:fe"),),
    )
    lines = show.lease_lines(replace(leases, lease=told))
    for line in (
        "NTP       10.0.0.1, 10.0.0.2",
        "boot      10.0.0.9 ipxe.efi",
        "options   252=78",
        "ARP       169.254.1.1 is at 02:00:00:00:00:fe",
        "lease     infinite from 169.254.75.10",
    ):
        assert line in lines
    unserved = replace(leases, lease=replace(told, served=False))
    assert "lease     none: vmnet does not serve DHCP here" in show.lease_lines(unserved)


def test_a_plan_with_nothing_to_do_says_so() -> None:
    plan = _plan("bridge")
    found, changes, *_ = show.plan_outline(Plan(plan.journal, (), already_up=True))
    assert found.text == "the pod was found with"
    assert [line.text for line in changes.children] == ["nothing to do"]


def test_a_plan_as_json_has_its_schema_and_every_change() -> None:
    plan = _plan("ovn")
    shown = json.loads(show.plan_json(plan))
    assert (shown["schema"], shown["already_up"]) == (1, False)
    assert shown["changes"] == [str(change) for change in plan.changes]
    assert shown["lease"]["yiaddr"] == "10.128.2.15"
    assert shown["found"]["mac"] == plan.journal.pod.mac
