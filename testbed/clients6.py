"""Real clients of router advertisements and DHCPv6, jailed as those of IPv4 are, each giving the same facts.

networkd, dhcpcd and NetworkManager see to both families and to router advertisements themselves; dhclient leaves
those to the kernel; and the kernel alone has no DHCPv6, so that its address is given to it by hand.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.clients import NETWORKD, dhcpcd
from testbed.dbus_clients import networkmanager
from testbed.facts import GuestFacts, read_facts
from testbed.facts6 import Facts6, read_facts6
from testbed.jailed import Jail, Told, assignments
from testbed.netns import background
from testbed.patience import PATIENCE
from testbed.tap_guest import tap_guest
from testbed.watch import wait_for_default_route, wait_for_sure_addresses, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from testbed.netns import Netns
    from testbed.pods import Pod
    from testbed.tap_guest import TapGuest

NETWORK = """\
[Match]
Name={ifname}
[Network]
DHCP=yes
IPv6AcceptRA=yes
LinkLocalAddressing=ipv6
[DHCPv4]
UseMTU=yes
UseDomains=yes
[DHCPv6]
UseDomains=yes
[IPv6AcceptRA]
UseDomains=yes
"""
LEASED = "leased"
"""What the clients that run a script of ours say there."""


@dataclass(frozen=True, slots=True)
class Client6:
    """A client of IPv6, and how to see what it was told."""

    name: str
    command: Callable[[Jail], list[str | Path]] | None
    """As a `Client`'s; None for the kernel alone."""
    bound: str = ""
    """What its log says once DHCPv6 has given it all."""
    accept_ra: int = 0
    """Whether the kernel shall see to router advertisements, 1 or 2: 2 does so in a router, too."""
    bound4: str = ""
    """What its log says of IPv4; empty for who does not speak it."""
    told: Callable[[Jail], Told] = Jail.resolver


def networkd(jail: Jail) -> list[str | Path]:
    """systemd-networkd without systemd."""
    jail.write("run/systemd/network/10-guest.network", NETWORK.format(ifname=jail.guest.ifname))
    return ["env", "SYSTEMD_LOG_LEVEL=debug", "SYSTEMD_LOG_TARGET=console", NETWORKD]


def told_networkd(jail: Jail) -> Told:
    """It resolves nothing itself: what others do it from is said for each link, several times over."""
    [link] = jail.guest.netns.ip("link", "show", "dev", jail.guest.ifname)
    told = assignments(jail.read(f"run/systemd/netif/links/{link['ifindex']}"))
    return Told(tuple(dict.fromkeys(told["DNS"].split())), tuple(dict.fromkeys(told["DOMAINS"].split())))


def dhclient(jail: Jail) -> list[str | Path]:
    """ISC's client, which wants a sure link-local address to begin with (ifupdown waits for it as we do)."""
    jail.write("etc/dhcp/dhclient-exit-hooks.d/said", f'echo "{LEASED}: $reason"\n')
    namespace, ifname = jail.guest.netns, jail.guest.ifname
    wait_until(
        namespace,
        lambda: bool(namespace.ip("-6", "address", "show", "dev", ifname, "scope", "link")),
        "a link-local address",
        PATIENCE,
    )
    wait_for_sure_addresses(namespace)
    return ["dhclient", "-6", "-d", "-v", ifname]


def dhcpcd_of_both(jail: Jail) -> list[str | Path]:
    """Roy Marples' client, of both families."""
    return [word for word in dhcpcd(jail) if word != "-4"]


CLIENTS6 = {
    client.name: client
    for client in (
        Client6(
            *("networkd", networkd, r"DHCPv6 addresses and routes set\.$"),
            bound4=r"DHCPv4 address and routes set\.$",
            told=told_networkd,
        ),
        Client6("dhclient", dhclient, f"^{LEASED}: (BOUND|REBOOT)6$", accept_ra=1),
        Client6("dhcpcd", dhcpcd_of_both, "^hooks done: BOUND6$", bound4="^hooks done: BOUND$"),
        Client6(
            *("NetworkManager", lambda jail: networkmanager(jail, "auto"), "completed DAD: accept the lease"),
            bound4="dhcp4 .*: accept lease",
        ),
        Client6("kernel", None, accept_ra=2),
    )
}


@dataclass(frozen=True, slots=True)
class Living6:
    """A guest whose IPv6 is configured, and the client that sees to it."""

    client: Client6
    guest: TapGuest
    pod: Pod
    jail: Jail

    @property
    def netns(self) -> Netns:
        """The guest's namespace."""
        return self.guest.netns

    def facts6(self) -> Facts6:
        """What the guest has of IPv6 now."""
        told = self.client.told(self.jail)
        facts = read_facts6(self.netns, self.guest.ifname, self.pod.peer6)
        return replace(facts, nameservers=_of_family(told, ipv6=True), search=told.search)

    def facts(self) -> GuestFacts:
        """What it has of IPv4, but for the host's name and the time."""
        told = self.client.told(self.jail)
        facts = read_facts(self.netns, self.guest.ifname)
        return replace(facts, nameservers=_of_family(told, ipv6=False), search=told.search)


def _of_family(told: Told, *, ipv6: bool) -> tuple[str, ...]:
    return tuple(address for address in told.nameservers if (":" in address) is ipv6)


@contextmanager
def living6(client: str, pod: Pod, directory: Path) -> Iterator[Living6]:
    """Plug a guest into the pod's tap and let a client configure it; it is configured when the block begins."""
    with (
        tap_guest(pod.netns, pod.mac, directory, accept_ra=CLIENTS6[client].accept_ra) as guest,
        configured6(client, guest, pod) as configured,
    ):
        yield configured


@contextmanager
def configured6(client: str, guest: TapGuest, pod: Pod) -> Iterator[Living6]:
    """Let a client configure the guest; none of its addresses was found to be somebody else's (RFC 4862 §5.4)."""
    kind = CLIENTS6[client]
    jail = Jail(guest, Path(tempfile.mkdtemp(prefix=f"{client}-", dir=guest.directory)))
    if kind.command is None:
        guest.netns.ip_batch(f"address add {pod.address6}/128 dev {guest.ifname}")
        _settle(guest, pod, "")
        yield Living6(kind, guest, pod, jail)
        return
    ipv4 = kind.bound4 if pod.nameservers else ""
    with background(jail.command(*kind.command(jail)), jail.log) as running:
        for said in filter(None, (kind.bound, ipv4)):
            running.wait_for(said, PATIENCE)
        _settle(guest, pod, ipv4)
        yield Living6(kind, guest, pod, jail)


def _settle(guest: TapGuest, pod: Pod, ipv4: str) -> None:
    """Wait until the kernel has what the client was told."""
    namespace = guest.netns

    def there() -> bool:
        return bool(namespace.ip("-6", "address", "show", "to", pod.address6))

    wait_until(namespace, there, f"the address {pod.address6}", PATIENCE)
    wait_for_default_route(namespace, PATIENCE, "-6")
    if ipv4:
        wait_for_default_route(namespace, PATIENCE)
    wait_for_sure_addresses(namespace)
