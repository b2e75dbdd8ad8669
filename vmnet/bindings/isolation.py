"""What keeps guest and pod network apart: PodInterface → the nft ruleset, as text to be loaded in one transaction.

    guest ──▶ chain `guest` (ingress of the tap) ──▶ bridge ──▶ pod network
                                                       └──▶ chain `pod` (bridge input) ──▶ the pod's own sockets
    guest ◀── bridge ◀── chain `network` (ingress of the NIC) ◀── pod network
    our server ──▶ chain `server` (bridge output) ──▶ pod network: only to ask for an IPv6 gateway's MAC

`guest` is a list of what may pass, since whatever is forbidden by name is bypassed by another form of it (double
tags, extension headers, fragments). The server hears DHCP by a packet socket, which is asked before `guest` is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vmnet.bindings import offload_program
from vmnet.bindings.isolation_rules import ACCEPT, DROP, NOTHING_ELSE, Guest, Rule, in_set, rules, solicitation
from vmnet.bindings.names import bridge_name, nic_name, table_name
from vmnet.model.links import FilterChain, OffloadCheck, Ruleset, is_link_local
from vmnet.model.settings import DHCP_EXTERNAL, ISOLATION_DHCP_ONLY, ISOLATION_OFF

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.model.pod import PodInterface
    from vmnet.model.settings import Settings

_SCOPE_LINK = 253
_UNFILTERED_INGRESS = (
    "this kernel has no netdev ingress hook for nftables (CONFIG_NETFILTER_INGRESS): the guest is filtered one "
    "step later, in the bridge"
)
_UNFILTERED_BRIDGE = (
    "this kernel has no bridge family in nftables (CONFIG_NF_TABLES_BRIDGE): the pod's own sockets are kept from "
    "the guest by an inet input chain, which does not see ARP, and nothing is kept from what our server sends"
)
_UNCHECKED = (
    "the eBPF program that stops forged checksum and segmentation offloads was not loaded (it needs CAP_BPF and a "
    "kernel with cls_bpf): such a frame can turn into a DHCP or router message behind the rules"
)


@dataclass(frozen=True, slots=True)
class _Chain:
    family: str
    name: str
    rules: tuple[Rule, ...]
    hook: str = ""
    """Empty for a chain that another one jumps to."""
    device: str = ""
    policy: str = ""

    def seen(self, table: str) -> FilterChain:
        """How it shows once it stands."""
        comments = tuple(rule.comment for rule in self.rules)
        return FilterChain(self.family, table, self.name, self.hook, self.device, self.policy, comments)

    def lines(self) -> Iterator[str]:
        yield f"chain {self.name} {{"
        if self.hook:
            device = f' device "{self.device}"' if self.device else ""
            yield f"  type filter hook {self.hook}{device} priority 0; policy {self.policy};"
        yield from (f"  {rule}" for rule in self.rules)
        yield "}"


def rulesets(pod: PodInterface, settings: Settings) -> tuple[Ruleset, ...]:
    """Say what shall be loaded: the best first, then what a kernel that lacks a hook may still take.

    Empty when the guest is not to be isolated.
    """
    if settings.isolation == ISOLATION_OFF:
        return ()
    guest = _guest(pod, settings)
    table = table_name(pod.ifname)
    of_guest, of_network = rules(guest, settings.isolation)
    ingress = (
        _Chain("netdev", "guest", of_guest, "ingress", guest.tap, _default(settings.isolation)),
        _Chain("netdev", "network", of_network, "ingress", guest.nic, ACCEPT),
    )
    own = (_Chain("bridge", "pod", _sockets(guest), "input", "", DROP), *_server(guest))
    program = offload_program.program()
    checks = tuple(OffloadCheck(ifname, program.name) for ifname in (guest.tap, guest.nic))
    return tuple(
        ruleset
        for chains, warning in (
            ((*ingress, *own), ""),
            ((*ingress, _inet_sockets(guest)), _UNFILTERED_BRIDGE),
            ((*_bridged(guest, settings.isolation), *own, _ports(guest)), _UNFILTERED_INGRESS),
        )
        for ruleset in (
            replace(_ruleset(table, chains, warning), checks=checks, program=program.instructions),
            _ruleset(table, (*chains, _unchecked(chains)), "; ".join(filter(None, (warning, _UNCHECKED)))),
        )
    )


def _unchecked(chains: tuple[_Chain, ...]) -> _Chain:
    """Make a chain that does nothing but tell whoever looks: of the rulesets, the one without checks stands."""
    return _Chain(chains[0].family, "unfinished_frames_unchecked", ())


def _guest(pod: PodInterface, settings: Settings) -> Guest:
    own = [address.local for address in pod.addresses if not (address.ipv6 and address.scope == _SCOPE_LINK)]
    every = _without_overlaps([*own, *settings.allow_addresses])
    gateways = tuple(dict.fromkeys(route.gateway for route in pod.routes if ":" in route.gateway))
    link_local = tuple(gateway for gateway in gateways if is_link_local(gateway))
    return Guest(
        macs=tuple(dict.fromkeys((settings.mac or pod.mac, *settings.allow_macs))),
        ipv4=tuple(prefix for prefix in every if ":" not in prefix),
        ipv6=tuple(prefix for prefix in every if ":" in prefix),
        routers=link_local,
        gateways=tuple(gateway for gateway in gateways if gateway not in link_local),
        told_ipv6=settings.told.ipv6 and any(":" in prefix for prefix in own),
        routes=bool(settings.allow_addresses or settings.allow_macs),
        served_elsewhere=settings.dhcp == DHCP_EXTERNAL,
        tap=settings.tap,
        nic=nic_name(pod.ifname),
        bridge=bridge_name(pod.ifname),
    )


def _without_overlaps(prefixes: list[str]) -> tuple[str, ...]:
    """Join what overlaps: nft refuses a set in which two prefixes do."""
    if not any("/" in prefix for prefix in prefixes):
        return tuple(dict.fromkeys(prefixes))
    import ipaddress  # 4 ms, which only who allows further prefixes pays

    networks = [ipaddress.ip_network(prefix, strict=False) for prefix in prefixes]
    joined = [
        *ipaddress.collapse_addresses(network for network in networks if network.version == 4),
        *ipaddress.collapse_addresses(network for network in networks if network.version == 6),
    ]
    return tuple(str(network) for network in joined)


def _default(isolation: str) -> str:
    return ACCEPT if isolation == ISOLATION_DHCP_ONLY else DROP


def _sockets(guest: Guest) -> tuple[Rule, ...]:
    ports = in_set((f'"{guest.tap}"', f'"{guest.nic}"'))
    return (Rule(f"iifname != {ports} accept", "other bridges are none of our business"), NOTHING_ELSE)


def _server(guest: Guest) -> tuple[_Chain, ...]:
    """Of what our server could send through the bridge, let out only what finds a gateway's MAC, as the VM would.

    Nobody else sends from this bridge: it has no address.
    """
    if not (guest.told_ipv6 and guest.gateways):
        return ()
    ports = in_set((f'"{guest.tap}"', f'"{guest.nic}"'))
    asking = f'oifname "{guest.nic}" ether saddr {guest.macs[0]} ip6 saddr {in_set(guest.ipv6)} ip6 hoplimit 255'
    rules = (
        Rule(f"oifname != {ports} accept", "other bridges are none of our business"),
        *(Rule(f"{asking} {solicitation(gateway)} accept", "a gateway's MAC") for gateway in guest.gateways),
        NOTHING_ELSE,
    )
    return (_Chain("bridge", "server", rules, "output", "", DROP),)


def _inet_sockets(guest: Guest) -> _Chain:
    rule = Rule(f'iifname "{guest.bridge}" drop', "the pod's own sockets are not the guest's")
    return _Chain("inet", "pod", (rule,), "input", "", ACCEPT)


def _ports(guest: Guest) -> _Chain:
    """Stop what the bridge hands up on the port itself, which its own hooks do not see (br_handle_frame)."""
    ports = in_set((f'"{guest.tap}"', f'"{guest.nic}"'))
    rule = Rule(f"iifname {ports} drop", "the ports take nothing for themselves")
    return _Chain("inet", "ports", (rule,), "input", "", ACCEPT)


def _bridged(guest: Guest, isolation: str) -> tuple[_Chain, ...]:
    """Make the same rules for a kernel that has no hook at a link's ingress."""
    of_guest, of_network = rules(guest, isolation)
    ports = (
        Rule(f'iifname "{guest.tap}" jump guest', "what the guest sends"),
        Rule(f'iifname "{guest.nic}" jump network', "what the pod network sends"),
    )
    return (
        _Chain("bridge", "guest", of_guest),
        _Chain("bridge", "network", of_network),
        _Chain("bridge", "ports", ports, "prerouting", "", ACCEPT),
    )


def _ruleset(table: str, chains: tuple[_Chain, ...], warning: str = "") -> Ruleset:
    lines = []
    for family in dict.fromkeys(chain.family for chain in chains):
        lines.append(f"table {family} {table} {{")
        lines += [f"  {line}" for chain in chains if chain.family == family for line in chain.lines()]
        lines.append("}")
    return Ruleset("\n".join([*lines, ""]), tuple(chain.seen(table) for chain in chains), warning)
