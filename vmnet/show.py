"""Plans as text for people and as JSON for machines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from vmnet.codec import plain
from vmnet.log import escape
from vmnet.model import FOREVER, describe

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vmnet.agent import Plan
    from vmnet.model import Lease, Lease6, Leases, Router

_PLAN_SCHEMA = 1


def plan_json(plan: Plan) -> str:
    """Return the plan as one JSON object."""
    return _json(
        {
            "schema": _PLAN_SCHEMA,
            "already_up": plan.already_up,
            "found": plain(plan.journal.pod),
            "changes": [str(change) for change in plan.changes],
            "lease": plain(plan.journal.lease),
            "lease6": plain(plan.journal.lease6),
        }
    )


def plan_text(plan: Plan) -> str:
    """Return the plan as people read it."""
    pod = plan.journal.pod
    found = [f"{pod.ifname}  MAC {pod.mac}  MTU {pod.mtu}"]
    found += [describe(address) for address in pod.addresses]
    found += [describe(route) for route in pod.routes]
    found += [describe(neighbour) for neighbour in pod.neighbours if neighbour.permanent]
    changes = [str(change) for change in plan.changes] or ["nothing: all is as it shall be"]
    sections = (
        ("the pod was found with" if plan.already_up else "the pod has", found),
        ("`vmnet up` will", changes),
        ("the guest will be told", lease_lines(plan.journal.leases)),
        ("what it cannot be told", list(plan.journal.leases.warnings)),
    )
    return "\n\n".join(_section(title, lines) for title, lines in sections if lines)


def lease_lines(leases: Leases) -> list[str]:
    """Return what the leases say, one fact a line."""
    return [
        *(_lease_lines(leases.lease) if leases.lease else ()),
        *(_lease6_lines(leases.lease6) if leases.lease6 else ()),
    ]


def _lease_lines(lease: Lease) -> list[str]:
    facts = (
        ("address", f"{lease.yiaddr}/{lease.prefixlen}"),
        ("MAC", lease.chaddr),
        ("gateway", lease.router or "none"),
        (
            "routes",
            ", ".join(
                f"{route.dst} on-link" if route.gateway == "0.0.0.0" else f"{route.dst} via {route.gateway}"  # noqa: S104
                for route in lease.classless_routes
            ),
        ),
        ("MTU", str(lease.interface_mtu or "")),
        ("DNS", ", ".join(lease.nameservers)),
        ("search", ", ".join(lease.domain_search)),
        ("host name", lease.hostname),
        ("NTP", ", ".join(lease.ntp_servers)),
        ("boot", " ".join(filter(None, (lease.boot.server, lease.boot.file, lease.boot.vendor_class)))),
        ("options", ", ".join(f"{option.code}={option.value}" for option in lease.options)),
        ("ARP", ", ".join(f"{entry.address} is at {entry.mac}" for entry in lease.neighbours)),
        ("lease", _duration(lease) if lease.served else "none: vmnet does not serve DHCP here"),
    )
    return _lines(facts)


def _lease6_lines(lease: Lease6) -> list[str]:
    facts = (
        *(("address", leased.address) for leased in lease.addresses),
        *(("gateway", _router(router)) for router in lease.routers if router.is_default),
        *(
            ("routes", f"{', '.join(router.routes)} via {_router(router)}")
            for router in lease.routers
            if router.routes
        ),
        ("on-link", ", ".join(lease.prefixes)),
        ("MTU", str(lease.mtu or "")),
        ("DNS", ", ".join(lease.nameservers)),
        ("search", ", ".join(lease.domain_search)),
        ("NTP", ", ".join(lease.ntp_servers)),
        ("NAT64", lease.nat64_prefix),
        ("IPv6", "" if lease.served else "vmnet advertises no router and serves no DHCPv6 here"),
    )
    return _lines(facts)


def _router(router: Router) -> str:
    """Name the router as the guest sees it, and the pod's where that is another."""
    behind = f" for {router.gateway}" if router.synthetic and router.gateway else ""
    return f"{router.address}{behind}{f' at {router.mac}' if router.mac else ''}"


def _lines(facts: Iterable[tuple[str, str]]) -> list[str]:
    return [f"{name:<10}{value}" for name, value in facts if value]


def _duration(lease: Lease) -> str:
    time = "infinite" if lease.lease_time == FOREVER else f"{lease.lease_time} s"
    return f"{time} from {lease.server_id}"


def escape_lines(lines: list[str]) -> str:
    """Join lines, with control characters shown instead of sent."""
    return "\n".join(escape(line) for line in lines)


def _section(title: str, lines: list[str]) -> str:
    return escape_lines([f"{title}:", *(f"  {line}" for line in lines)])


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
