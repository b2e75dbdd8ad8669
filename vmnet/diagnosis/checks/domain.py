"""5xx: the domain that was named with --domain. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmnet.diagnosis.evidence import ERROR, WARNING, Finding
from vmnet.domain.read import marked
from vmnet.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.diagnosis.evidence import Evidence
    from vmnet.domain.read import Interface

_USUAL_MTU = 1500
"""What an Ethernet driver assumes that nobody told anything."""
_MTU_MODELS = ("virtio", "virtio-transitional", "virtio-non-transitional", "")
"""The models that are told the MTU by hardware (virtio 1.2 §5.1.3, VIRTIO_NET_F_MTU); without one libvirt has its
own, which of QEMU's machines without virtio is rtl8139: it says so in the XML that it keeps."""


def interface(evidence: Evidence) -> Iterator[Finding]:
    """It has an interface for the tap, with the MAC that the server answers."""
    journal, domain = evidence.journal, evidence.domain
    if journal is None or domain is None:
        return
    tap, remedy = journal.settings.tap, "let `vmnet domain` write the interface into the XML"
    try:
        found = marked(domain, journal.pod.ifname, tap)
    except UsageError as error:
        yield Finding(ERROR, str(error).removeprefix("domain XML: "), (f"domain {domain.name}",), remedy)
        return
    if found is None:
        others = tuple(f"an interface of type {one.type}, MAC {one.mac or 'none'}" for one in domain.interfaces)
        yield Finding(ERROR, f"the domain has no interface for {tap}", others or ("it has no interface",), remedy)
        return
    mac = journal.vm_mac
    wrong = [
        *([f"target dev is {found.tap or 'not said'}, not {tap}"] if found.tap != tap else ()),
        *(["target managed is not 'no': libvirt makes a tap of its own"] if found.managed else ()),
        *([f"mac address is {found.mac or 'not said'}, not {mac}"] if found.mac != mac else ()),
    ]
    if wrong:
        what = "the domain's interface is not the one that vmnet serves: the VM does not start, or gets no answer"
        yield Finding(ERROR, what, tuple(wrong), remedy)


def model(evidence: Evidence) -> Iterator[Finding]:
    """Its NIC tells the guest the MTU."""
    journal, found = evidence.journal, _found(evidence)
    told = journal.leases.interface_mtu if journal else None
    if found is None or told is None or told == _USUAL_MTU or found.model in _MTU_MODELS:
        return
    yield Finding(
        WARNING,
        f"a NIC of model {found.model} cannot set the guest's MTU of {told}: only DHCP option 26 does, which "
        "some clients, such as Windows, do not request",
        (f"model type is {found.model}", f"the guest's MTU should be {told}"),
        f"use the model virtio, or set the MTU in the guest by hand to {told}",
    )


def queues(evidence: Evidence) -> Iterator[Finding]:
    """It opens the tap as often as the tap takes."""
    journal, found = evidence.journal, _found(evidence)
    if journal is None or found is None:
        return
    several = (found.queues or 1) > 1
    if several != journal.settings.multi_queue:
        yield Finding(
            ERROR,
            "QEMU cannot open the tap: it was created for another number of queues",
            (
                f"the domain's interface has {found.queues or 1} queue{'s' if several else ''}",
                f"{journal.settings.tap} was created for {'several' if journal.settings.multi_queue else 'one'}",
            ),
            f"`vmnet down`, then `vmnet up --queues {found.queues or 1}` with the other options as before; or "
            "change <driver queues=…>",
        )


def _found(evidence: Evidence) -> Interface | None:
    if evidence.journal is None or evidence.domain is None:
        return None
    try:
        return marked(evidence.domain, evidence.journal.pod.ifname, evidence.journal.settings.tap)
    except UsageError:
        return None
