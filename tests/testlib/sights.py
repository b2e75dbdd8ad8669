"""Sights of a pod that was handed over, with what its server says: for the tests of what is made of them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from tests.testlib import layouts
from vmnet.control.report import ServerReport, read_report
from vmnet.diagnosis.sight import Sight
from vmnet.diagnosis.standing import Report
from vmnet.kernel.inspect import FORWARDING, LinkState
from vmnet.lease.ipv4 import lease
from vmnet.lease.ipv6 import lease6
from vmnet.lease.shared import global_addresses
from vmnet.model.lease import Resolver
from vmnet.model.links import Link, Status
from vmnet.model.settings import Settings
from vmnet.plumbing.discover import discover
from vmnet.saved.schema import SCHEMA, Journal

RESOLVER = Resolver(("10.96.0.10", "fd00:10:96::a"), ("vms.svc.cluster.local", "cluster.local"))
ROUTER = {
    "address": "fe80::766d:6e65:7401",
    "gateway": "fd00:10:246:1::1",
    "mac": "02:42:0a:f6:01:01",
    "silent_seconds": None,
}
SANDBOX = {"on": True, "reached": ["limits", "seccomp"], "missed": {}}


def journal(layout: str = "bridge", **settings: Any) -> Journal:  # noqa: ANN401 - each has its type
    """The facts of a pod of that layout; `ipv6-only` is bridge-dual without IPv4."""
    status = layouts.status("bridge-dual" if layout == "ipv6-only" else layout)
    if layout == "ipv6-only":
        addresses = tuple(address for address in status.addresses if address.ipv6)
        routes = tuple(route for route in status.routes if route.ipv6)
        status = replace(status, addresses=addresses, routes=routes)
    pod = discover(status, "eth0")
    wished = Settings(**{"hostname": "vm-1", "owner": 107, **settings})
    ipv4 = lease(pod, RESOLVER, wished) if global_addresses(pod, ipv6=False) else None
    return Journal(SCHEMA, "b00t", 42, pod, wished, ipv4, lease6(pod, RESOLVER, wished))


def family(state: str = "silent", **said: Any) -> dict[str, Any]:  # noqa: ANN401
    """What the server says of one family."""
    usual = {"lease": state, "lease_seconds": 3.25, "reached": {}, "uses": "", "uses_foreign": "", "events": {}}
    return usual | said


def server(lease: str = "silent", ipv6: dict[str, Any] | None = None, **said: Any) -> dict[str, Any]:  # noqa: ANN401
    """What the server says; what begins like a member of `family` is of IPv4."""
    usual = {"state": "serving", "reason": "", "foreign_macs": [], "ignored": {}, "sandbox": SANDBOX}
    return usual | family(lease) | {"ipv6": ipv6} | said


def sight(
    told: Journal | None,
    said: dict[str, Any] | None,
    *,
    received: int = 4,
    carrier: bool = True,
    **report: Any,  # noqa: ANN401
) -> Sight:
    """The binding of these facts, its tap in this state; `report` is `Report`'s members."""
    if told is None:
        return Sight(Report(None))
    heard = report_of(said) if said else None
    settings = told.settings
    links = (
        Link(2, "eth0-nic", "veth", "02:76:6d:00:00:01", 1500, up=True, controller="k6t-eth0"),
        Link(3, "k6t-eth0", "bridge", "02:76:6d:00:00:02", 1500, up=True),
        Link(
            *(4, settings.tap, "tun", "02:76:6d:00:00:03", 1500),
            up=True,
            controller="k6t-eth0",
            owner=settings.owner,
            multi_queue=settings.multi_queue,
        ),
        Link(5, "eth0", "bridge", told.pod.mac, 1500, up=True),
    )
    states = (
        LinkState("eth0-nic", carrier=True, port_state=FORWARDING, received=20, sent=10),
        LinkState("k6t-eth0", carrier=True),
        LinkState(settings.tap, carrier, FORWARDING if carrier else 0, received, 7),
        LinkState("eth0", carrier=False),
    )
    members = {"now": Status(links), **report}
    return Sight(Report(told, server=heard, **members), states)


def report_of(said: dict[str, Any]) -> ServerReport:
    """What is read of these words of a server."""
    read = read_report(json.dumps(said).encode() + b"\n")
    assert read is not None, said
    return read
