"""The facts of a pod that is not bound yet, or a refusal before anything is touched."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from vmnet.agent.recall import begun_here
from vmnet.bindings.names import free_tap
from vmnet.bindings.whose import of_bindings
from vmnet.errors import RefusedError
from vmnet.kernel import firewall
from vmnet.lease.ipv4 import lease
from vmnet.lease.shared import global_addresses
from vmnet.model.settings import ISOLATION_OFF, Settings
from vmnet.plumbing.discover import (
    better_interface,
    discover,
    refuse_bound_elsewhere,
    refuse_names_taken,
    refuse_orphans,
)
from vmnet.plumbing.node_signs import refuse_node, signs
from vmnet.saved.facts import is_host_name, text_of
from vmnet.saved.journal import refuse_too_large
from vmnet.saved.schema import SCHEMA, Here, Journal
from vmnet.settings import resolver

if TYPE_CHECKING:
    from vmnet.agent.place import Place
    from vmnet.model.lease import Lease, Lease6, Resolver
    from vmnet.model.links import Holder, Status
    from vmnet.model.pod import PodInterface
    from vmnet.settings.config import Config


def node_signs(now: Status, config: Config, ifname: str) -> tuple[str, ...]:
    """Say what a node has and a pod has not; the environment is ours, and tells of no other namespace."""
    if config.on_node:
        return ()
    return signs(now, {} if config.netns or config.entered else os.environ, ifname)


def begin(place: Place, config: Config, now: Status) -> Journal:
    """Find the facts of a pod that is not bound yet.

    Raises:
        NotYetError: the CNI has not made the interface, or not set it up.
        RefusedError: it cannot be handed over as it is, or not with these settings.
    """
    wished = config.settings
    if wished.isolation != ISOLATION_OFF and firewall.program() is None:
        raise RefusedError(
            "nft is missing, which loads the rules that isolate the guest; install nftables, or do without "
            "isolation: --isolation off"
        )
    # A tap that nobody owns is anybody's who can open /dev/net/tun (drivers/net/tun.c, tun_not_capable).
    owner = os.geteuid() if wished.owner is None else wished.owner
    begun = begun_here(place.state, place.here, now)
    refuse_orphans(now, config.interface, begun)
    refuse_bound_elsewhere(now, config.interface, begun)
    pod = discover(now, config.interface)
    refuse_node(node_signs(now, config, pod.ifname))
    tap = _tap(
        now,
        pod,
        wished.tap if config.tap_is_named else "",
        of_bindings((one.pod.ifname, one.settings.tap) for one in begun.values() if one),
    )
    settings = replace(wished, tap=tap, owner=owner, hostname=wished.hostname or resolver.hostname(config))
    if settings.mtu is not None and settings.mtu > pod.mtu:
        raise RefusedError(
            f"MTU {settings.mtu} is larger than {pod.ifname}'s {pod.mtu}, so frames would be lost; use --mtu "
            f"{pod.mtu} or less"
        )
    ipv4, ipv6 = _leases(pod, resolver.resolver(config), settings)
    better = "" if config.interface else better_interface(now, pod)
    for said in filter(None, (better, resolver.borrowed(config))):
        ipv4 = ipv4 and replace(ipv4, warnings=(*ipv4.warnings, said))
        ipv6 = ipv6 and replace(ipv6, warnings=(*ipv6.warnings, said))
    if not is_host_name(settings.hostname):  # of the UTS namespace; what it is, the lease's warning says
        settings = replace(settings, hostname="")
    journal = Journal(
        schema=SCHEMA,
        boot_id=place.here.boot_id,
        netns_cookie=place.here.netns_cookie,
        pod=pod,
        settings=settings,
        lease=ipv4,
        lease6=ipv6,
    )
    _refuse_unreadable(journal, place.here)
    return journal


def _refuse_unreadable(journal: Journal, here: Here) -> None:
    """Refuse, before anything is touched, facts that could not be read back: they would be lost.

    Raises:
        RefusedError: they could not, or are too many.
    """
    try:
        text = text_of(journal, here)
    except ValueError as error:
        raise RefusedError(f"{journal.pod.ifname!a} cannot be handed over: {error}") from error
    refuse_too_large(text.encode(), journal.pod.ifname)


def _tap(now: Status, pod: PodInterface, wished: str, ours: dict[str, str]) -> str:
    """Return the name that the tap shall have: the one that is wished for, else a free one.

    Raises:
        RefusedError: a link of that name is there, or one that the bridge or the NIC would have.
    """
    tap = wished or free_tap({*ours, *(link.ifname for link in now.links)})
    link = now.link(tap)
    holders: tuple[Holder, ...] = ()
    if link and link.kind == "tun":
        from vmnet.kernel.tap_holders import tap_holders  # only a refusal needs it

        holders = tap_holders()
    refuse_names_taken(now, pod, tap, ours, holders)
    return tap


def _leases(pod: PodInterface, dns: Resolver, settings: Settings) -> tuple[Lease | None, Lease6 | None]:
    """Compose what the guest is told, of at least one family."""
    if not global_addresses(pod, ipv6=True):
        return lease(pod, dns, settings), None
    from vmnet.lease.ipv6 import lease6, untold  # a millisecond that only pods with IPv6 pay

    ipv6 = lease6(pod, dns, settings)
    if ipv6 and all(address.ipv6 for address in pod.addresses):
        return None, ipv6
    ipv4 = lease(pod, dns, settings)
    return replace(ipv4, warnings=(*ipv4.warnings, *untold(pod, settings))), ipv6
