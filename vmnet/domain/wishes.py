"""What a domain wants of vmnet: domain → wishes, one for each pod interface it takes over.

A domain is ours when one of these is so, in this order:

1. Its metadata holds `<vmnet:network xmlns:vmnet="urn:vmnet:domain:1" …/>`: one, libvirt drops a second.
2. An interface on an existing tap (`type='ethernet'`, `managed='no'`) bears the alias `ua-vmnet-IFNAME`, as
   `vmnet domain` writes it: so many interfaces, so many wishes.
3. Neither, but it asks for an existing tap of the name that vmnet gives: `<target dev='tap0' managed='no'/>`.

All other domains are left alone, and so are those of 3. in the host's own network namespace.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vmnet.domain.read import ALIAS, marked, pod_interface_of
from vmnet.errors import UsageError
from vmnet.model.settings import Settings, Told
from vmnet.settings import config as checks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.domain.read import Domain, Interface, Network

ATTRIBUTES = (
    *("netns", "interface", "binding", "tap", "mac", "hostname", "resolv-conf", "state-dir", "owner"),
    *("isolation", "allow-address", "allow-mac", "ipv6", "dns", "dns-search"),
)
"""Of `<vmnet:network>`: each what the flag of that name is to `vmnet up`; `mac` and `tap` also tell which
`<interface>` is meant."""
BINDINGS = ("", "bridge")
_DEFAULT_TAP = Settings().tap


@dataclass(frozen=True, slots=True)
class Wish:
    """One binding that a domain needs. Empty where it does not say."""

    settings: Settings
    """`owner` is None unless the domain names one."""
    interface: str = ""
    netns: str = ""
    state_dir: str = ""
    resolv_conf: str = ""
    opened_by_libvirt: bool = True
    """Whether an `<interface>` of the domain asks for the tap; else QEMU's own arguments have to."""
    implicit: bool = False
    """Whether nothing but the tap's name says that it is ours."""


def wishes(domain: Domain) -> tuple[Wish, ...]:
    """Return what the domain wants, those in the current network namespace first; none when it is not ours.

    Raises:
        UsageError: it asks for what there is not, in one line.
    """
    taken: list[Interface] = []
    found = [_of_metadata(domain, network, taken) for network in domain.networks]
    for interface in domain.interfaces:
        if interface.alias.startswith(ALIAS) and _unmanaged(interface) and interface not in taken:
            taken.append(interface)
            name = checks.link_name(pod_interface_of(interface.alias), "interface")
            found.append(Wish(_settings(interface), interface=name))
    if not found:
        found += _of_default_tap(domain)
    _refuse_shared_taps(found)
    return tuple(sorted(found, key=lambda wish: bool(wish.netns)))


def _of_default_tap(domain: Domain) -> Iterator[Wish]:
    for interface in domain.interfaces:
        if _unmanaged(interface) and interface.tap == _DEFAULT_TAP:
            yield Wish(_settings(interface), implicit=True)


def _refuse_shared_taps(found: list[Wish]) -> None:
    taps = [wish.settings.tap for wish in found]
    for tap in taps:
        if taps.count(tap) > 1:
            raise UsageError(f"two interfaces ask for {tap}; give each a tap of its own")


def _unmanaged(interface: Interface) -> bool:
    return interface.type == "ethernet" and not interface.managed and bool(interface.tap)


def _of_metadata(domain: Domain, network: Network, taken: list[Interface]) -> Wish:
    said = _checked(network)
    interface = _meant(domain, network, taken)
    settings = _settings(interface) if interface else Settings(tap=network.tap or _DEFAULT_TAP, mac=network.mac)
    uid, gid = checks.owner_ids(said["owner"]) if "owner" in said else (None, None)
    hostname = checks.host_name(said["hostname"]) if "hostname" in said else ""
    return Wish(
        replace(settings, owner=uid, group=gid, hostname=hostname, told=_told(said), **_isolation(said)),
        interface=network.interface,
        netns=network.netns,
        state_dir=said.get("state-dir", ""),
        resolv_conf=said.get("resolv-conf", ""),
        opened_by_libvirt=interface is not None,
    )


def _told(said: dict[str, str]) -> Told:
    return Told(
        ipv6=checks.switch(said.get("ipv6", "on"), "ipv6"),
        nameservers=checks.name_servers(said["dns"]) if "dns" in said else None,
        domain_search=checks.search_domains(said["dns-search"]) if "dns-search" in said else None,
    )


def _isolation(said: dict[str, str]) -> dict[str, Any]:
    """Return the fields of `Settings` that say how the guest is isolated, as far as the domain speaks of it."""
    fields: dict[str, Any] = {}
    if "isolation" in said:
        fields["isolation"] = checks.isolation(said["isolation"])
    if "allow-address" in said:
        fields["allow_addresses"] = checks.listed(said["allow-address"], checks.prefix)
    if "allow-mac" in said:
        fields["allow_macs"] = checks.listed(said["allow-mac"], checks.mac_address)
    return fields


def _checked(network: Network) -> dict[str, str]:
    """Return the attributes that are not empty, each known and of its form."""
    said = {name: value for name, value in network.attributes if value}
    odd = [name for name in said if name not in ATTRIBUTES]
    if odd:
        raise UsageError(f"<vmnet:network> has no attribute {odd[0]!r}; it takes {', '.join(ATTRIBUTES)}")
    if network.binding not in BINDINGS:
        raise UsageError(f"<vmnet:network binding={network.binding!r}>: unknown binding; the only one is bridge")
    for name in ("interface", "tap"):
        if name in said:
            checks.link_name(said[name], name)
    if "mac" in said:
        checks.mac_address(said["mac"])
    if "state-dir" in said:
        checks.state_directory(said["state-dir"])
    return said


def _meant(domain: Domain, network: Network, taken: list[Interface]) -> Interface | None:
    """Find the domain's interface that is meant: the marked one, else the only one on an existing tap."""
    found = marked(domain, network.interface or "eth0", network.tap)
    if found is None and not network.tap and not network.mac:
        candidates = [interface for interface in domain.interfaces if _unmanaged(interface)]
        found = candidates[0] if len(candidates) == 1 else None
    if found is None:
        return None
    if not _unmanaged(found):
        raise UsageError(
            f"the interface of {found.tap or found.mac or 'the domain'} is made by libvirt itself; "
            "it must be <interface type='ethernet'> with <target dev=… managed='no'/>, as `vmnet domain` writes it"
        )
    taken.append(found)
    return found


def _settings(interface: Interface) -> Settings:
    """Take from the interface what vmnet and QEMU must agree on."""
    return Settings(
        tap=checks.link_name(interface.tap, "tap"),
        mac=checks.mac_address(interface.mac) if interface.mac else "",
        mtu=checks.mtu_bytes(str(interface.mtu)) if interface.mtu is not None else None,
        multi_queue=(interface.queues or 1) > 1,
    )
