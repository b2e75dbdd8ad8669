"""What the facts of a binding mean for the domain, and a domain's wishes for the binding."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vmnet.domain.read import marked
from vmnet.domain.splice import InterfaceSpec

if TYPE_CHECKING:
    from vmnet.domain.read import Domain
    from vmnet.saved.schema import Journal
    from vmnet.settings.config import Config


def wanted(journal: Journal, model: str) -> InterfaceSpec:
    """Say how the domain's interface shall be: what the guest is told by DHCP, it finds in its hardware too."""
    return InterfaceSpec(
        tap=journal.settings.tap,
        mac=journal.vm_mac,
        mtu=journal.leases.interface_mtu,
        model=model,
        pod_interface=journal.pod.ifname,
    )


def with_wishes(config: Config, domain: Domain) -> Config:
    """Fill in what the flags leave open and the domain says: its pod interface, and how many queues it has."""
    if not config.interface and domain.network:
        config = replace(config, interface=domain.network.interface)
    interface = marked(domain, config.interface or "eth0", config.settings.tap)
    if interface and (interface.queues or 1) > 1:
        config = replace(config, settings=replace(config.settings, multi_queue=True))
    return config
