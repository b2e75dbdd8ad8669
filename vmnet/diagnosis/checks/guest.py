"""5xx: what the guest is told, and by whom. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmnet.diagnosis.evidence import ERROR, INFO, WARNING, Finding
from vmnet.lease.shared import domain_search, nameservers
from vmnet.model.links import FOREVER
from vmnet.model.settings import DHCP_EXTERNAL, DHCP_ON, ISOLATION_OFF
from vmnet.server.dhcp.request import FOREIGN_CHADDR, FOREIGN_SOURCE_MAC
from vmnet.server.lease_state import SILENT
from vmnet.settings.config import SANDBOX_OFF
from vmnet.settings.resolv import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.diagnosis.evidence import Evidence, Heard
    from vmnet.model.lease import Leases

_BOOTED_SECONDS = 60
"""By then a guest that asks at all has asked."""

_DOCKERS = "Docker's 127.0.0.11 answers inside the container only, and the guest cannot reach it by any address: "


def no_dns(evidence: Evidence) -> Iterator[Finding]:
    """The guest is told of a name server."""
    if evidence.journal and not _nameservers(evidence.journal.leases):
        lines = (evidence.resolv_conf or "").splitlines()
        seen = tuple(line for line in lines if line.startswith("nameserver"))
        yield Finding(
            WARNING,
            "the guest gets no DNS server, and cannot resolve names",
            seen or ("resolv.conf names none, or is missing",),
            f"{_DOCKERS if any('127.0.0.11' in line for line in seen) else ''}"
            "give the pod a resolver that the guest can reach (dnsPolicy, dnsConfig), or name one: "
            "`vmnet down`, then `vmnet up --dns ADDRESS` (dns.servers in --config) with the other options as "
            "before",
        )


def not_carried(evidence: Evidence) -> Iterator[Finding]:
    """All that the pod has can be told."""
    warnings = evidence.journal.leases.warnings if evidence.journal else ()
    warnings += tuple(
        f"{said}: the guest's last message had no room for more" for said in evidence.server.left_out
    )
    if warnings:
        yield Finding(
            INFO,
            "the guest does not get everything that the pod has",
            warnings,
            "if the guest needs it, set it there by hand, or with cloud-init (`vmnet render`)",
        )


def dns_changed(evidence: Evidence) -> Iterator[Finding]:
    """The guest was told what resolv.conf says now."""
    journal = evidence.journal
    if journal is None or evidence.resolv_conf is None:
        return
    resolver = evidence.resolver or parse(evidence.resolv_conf)
    ipv4, ipv6, _ = nameservers(journal.pod, resolver, journal.settings)
    search, _ = domain_search(resolver, journal.settings)
    now = ((*ipv4, *ipv6), search)
    told = (_nameservers(journal.leases), _search(journal.leases))
    # Of a long search list the guest is told as much as fits.
    if now[0] != told[0] or told[1] != now[1][: len(told[1])] or (now[1] and not told[1]):
        yield Finding(
            WARNING,
            "resolv.conf has changed since `up`: the guest still has the old name servers",
            tuple(f"{when}: {_words(said)}" for when, said in (("then", told), ("now", now))),
            "shut the VM down, `vmnet down`, `vmnet up`, start the VM. If vmnet reads another resolv.conf than "
            "the pod's, name the pod's with --resolv-conf",
        )


def no_server(evidence: Evidence) -> Iterator[Finding]:
    """The server answers."""
    if evidence.server_trouble:
        yield Finding(
            ERROR,
            "the guest gets no DHCP: the server is not serving",
            (evidence.server_trouble,),
            "`vmnet up` starts it; `vmnet run` or the systemd unit restarts it whenever it dies",
        )


def sandbox(evidence: Evidence) -> Iterator[Finding]:
    """The server has given up all that it can."""
    server = evidence.server
    if not server.sandboxed:
        remedy = "`vmnet down`, then `vmnet up` without --sandbox off, the other options as before"
        yield Finding(WARNING, SANDBOX_OFF, ("the server says so",), remedy)
    if server.missed:
        yield Finding(
            INFO,
            "the server could not drop all its privileges",
            tuple(f"{stage}: {reason}" for stage, reason in server.missed.items()),
            "nothing, if the reason is a capability that the container does not have; a newer kernel "
            "supports the rest",
        )


def conflict(evidence: Evidence) -> Iterator[Finding]:
    """The guest has not declined its address."""
    if evidence.conflict:
        cause, _, remedy = evidence.conflict.partition(". In this pod ")
        counted = evidence.server.events.get("decline", 0)
        yield Finding(ERROR, cause, (f"DHCPDECLINE: {counted}",), f"in this pod {remedy}")


def silent_guest(evidence: Evidence) -> Iterator[Finding]:
    """The guest asks for its address."""
    journal, server = evidence.journal, evidence.server
    if journal is None or journal.settings.dhcp != DHCP_ON or server.lease != SILENT:
        return
    state = evidence.link_state(journal.settings.tap)
    if journal.lease is None or state is None or not state.carrier:
        return
    seconds = server.lease_seconds
    counted = ", ".join(f"{count} {reason}" for reason, count in server.ignored.items())
    yield Finding(
        WARNING if seconds > _BOOTED_SECONDS else INFO,
        "the VM has its tap open, but has not asked for an address yet",
        (f"{seconds:.0f} s without DHCP from {journal.vm_mac}", f"ignored frames: {counted or 'none'}"),
        "wait while it boots; then check in the guest: a driver for the NIC's model, the link up, a DHCP "
        "client running? A guest with a static address needs none",
    )


def foreign_mac(evidence: Evidence) -> Iterator[Finding]:
    """Nobody but the VM asks on its tap."""
    server = evidence.server
    reasons = (FOREIGN_SOURCE_MAC, FOREIGN_CHADDR)
    seen = tuple(f"{reason}: {server.ignored[reason]}" for reason in reasons if reason in server.ignored)
    if seen and evidence.journal:
        yield Finding(
            WARNING,
            f"DHCP requests come from a MAC other than {evidence.journal.vm_mac}, and are ignored",
            (*seen, *(f"{mac} asks" for mac in server.foreign_macs)),
            "give the VM's NIC that MAC (`vmnet domain` does), or name the one that asks: `vmnet down`, then "
            "`vmnet up --mac MAC` with the other options as before. A bridge or nested VM in the guest does this "
            "too",
        )


def other_dhcp_server(evidence: Evidence) -> Iterator[Finding]:
    """No other server answers the guest."""
    if evidence.told_settings.dhcp == DHCP_EXTERNAL:
        return
    events = evidence.server.events.get("other_server", 0)
    heard = [one for one in evidence.heard if one.what in ("DHCP", "DHCPv6")]
    seen = (*map(_said, heard), *((f"the guest chose another server: {events} times",) if events else ()))
    if seen:
        kept = "and the guest accepted its offer" if events else _reaches(evidence)
        yield Finding(
            WARNING,
            f"there is another DHCP server in the pod network, {kept}",
            seen,
            "nothing, if it serves other machines and the guest is isolated; else find it by its MAC, or let it "
            "serve the guest instead of vmnet (--dhcp external)",
        )


def other_router(evidence: Evidence) -> Iterator[Finding]:
    """No router but the pod's tells the guest anything."""
    heard = [one for one in evidence.heard if one.what == "router advertisement"]
    if not heard:
        return
    settings = evidence.told_settings
    gateways = {route.gateway for route in evidence.journal.pod.routes} if evidence.journal else set()
    strangers = [one for one in heard if one.address not in gateways]
    kept = settings.isolation != ISOLATION_OFF
    if settings.dhcp == DHCP_EXTERNAL or (kept and not strangers):
        yield Finding(
            INFO,
            "a router advertises itself in the pod network",
            tuple(map(_said, heard)),
            "nothing: the guest learns its routes from it (--dhcp external), or from vmnet, which knows this one",
        )
    else:
        whose = "that is not one of the pod's gateways " if strangers else ""
        yield Finding(
            WARNING,
            f"a router {whose}advertises itself in the pod network, {_reaches(evidence)}",
            tuple(map(_said, heard)),
            "find it by its MAC and check whether it belongs there; isolate the guest from it "
            "(--isolation strict)",
        )


def _reaches(evidence: Evidence) -> str:
    if evidence.told_settings.isolation == ISOLATION_OFF:
        return "and the guest may follow it instead of vmnet"
    return "whose frames isolation drops"


def endless_lease(evidence: Evidence) -> Iterator[Finding]:
    """The guest asks again, and learns what has changed."""
    lease = evidence.journal.lease if evidence.journal else None
    if lease and lease.served and lease.lease_time == FOREVER:
        yield Finding(
            INFO,
            "the lease never expires: the guest never renews it, and does not learn of changes",
            ("the lease time is infinite",),
            "nothing, if that is intended; else `vmnet down`, then `vmnet up --lease-time 86400` with the other "
            "options as before",
        )


def foreign_address(evidence: Evidence) -> Iterator[Finding]:
    """The guest uses the address that is its."""
    journal = evidence.journal
    addresses = evidence.server.foreign_addresses
    if journal and addresses:
        own = ", ".join(journal.leases.addresses)
        yield Finding(
            WARNING,
            f"the guest uses an address that is not its own: traffic for {own} does not reach it",
            tuple(f"the guest was seen to use {address}" for address in addresses),
            f"let the guest take its address by DHCP, or set {own} in it by hand (`vmnet render` writes the "
            "configuration); to allow a further address, `vmnet down`, then `vmnet up --allow-address CIDR` with "
            "the other options as before",
        )


def _nameservers(leases: Leases) -> tuple[str, ...]:
    ipv4 = leases.lease.nameservers if leases.lease else ()
    ipv6 = leases.lease6.nameservers if leases.lease6 else ()
    return (*ipv4, *ipv6)


def _search(leases: Leases) -> tuple[str, ...]:
    lease = leases.lease or leases.lease6
    return lease.domain_search if lease else ()


def _words(said: tuple[tuple[str, ...], tuple[str, ...]]) -> str:
    servers, search = said
    return f"nameserver {' '.join(servers) or 'none'}, search {' '.join(search) or 'none'}"


def _said(heard: Heard) -> str:
    return f"{heard.what} from {heard.address} at {heard.mac}"
