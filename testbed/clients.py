"""Real DHCP clients, each in a jail of its own, each giving the same facts.

A client runs in the guest's network namespace and behind the walls of `jail.py`. What it told the kernel is read
from the kernel; the resolver, the host name and the lease time are read from the client's own files.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.facts import GuestFacts, read_facts
from testbed.netns import Background, TestbedError, background, wait_for_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from testbed.tap_guest import TapGuest

JAIL = Path(__file__).with_name("jail.py")
UDHCPC_SCRIPT = Path(__file__).with_name("udhcpc.script")
NETWORKD = Path("/lib/systemd/systemd-networkd")
PATIENCE = 20
"""Seconds a client may take; each takes 0.1 to 3."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a client wrote down beside the kernel's facts."""

    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    hostname: str = ""
    lease_time: int | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a client: the guest it serves, and the directory behind its walls."""

    guest: TapGuest
    directory: Path

    def command(self, *argv: str | Path) -> list[str | Path]:
        """The argument list that runs a program in the jail."""
        return [sys.executable, "-I", "-S", JAIL, self.guest.netns.path, self.directory, *argv]

    @property
    def log(self) -> Path:
        """Where all its output goes."""
        return self.directory / "log"

    def to_the_end(self, *argv: str | Path) -> str:
        """Run a one-shot client; any exit code but 0 is an error. Gives what it printed."""
        with background(self.command(*argv), self.log) as client:
            return _ended_well(client)

    def resolver(self) -> Told:
        """Read the resolv.conf it left behind."""
        return read_resolv_conf(self.directory / "etc" / "resolv.conf")


def _ended_well(client: Background) -> str:
    code = client.wait(PATIENCE)
    if code != 0:
        raise TestbedError(f"{client}: exit code {code}; it said:\n{client.text}")
    return client.text


def read_resolv_conf(path: Path) -> Told:
    """Read the resolver's configuration; a client that wrote none told nothing."""
    return read_resolv_lines(path.read_text(encoding="utf-8").splitlines() if path.exists() else [])


def read_resolv_lines(lines: Sequence[str]) -> Told:
    """Find name servers and search list as glibc does: the last `search` or `domain` counts."""
    words = [line.split() for line in lines if line.strip()]
    search = [line[1:] for line in words if line[0] in ("search", "domain")]
    return Told(
        nameservers=tuple(line[1] for line in words if line[0] == "nameserver"),
        search=tuple(name.rstrip(".") for name in search[-1]) if search else (),
    )


def assignments(text: str) -> dict[str, str]:
    """Read NAME=VALUE lines."""
    found = re.findall(r"^(\w+)=['\"]?(.*?)['\"]?$", text, re.MULTILINE)
    return {name: value for name, value in found if value}


def udhcpc(run: Run) -> Told:
    """Busybox: one binary, one script, exits once it has a lease."""
    (run.directory / "run").mkdir()
    shutil.copy(UDHCPC_SCRIPT, run.directory / "run" / "script")
    wanted = [word for name in ("staticroutes", "search", "mtu", "hostname") for word in ("-O", name)]
    run.to_the_end("udhcpc", "-i", run.guest.ifname, "-f", "-q", "-n", "-s", "/run/script", *wanted)
    told = assignments((run.directory / "run" / "udhcpc.lease").read_text(encoding="utf-8"))
    return _with(run.resolver(), told, "hostname", "lease_time")


def dhclient(run: Run) -> Told:
    """ISC's client with Debian's stock configuration and script; its daemon ends with the jail."""
    run.to_the_end("dhclient", "-1", "-v", run.guest.ifname)
    lease = (run.directory / "var" / "lib" / "dhcp" / "dhclient.leases").read_text(encoding="utf-8")
    told = {
        name.replace("-", "_"): value.strip('"')
        for name, value in re.findall(r"^\s*option (\S+) (.*);$", lease, re.MULTILINE)
    }
    return _with(run.resolver(), told, "host_name", "dhcp_lease_time")


def dhcpcd(run: Run) -> Told:
    """Roy Marples' client with Debian's stock configuration; `-A` skips the ARP probe that takes seconds."""
    run.to_the_end("dhcpcd", "-4", "-1", "-A", run.guest.ifname)
    [lease] = (run.directory / "var" / "lib" / "dhcpcd").glob("*.lease")
    options = dhcp_options(lease.read_bytes())
    told = {
        "host_name": options.get(12, b"").decode("ascii"),
        "lease_time": str(int.from_bytes(options[51], "big")),
    }
    return _with(run.resolver(), told, "host_name", "lease_time")


def dhcp_options(message: bytes) -> dict[int, bytes]:
    """Read the options of a DHCP message (RFC 2132 §2); dhcpcd keeps the ACK as it came."""
    options: dict[int, bytes] = {}
    rest = message[240:]
    while rest and rest[0] != 255:
        if rest[0] == 0:
            rest = rest[1:]
            continue
        code, length = rest[0], rest[1]
        options[code] = options.get(code, b"") + rest[2 : 2 + length]
        rest = rest[2 + length :]
    return options


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


def networkd(run: Run) -> Told:
    """systemd-networkd without systemd: it resolves nothing itself, the lease file holds what it was told."""
    network = run.directory / "run" / "systemd" / "network" / "10-guest.network"
    network.parent.mkdir(parents=True)
    network.write_text(NETWORK.format(ifname=run.guest.ifname), encoding="ascii")
    environment = ("env", "SYSTEMD_LOG_LEVEL=debug", "SYSTEMD_LOG_TARGET=console")
    with background(run.command(*environment, NETWORKD), run.log) as client:
        client.wait_for(rf"{run.guest.ifname}: State changed: configuring -> configured", PATIENCE)
        [link] = run.guest.netns.ip("link", "show", "dev", run.guest.ifname)
        lease = run.directory / "run" / "systemd" / "netif" / "leases" / str(link["ifindex"])
        wait_for_file(lease, PATIENCE)
        told = assignments(lease.read_text(encoding="utf-8"))
    resolver = Told(
        nameservers=tuple(told.get("DNS", "").split()),
        search=tuple((told.get("DOMAIN_SEARCH_LIST") or told.get("DOMAINNAME", "")).split()),
    )
    return _with(resolver, told, "HOSTNAME", "LIFETIME")


def _with(resolver: Told, told: Mapping[str, str], hostname: str, lease_time: str) -> Told:
    """Add host name and lease time, which each client calls differently."""
    seconds = told.get(lease_time, "")
    return replace(
        resolver, hostname=told.get(hostname, ""), lease_time=int(seconds) if seconds.isdecimal() else None
    )


@dataclass(frozen=True, slots=True)
class Client:
    """A DHCP client, and the Debian package that brings it."""

    name: str
    program: str
    package: str
    run: Callable[[Run], Told]


CLIENTS = {
    client.name: client
    for client in (
        Client("udhcpc", "udhcpc", "udhcpc", udhcpc),
        Client("dhclient", "dhclient", "isc-dhcp-client", dhclient),
        Client("dhcpcd", "dhcpcd", "dhcpcd-base", dhcpcd),
        Client("networkd", str(NETWORKD), "systemd", networkd),
    )
}


def lease(client: str, guest: TapGuest) -> GuestFacts:
    """Let a client lease and configure the guest; give what the guest has then."""
    directory = Path(tempfile.mkdtemp(prefix=f"{client}-", dir=guest.directory))
    told = CLIENTS[client].run(Run(guest, directory))
    return replace(
        read_facts(guest.netns, guest.ifname),
        nameservers=told.nameservers,
        search=told.search,
        hostname=told.hostname,
        lease_time=told.lease_time,
    )
