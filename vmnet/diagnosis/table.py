"""Every check there is, in the order in which things go wrong; and the run over them. Pure.

A hundred for each subject: 1 the place, 2 the pod interface, 3 the plumbing, 4 the frames' way, 5 what the guest
is told, 6 what is left over. A code keeps its meaning for good; docs/doctor.md has a section for each.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vmnet.diagnosis.checks import domain, guest, interface, left, path, place, plumbing
from vmnet.diagnosis.evidence import ALWAYS, BEFORE, BOUND, ERROR, INFO, SERVED, WARNING, WITH_DOMAIN, Check
from vmnet.settings.advice import at_this_place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.diagnosis.evidence import Evidence, Finding

_ON_THE_HOST = "VMN-1"
"""On the host's namespace only these are asked: what is there is no pod's."""

CHECKS = (
    Check("VMN-101", "not in the host's network namespace", ALWAYS, place.host_namespace),
    Check("VMN-102", "CAP_NET_ADMIN and CAP_NET_RAW", ALWAYS, place.capabilities),
    Check("VMN-103", "/dev/net/tun", ALWAYS, place.tun),
    Check("VMN-104", "nft is installed", ALWAYS, place.nft),
    Check("VMN-105", "/proc/sys is writable", ALWAYS, place.sysctls),
    Check("VMN-106", "DHCP server has its own user", BEFORE, place.server_user),
    Check("VMN-107", "state directory is writable", ALWAYS, place.state_directory),
    Check("VMN-108", "not in a node's network namespace", ALWAYS, place.node_namespace),
    Check("VMN-201", "pod interface is up and has an address", BEFORE, interface.not_ready),
    Check("VMN-202", "pod interface can be a bridge port", BEFORE, interface.unbridgeable),
    Check("VMN-203", "pod interface can be restored exactly", BEFORE, interface.not_restorable),
    Check("VMN-204", "names of the links are free", BEFORE, interface.names_taken),
    Check("VMN-205", "binding has its saved configuration", BEFORE, interface.orphans),
    Check("VMN-206", "IPv6 addresses are unique", BEFORE, interface.duplicate_address),
    Check("VMN-207", "addresses do not expire", ALWAYS, interface.runs_out),
    Check("VMN-208", "no other reason to refuse `up`", BEFORE, interface.otherwise_refused),
    Check("VMN-209", "pod interface is not bound by another program", BEFORE, interface.bound_elsewhere),
    Check("VMN-301", "binding is as `up` made it", BOUND, plumbing.drift),
    Check("VMN-302", "pod's NIC exists", BOUND, plumbing.nic_gone),
    Check("VMN-303", "NIC has a carrier", ALWAYS, plumbing.nic_carrier),
    Check("VMN-304", "tap is in use by a VM", BOUND, plumbing.tap_unheld),
    Check("VMN-305", "bridge ports forward", BOUND, plumbing.port_state),
    Check("VMN-306", "no other port on the bridge", BOUND, plumbing.further_port),
    Check("VMN-307", "guest is isolated", ALWAYS, plumbing.not_isolated),
    Check("VMN-308", "kernel has all the hooks", BOUND, plumbing.missing_hook),
    Check("VMN-309", "QEMU may open the tap", BOUND, plumbing.tap_owner),
    Check("VMN-310", "VM's tap still exists", BOUND, plumbing.tap_gone),
    Check("VMN-401", "no link is narrower than the guest's MTU", ALWAYS, path.mtu),
    Check("VMN-402", "MTU is large enough for IPv6", ALWAYS, path.no_ipv6_below_its_least),
    Check("VMN-403", "gateways answer the pod", BEFORE, path.silent_gateway),
    Check("VMN-404", "IPv6 gateways answer the server", SERVED, path.unknown_gateway),
    Check("VMN-405", "iptables does not see the guest's frames", ALWAYS, path.bridge_netfilter),
    Check("VMN-406", "bridge ignores router advertisements", BOUND, path.accepts_advertisements),
    Check("VMN-407", "default route exists", ALWAYS, path.no_default_route),
    Check("VMN-501", "guest gets a DNS server", ALWAYS, guest.no_dns),
    Check("VMN-502", "guest gets all settings by DHCP", ALWAYS, guest.not_carried),
    Check("VMN-503", "DNS servers are as they were at `up`", BOUND, guest.dns_changed),
    Check("VMN-504", "DHCP server is serving", BOUND, guest.no_server),
    Check("VMN-505", "DHCP server's sandbox is complete", SERVED, guest.sandbox),
    Check("VMN-506", "no address conflict", BOUND, guest.conflict),
    Check("VMN-507", "guest asks for its address", SERVED, guest.silent_guest),
    Check("VMN-508", "guest uses the VM's MAC", SERVED, guest.foreign_mac),
    Check("VMN-509", "no other DHCP server heard", ALWAYS, guest.other_dhcp_server),
    Check("VMN-510", "no other router heard", ALWAYS, guest.other_router),
    Check("VMN-511", "domain's interface fits the binding", WITH_DOMAIN, domain.interface),
    Check("VMN-512", "NIC model tells the guest its MTU", WITH_DOMAIN, domain.model),
    Check("VMN-513", "domain has as many queues as the tap", WITH_DOMAIN, domain.queues),
    Check("VMN-514", "lease time is finite", ALWAYS, guest.endless_lease),
    Check("VMN-515", "guest uses its own address", SERVED, guest.foreign_address),
    Check("VMN-601", "no journal of another boot", ALWAYS, left.stale_journals),
    Check("VMN-602", "no journal without a binding", BEFORE, left.begun),
    Check("VMN-603", "no binding without its journal", BOUND, left.lost),
    Check("VMN-604", "no server without a binding", ALWAYS, left.lone_servers),
    Check("VMN-605", "no rules without a binding", ALWAYS, left.lone_rules),
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
