"""Every check there is, in the order in which things go wrong; and the run over them. Pure.

A hundred for each subject: 1 the place, 2 the pod interface, 3 the plumbing, 4 the frames' way, 5 what the guest
is told, 6 what is left over. A code keeps its meaning for good; docs/doctor.md has a section for each.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vmnet.advice import at_this_place
from vmnet.doctor import (
    checks_domain,
    checks_guest,
    checks_interface,
    checks_left,
    checks_path,
    checks_place,
    checks_plumbing,
)
from vmnet.doctor.evidence import (
    ALWAYS,
    BEFORE,
    BOUND,
    ERROR,
    INFO,
    SERVED,
    WARNING,
    WITH_DOMAIN,
    Check,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.doctor.evidence import Evidence, Finding

_ON_THE_HOST = "VMN-1"
"""On the host's namespace only these are asked: what is there is no pod's."""

CHECKS = (
    Check("VMN-101", "a network namespace of its own", ALWAYS, checks_place.host_namespace),
    Check("VMN-102", "CAP_NET_ADMIN and CAP_NET_RAW", ALWAYS, checks_place.capabilities),
    Check("VMN-103", "/dev/net/tun", ALWAYS, checks_place.tun),
    Check("VMN-104", "the program nft", ALWAYS, checks_place.nft),
    Check("VMN-105", "writable /proc/sys", ALWAYS, checks_place.sysctls),
    Check("VMN-106", "a server with a user of its own", BEFORE, checks_place.server_user),
    Check("VMN-107", "a state directory", ALWAYS, checks_place.state_directory),
    Check("VMN-108", "a namespace that is no node's", ALWAYS, checks_place.node_namespace),
    Check("VMN-201", "a pod interface, up and with an address", BEFORE, checks_interface.not_ready),
    Check("VMN-202", "an interface that can be joined to a bridge", BEFORE, checks_interface.unbridgeable),
    Check("VMN-203", "nothing that could not be given back", BEFORE, checks_interface.not_restorable),
    Check("VMN-204", "free names for the links", BEFORE, checks_interface.names_taken),
    Check("VMN-205", "no binding without its facts", BEFORE, checks_interface.orphans),
    Check("VMN-206", "IPv6 addresses that are nobody else's", BEFORE, checks_interface.duplicate_address),
    Check("VMN-207", "addresses without an end", ALWAYS, checks_interface.runs_out),
    Check("VMN-208", "nothing else that `up` refuses", BEFORE, checks_interface.otherwise_refused),
    Check("VMN-209", "an interface that no other program has bound", BEFORE, checks_interface.bound_elsewhere),
    Check("VMN-301", "a binding as it shall be", BOUND, checks_plumbing.drift),
    Check("VMN-302", "the pod's NIC", BOUND, checks_plumbing.nic_gone),
    Check("VMN-303", "a NIC with a carrier", ALWAYS, checks_plumbing.nic_carrier),
    Check("VMN-304", "a VM that holds its tap", BOUND, checks_plumbing.tap_unheld),
    Check("VMN-305", "ports that forward", BOUND, checks_plumbing.port_state),
    Check("VMN-306", "nobody else on the bridge", BOUND, checks_plumbing.further_port),
    Check("VMN-307", "a guest that is isolated", ALWAYS, checks_plumbing.not_isolated),
    Check("VMN-308", "a kernel with all the hooks", BOUND, checks_plumbing.missing_hook),
    Check("VMN-309", "a tap that QEMU may open", BOUND, checks_plumbing.tap_owner),
    Check("VMN-310", "a VM whose tap is still there", BOUND, checks_plumbing.tap_gone),
    Check("VMN-401", "no link narrower than the guest's MTU", ALWAYS, checks_path.mtu),
    Check("VMN-402", "an MTU that is enough for IPv6", ALWAYS, checks_path.no_ipv6_below_its_least),
    Check("VMN-403", "gateways that answer the pod", BEFORE, checks_path.silent_gateway),
    Check("VMN-404", "IPv6 gateways that answer the server", SERVED, checks_path.unknown_gateway),
    Check("VMN-405", "frames that no rules for packets see", ALWAYS, checks_path.bridge_netfilter),
    Check("VMN-406", "a bridge that no router configures", BOUND, checks_path.accepts_advertisements),
    Check("VMN-407", "a default route", ALWAYS, checks_path.no_default_route),
    Check("VMN-501", "a name server for the guest", ALWAYS, checks_guest.no_dns),
    Check("VMN-502", "nothing that cannot be told", ALWAYS, checks_guest.not_carried),
    Check("VMN-503", "name servers as they are now", BOUND, checks_guest.dns_changed),
    Check("VMN-504", "a server that serves", BOUND, checks_guest.no_server),
    Check("VMN-505", "a server that has given everything up", SERVED, checks_guest.sandbox),
    Check("VMN-506", "an address that nobody else has", BOUND, checks_guest.conflict),
    Check("VMN-507", "a guest that asks", SERVED, checks_guest.silent_guest),
    Check("VMN-508", "a guest with the right MAC", SERVED, checks_guest.foreign_mac),
    Check("VMN-509", "no other DHCP server heard", ALWAYS, checks_guest.other_dhcp_server),
    Check("VMN-510", "no other router heard", ALWAYS, checks_guest.other_router),
    Check("VMN-511", "the domain's interface", WITH_DOMAIN, checks_domain.interface),
    Check("VMN-512", "a NIC model that tells the MTU", WITH_DOMAIN, checks_domain.model),
    Check("VMN-513", "as many queues as the tap has", WITH_DOMAIN, checks_domain.queues),
    Check("VMN-514", "a lease that ends", ALWAYS, checks_guest.endless_lease),
    Check("VMN-515", "a guest with its own address", SERVED, checks_guest.foreign_address),
    Check("VMN-601", "no journals of another boot", ALWAYS, checks_left.stale_journals),
    Check("VMN-602", "no journal without a binding", BEFORE, checks_left.begun),
    Check("VMN-603", "no binding without its journal", BOUND, checks_left.lost),
    Check("VMN-604", "no server without a binding", ALWAYS, checks_left.lone_servers),
    Check("VMN-605", "no rules without a binding", ALWAYS, checks_left.lone_rules),
)


def asked(evidence: Evidence) -> tuple[Check, ...]:
    """Return the checks that apply here."""
    here = _ON_THE_HOST if evidence.surroundings.is_host else ""
    return tuple(check for check in CHECKS if check.code.startswith(here) and check.applies(evidence))


def examine(evidence: Evidence) -> tuple[Finding, ...]:
    """Return what the checks find, in their order."""
    return tuple(_findings(evidence))


def _findings(evidence: Evidence) -> Iterator[Finding]:
    for check in asked(evidence):
        for finding in check.look(evidence):
            yield replace(finding, code=check.code, remedy=at_this_place(finding.remedy, evidence.flags))


def worst(findings: tuple[Finding, ...]) -> str:
    """Return the severity of the worst finding; info where there is none."""
    severities = {finding.severity for finding in findings}
    return next((severity for severity in (ERROR, WARNING) if severity in severities), INFO)
