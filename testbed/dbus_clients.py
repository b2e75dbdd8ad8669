"""The DHCP clients of desktops and of embedded devices: daemons that want a D-Bus, and get one of their own.

Neither is installed (`testbed.unpacked`), so that neither can ever see to the machine's own links.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from testbed.jail import THEN
from testbed.jailed import Client, Told, hostname
from testbed.unpacked import programs

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.jailed import Jail
    from testbed.netns import Background

BUS = """\
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus.socket</listen>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
  </policy>
</busconfig>
"""
NETWORKMANAGER_CONF = """\
[main]
plugins=keyfile
dhcp=internal
rc-manager=file
no-auto-default=*
[keyfile]
path=/run/profiles
"""
PROFILE = """\
[connection]
id=guest
uuid=6e9b2c62-6a5e-4b55-8d55-3f9d2a3c7d11
type=ethernet
interface-name={ifname}
[ipv4]
method=auto
[ipv6]
method={ipv6}
"""
CONNMAN_CONF = """\
[General]
AllowHostnameUpdates=true
EnableOnlineCheck=false
"""
NO_ADVERTISEMENTS = """\
table ip6 deaf {
    chain in {
        type filter hook input priority 0;
        icmpv6 type nd-router-advert drop
    }
}
"""
"""For ConnMan, which writes three name servers at most: advertisements that come first leave DHCP's no room."""


def _with_bus(jail: Jail, *argv: str) -> list[str | Path]:
    """A bus in the background and, until it ends, a program of ours on it."""
    jail.write("run/bus.conf", BUS)
    shutil.copytree(programs(), jail.directory / "run" / "programs", dirs_exist_ok=True)
    bus = ["dbus-daemon", "--config-file=/run/bus.conf", "--fork", "--nopidfile"]
    environment = ["env", "LD_LIBRARY_PATH=/run/programs", "DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/dbus.socket"]
    return [*bus, THEN, *environment, *argv]


def networkmanager(jail: Jail, ipv6: str = "disabled") -> list[str | Path]:
    """NetworkManager with its own DHCP client and one profile; `--debug` keeps it in the foreground."""
    profile = PROFILE.format(ifname=jail.guest.ifname, ipv6=ipv6)
    jail.write("run/NetworkManager.conf", NETWORKMANAGER_CONF)
    jail.write("etc/hostname", "localhost\n")  # a name of its own would be kept
    jail.write("run/profiles/guest.nmconnection", profile, 0o600)
    configuration = ("--config=/run/NetworkManager.conf", "--config-dir=/run/none")
    log = ("--log-level=INFO", "--log-domains=DEFAULT,DHCP4:DEBUG,DHCP6:DEBUG")
    return _with_bus(jail, "/run/programs/NetworkManager", "--debug", *configuration, *log)


def told_networkmanager(jail: Jail, running: Background) -> Told:
    """It says in its log what it was told."""
    [*_, seconds] = re.findall(r"option dhcp_lease_time\s*=> '(\d+)'", running.text)
    return replace(jail.resolver(), hostname=hostname(running), lease_time=int(seconds))


def connman(jail: Jail) -> list[str | Path]:
    """ConnMan without its DNS proxy, so that resolv.conf names the servers themselves."""
    jail.write("run/connman.conf", CONNMAN_CONF)
    jail.guest.netns.run("nft", "-f", "-", stdin=NO_ADVERTISEMENTS)
    arguments = ("--nodaemon", "--nodnsproxy", f"--device={jail.guest.ifname}", "--config=/run/connman.conf")
    return _with_bus(jail, "/run/programs/connmand", *arguments)


def told_connman(jail: Jail, running: Background) -> Told:
    """It keeps the lease time to itself."""
    return replace(jail.resolver(), hostname=hostname(running))


NETWORKMANAGER = Client(
    *("NetworkManager", "dbus-daemon", "dbus-daemon", networkmanager, "startup complete", told_networkmanager),
    main="NetworkManager",
)
CONNMAN = Client(
    *(
        "ConnMan",
        "dbus-daemon",
        "dbus-daemon",
        connman,
        r"\{add\} route 0\.0\.0\.0 |remains in ready state",
        told_connman,
    ),
    main="connmand",
)
