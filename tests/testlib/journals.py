"""What would be saved of a pod of some layout: the facts, the settings and what the guest is told."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.testlib import layouts
from vmnet.lease.ipv4 import lease
from vmnet.lease.ipv6 import lease6
from vmnet.model.lease import Resolver
from vmnet.model.settings import Settings
from vmnet.plumbing.discover import discover
from vmnet.saved.schema import SCHEMA, Journal

if TYPE_CHECKING:
    from vmnet.model.links import Status
    from vmnet.model.pod import PodInterface

RESOLVER = Resolver(
    ("10.96.0.10", "fd00:10:96::a"),
    ("vms.svc.cluster.local", "svc.cluster.local", "cluster.local"),
    ("nameserver fe80::1: left out, the guest has no such link",),
)
SETTINGS = Settings(hostname="vm-1", owner=107)
IPV6_ONLY = "ipv6-only"
"""The layout bridge-dual without its IPv4."""


def status(layout: str) -> Status:
    """What the kernel shows of a pod of that layout."""
    if layout != IPV6_ONLY:
        return layouts.status(layout)
    dual = layouts.status("bridge-dual")
    return replace(
        dual,
        addresses=tuple(address for address in dual.addresses if address.ipv6),
        routes=tuple(route for route in dual.routes if route.ipv6),
    )


def journal(layout: str, settings: Settings = SETTINGS, resolver: Resolver = RESOLVER) -> Journal:
    """What `vmnet up` would save there."""
    return of_pod(discover(status(layout)), settings, resolver)


def of_pod(pod: PodInterface, settings: Settings = SETTINGS, resolver: Resolver = RESOLVER) -> Journal:
    """The same of facts that no file holds."""
    has_ipv4 = any(not address.ipv6 for address in pod.addresses)
    return Journal(
        SCHEMA,
        "b00t",
        42,
        pod,
        settings,
        lease(pod, resolver, settings) if has_ipv4 else None,
        lease6(pod, resolver, settings),
    )
