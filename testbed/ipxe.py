"""iPXE, the firmware of QEMU's NICs: a DHCP client that shares no code with any other.

It runs in the pod as QEMU's guest does, is told by its console what to do, and prints what it was told.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from typing import TYPE_CHECKING

from testbed.dns_names import domain_names
from testbed.facts import DEFAULT, GuestFacts, RouteFact
from testbed.netns import Background, background
from testbed.patience import PATIENCE
from testbed.qemu import QEMU

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.pods import Pod

MEMORY = "64"
"""MiB."""
KEYS = 8
CTRL_B = b"\x02"


@dataclass(frozen=True, slots=True)
class Ipxe:
    """iPXE at its prompt."""

    console: Background

    def ask(self, setting: str) -> str:
        """What it knows by that name; nothing where it was not told. The console breaks lines at 80 columns."""
        self._type(f"echo {setting} is <${{net0/{setting}}}>")
        said = self.console.wait_for(rf"^{re.escape(setting)} is <([^$>]*)>\s+iPXE> ", PATIENCE)[1]
        return "".join(said.split())

    def lease(self) -> GuestFacts:
        """Let it lease; give what it was told. It knows no option 121: its ways are the subnet and the gateway."""
        self._type("ifconf -c dhcp net0")
        self.console.wait_for(r"\(net0 [0-9a-f:]+\)\.+ ok\s+iPXE> ", PATIENCE)
        interface = IPv4Interface(f"{self.ask('ip')}/{self.ask('netmask')}")
        gateway = self.ask("gateway")
        nameservers, search = self._octets("6"), self._octets("119")
        ways = (RouteFact(str(interface.network)), RouteFact(f"{gateway}/32"), RouteFact(DEFAULT, gateway))
        return GuestFacts(
            mac=self.ask("mac"),
            address=str(interface.ip),
            prefixlen=interface.network.prefixlen,
            gateway=gateway,
            routes=ways[interface.network.prefixlen == 32 :],
            mtu=int(self.ask("mtu")),
            nameservers=tuple(str(IPv4Address(nameservers[at : at + 4])) for at in range(0, len(nameservers), 4)),
            search=domain_names(search),
            hostname=self.ask("hostname"),
            lease_time=int.from_bytes(self._octets("51")),
        )

    def _type(self, command: str) -> None:
        """Type no quicker than it reads: the BIOS keeps sixteen keys and drops what is more."""
        for end in range(KEYS, len(command) + KEYS, KEYS):
            self.console.press(command[end - KEYS : end].encode("ascii"))
            self.console.wait_for(rf"iPXE> {re.escape(command[:end])}\Z", PATIENCE)
        self.console.press(b"\r")

    def _octets(self, code: str) -> bytes:
        """The value of an option, which it prints as 01-02-03."""
        return bytes.fromhex(self.ask(f"{code}:hexhyp").replace("-", ""))


@contextmanager
def ipxe(pod: Pod, directory: Path, tap: str = "tap0") -> Iterator[Ipxe]:
    """Start a machine with nothing but a NIC in the pod; it is at iPXE's prompt when the block begins."""
    argv = [
        *(QEMU, "-machine", "q35,accel=tcg,graphics=off", "-m", MEMORY, "-boot", "n"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio"),
        *("-netdev", f"tap,id=net0,ifname={tap},script=no,downscript=no,vhost=off"),
        *("-device", f"virtio-net-pci,netdev=net0,mac={pod.mac}"),
    ]
    with background(pod.netns.command(*argv), directory / "ipxe.log") as console:
        console.wait_for("Press Ctrl-B for the iPXE command line", PATIENCE)
        console.press(CTRL_B)
        console.wait_for("iPXE> ", PATIENCE)
        yield Ipxe(console)
