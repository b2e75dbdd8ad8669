"""Evidence of pods in which nothing is wrong: before `up`, and bound with a guest that has its lease."""

from __future__ import annotations

from dataclasses import replace

from tests.testlib import layouts
from tests.testlib.fake_kernel import FakeKernel
from vmnet.bindings.bridge import bound as bound_spec
from vmnet.diagnosis.evidence import Evidence
from vmnet.diagnosis.server_words import Server
from vmnet.kernel.inspect import FORWARDING, LinkState
from vmnet.lease.ipv4 import lease
from vmnet.lease.ipv6 import lease6
from vmnet.model.settings import Settings
from vmnet.plumbing.diff import diff
from vmnet.plumbing.discover import discover
from vmnet.saved.schema import SCHEMA, Journal
from vmnet.settings.resolv import parse

RESOLV_CONF = "search svc.cluster.local\nnameserver 10.96.0.10\n"
SERVER = Server(state="serving", lease="bound", lease_seconds=12.5, events={"offer": 1, "ack_selecting": 1})


def before(layout: str = "bridge", settings: Settings | None = None) -> Evidence:
    """A pod that could be bound."""
    status, settings = layouts.status(layout), settings or Settings(hostname="vm", owner=107)
    pod, resolver = discover(status), parse(RESOLV_CONF)
    journal = Journal(
        SCHEMA, "b00t", 42, pod, settings, lease(pod, resolver, settings), lease6(pod, resolver, settings)
    )
    return Evidence(
        status=status,
        settings=settings,
        link_states=tuple(LinkState(link.ifname, carrier=True) for link in status.links),
        journal=journal,
        resolv_conf=RESOLV_CONF,
    )


def bound(layout: str = "bridge", settings: Settings | None = None) -> Evidence:
    """The same pod with a VM that has its identity."""
    evidence = before(layout, settings)
    journal = evidence.journal
    assert journal is not None
    kernel, spec = FakeKernel(evidence.status), bound_spec(journal.pod, journal.settings, ipv6_settable=True)
    while changes := diff(kernel.read(), spec):
        for change in changes:
            kernel.apply(change)
    status = kernel.read()
    states = (LinkState(link.ifname, True, FORWARDING if link.controller else None) for link in status.links)
    return replace(evidence, status=status, link_states=tuple(states), bound=True, server=SERVER)
