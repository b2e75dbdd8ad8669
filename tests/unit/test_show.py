"""Plans as text and as JSON."""

from __future__ import annotations

import json
from dataclasses import replace

from tests.unit import layouts
from vmnet import show
from vmnet.agent import Plan
from vmnet.dhcp.lease import lease
from vmnet.model import ArpEntry, Boot, PodInterface, RawOption, Resolver, Settings
from vmnet.plumbing.bridge import bound
from vmnet.plumbing.diff import diff
from vmnet.plumbing.discover import discover
from vmnet.schema import SCHEMA, Journal

_RESOLVER = Resolver(("10.96.0.10",), ("svc.cluster.local",), ("nameserver ::1: left out",))


def _plan(layout: str) -> Plan:
    status = layouts.status(layout)
    pod: PodInterface = discover(status)
    told = lease(pod, _RESOLVER, Settings(hostname="vm"))
    journal = Journal(SCHEMA, "b00t", 42, pod, Settings(), told)
    return Plan(journal, diff(status, bound(pod, Settings(), ipv6_settable=True)), already_up=False)


def test_a_plan_says_what_is_there_what_would_change_and_what_the_guest_is_told() -> None:
    text = show.plan_text(_plan("calico"))
    for line in (
        "  address 192.168.77.5/32 on eth0",
        "  route default via 169.254.1.1 on eth0",
        "  create bridge k6t-eth0",
        "  routes    169.254.1.1/32 on-link, 0.0.0.0/0 via 169.254.1.1",
        "  MTU       1480",
        "  search    svc.cluster.local",
        "  nameserver ::1: left out",
    ):
        assert line in text.splitlines(), text


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
    text = show.plan_text(Plan(plan.journal, (), already_up=True))
    assert "the pod was found with:" in text
    assert "nothing: all is as it shall be" in text


def test_a_plan_as_json_has_its_schema_and_every_change() -> None:
    plan = _plan("ovn")
    shown = json.loads(show.plan_json(plan))
    assert (shown["schema"], shown["already_up"]) == (1, False)
    assert shown["changes"] == [str(change) for change in plan.changes]
    assert shown["lease"]["yiaddr"] == "10.128.2.15"
    assert shown["found"]["mac"] == plan.journal.pod.mac
