"""Real DHCP clients, each in a jail of its own, each giving the same facts.

A client runs in the guest's network namespace and behind the walls of `jail.py`, as the daemon that it is in a
real guest. What it told the kernel is read from the kernel; the resolver, the host name and the lease time are
read from the jail and from the client's own files.
"""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from signal import SIGALRM
from typing import TYPE_CHECKING

from testbed.dbus_clients import CONNMAN, NETWORKMANAGER
from testbed.eavesdrop import dhcp_options
from testbed.facts import GuestFacts, read_facts
from testbed.jailed import Client, Jail, Told, assignments, hostname, inside, with_lease
from testbed.netns import Background, background, wait_for_file
from testbed.patience import PATIENCE
from testbed.tap_guest import IFNAME
from testbed.watch import wait_for_default_route

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.tap_guest import TapGuest

UDHCPC_SCRIPT = Path(__file__).with_name("udhcpc.script")
NETWORKD = Path("/lib/systemd/systemd-networkd")


def udhcpc(jail: Jail) -> list[str | Path]:
    """Busybox: one binary, one script; `-R` gives the lease back at the end."""
    jail.write("run/script", UDHCPC_SCRIPT.read_text(encoding="ascii"), 0o755)
    wanted = [word for name in ("staticroutes", "search", "mtu", "hostname") for word in ("-O", name)]
    return ["udhcpc", "-i", jail.guest.ifname, "-f", "-R", "-n", "-s", "/run/script", *wanted]


def told_udhcpc(jail: Jail, _running: Background) -> Told:
    """Our script writes down what it was told, and names no host."""
    return with_lease(jail.resolver(), assignments(jail.read("run/udhcpc.lease")), "hostname", "lease_time")


def dhclient(jail: Jail) -> list[str | Path]:
    """ISC's client with Debian's stock configuration and script, but for a shorter wait before it asks again.

    Its own of ten seconds and more is longer than the leases of our tests.
    """
    stock = Path("/etc/dhcp/dhclient.conf").read_text(encoding="utf-8")
    jail.write("etc/dhcp/dhclient.conf", f"{stock}\ninitial-interval 1;\nbackoff-cutoff 2;\n")
    return ["dhclient", "-d", "-v", jail.guest.ifname]


def told_dhclient(jail: Jail, running: Background) -> Told:
    """The last lease in its file is the one it has."""
    leases = jail.read("var/lib/dhcp/dhclient.leases")
    [*_, seconds] = re.findall(r"^\s*option dhcp-lease-time (\d+);$", leases, re.MULTILINE)
    return replace(jail.resolver(), hostname=hostname(running), lease_time=int(seconds))


def dhcpcd(jail: Jail) -> list[str | Path]:
    """Roy Marples' client with Debian's stock configuration; `-A` skips the ARP probe that takes seconds.

    Its hooks write resolv.conf and name the host; the last of them is ours.
    """
    jail.write("etc/dhcpcd.exit-hook", 'echo "hooks done: $reason"\n')
    return ["dhcpcd", "-4", "-B", "-A", jail.guest.ifname]


def told_dhcpcd(jail: Jail, running: Background) -> Told:
    """It keeps the ACK as it came."""
    [lease] = (jail.directory / "var" / "lib" / "dhcpcd").glob("*.lease")
    seconds = int.from_bytes(dhcp_options(lease.read_bytes())[51])
    return replace(jail.resolver(), hostname=hostname(running), lease_time=seconds)


NETWORK = """\
[Match]
Name={ifname}
[Network]
DHCP=ipv4
IPv6AcceptRA=no
LinkLocalAddressing=no
[DHCPv4]
UseMTU=yes
UseDomains=yes
"""


def networkd(jail: Jail) -> list[str | Path]:
    """systemd-networkd without systemd."""
    jail.write("run/systemd/network/10-guest.network", NETWORK.format(ifname=jail.guest.ifname))
    return ["env", "SYSTEMD_LOG_LEVEL=debug", "SYSTEMD_LOG_TARGET=console", NETWORKD]


def told_networkd(jail: Jail, _running: Background) -> Told:
    """It resolves nothing and names no host itself, the lease file holds what others do it from."""
    [link] = jail.guest.netns.ip("link", "show", "dev", jail.guest.ifname)
    lease = jail.directory / "run" / "systemd" / "netif" / "leases" / str(link["ifindex"])
    wait_for_file(lease, PATIENCE)
    told = assignments(lease.read_text(encoding="utf-8"))
    resolver = Told(
        nameservers=tuple(told.get("DNS", "").split()),
        search=tuple((told.get("DOMAIN_SEARCH_LIST") or told.get("DOMAINNAME", "")).split()),
    )
    return with_lease(resolver, told, "HOSTNAME", "LIFETIME")


CLIENTS = {
    client.name: client
    for client in (
        Client("udhcpc", "udhcpc", "udhcpc", udhcpc, "^configured ", told_udhcpc),
        Client(
            *("dhclient", "dhclient", "isc-dhcp-client", dhclient, "^bound to ", told_dhclient),
            release=("dhclient", "-r", "--no-pid", IFNAME),
        ),
        Client(
            "dhcpcd", "dhcpcd", "dhcpcd-base", dhcpcd, "^hooks done: (BOUND|REBOOT)$", told_dhcpcd, ending=SIGALRM
        ),
        Client("networkd", str(NETWORKD), "systemd", networkd, "configuring -> configured$", told_networkd),
        NETWORKMANAGER,
        CONNMAN,
    )
}


@dataclass(frozen=True, slots=True)
class Living:
    """A client that has a lease and sees to it."""

    client: Client
    jail: Jail
    running: Background

    def facts(self) -> GuestFacts:
        """What the guest has now."""
        told = self.client.told(self.jail, self.running)
        return replace(
            read_facts(self.jail.guest.netns, self.jail.guest.ifname),
            nameservers=told.nameservers,
            search=told.search,
            hostname=told.hostname,
            lease_time=told.lease_time,
        )

    def release(self) -> None:
        """Let it give its lease back and end.

        It sends a single frame and takes its address away, so whoever is asked for the way must be known already.
        """
        os.kill(inside(self.jail, self.client.main or Path(self.client.program).name), self.client.ending)
        self.running.wait()
        if self.client.release:
            self.jail.to_the_end(*self.client.release)


@contextmanager
def living(client: str, guest: TapGuest, directory: Path | None = None) -> Iterator[Living]:
    """Jail a client until the block ends; it has configured the guest when the block begins.

    A directory that it was run in before is a disk on which it finds what it wrote.
    """
    kind = CLIENTS[client]
    jail = Jail(guest, directory or Path(tempfile.mkdtemp(prefix=f"{client}-", dir=guest.directory)))
    with background(jail.command(*kind.command(jail)), jail.log) as running:
        running.wait_for(kind.bound, PATIENCE)
        wait_for_default_route(guest.netns, PATIENCE)
        yield Living(kind, jail, running)


def lease(client: str, guest: TapGuest) -> GuestFacts:
    """Let a client lease and configure the guest; give what the guest has then."""
    with living(client, guest) as leased:
        return leased.facts()
