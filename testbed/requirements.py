"""What each room of the tests needs of the machine, and how to get it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from testbed.clients import CLIENTS
from testbed.kernel import DHCPCD, IPCONFIG
from testbed.pods import CNI_BIN
from testbed.qemu import QEMU

CAP_SYS_ADMIN = 21
CAP_NET_ADMIN = 12


@dataclass(frozen=True, slots=True)
class Tool:
    """A program, and the Debian package that brings it."""

    program: str
    package: str

    @property
    def present(self) -> bool:
        """Whether it can be run."""
        return shutil.which(self.program) is not None


COMMON_TOOLS = (
    Tool("ip", "iproute2"),
    Tool("nft", "nftables"),
    Tool("nsenter", "util-linux"),
    Tool("setpriv", "util-linux"),
    Tool("busybox", "busybox-static"),
)
NETNS_TOOLS = (
    *COMMON_TOOLS,
    Tool("tcpdump", "tcpdump"),
    Tool("iptables", "iptables"),
    Tool("sysctl", "procps"),
    Tool("nmap", "nmap"),
    Tool(str(CNI_BIN / "bridge"), "containernetworking-plugins"),
    *(Tool(client.program, client.package) for client in CLIENTS.values()),
)
VM_TOOLS = (
    *COMMON_TOOLS,
    Tool(str(IPCONFIG), "klibc-utils"),
    Tool(str(DHCPCD), "dhcpcd-base"),
    Tool(QEMU, "qemu-system-x86"),
    Tool("libvirtd", "libvirt-daemon-system"),
    Tool("virsh", "libvirt-clients"),
)
IMAGE_TOOLS = (
    *COMMON_TOOLS,
    Tool(str(CNI_BIN / "bridge"), "containernetworking-plugins"),
    Tool(CLIENTS["udhcpc"].program, CLIENTS["udhcpc"].package),
    *(Tool(name, name) for name in ("podman", "runc", "mmdebstrap")),
    Tool("/usr/lib/podman/netavark", "netavark"),
)
TOOLS = {"netns": NETNS_TOOLS, "vm": VM_TOOLS, "image": IMAGE_TOOLS}


def missing(room: str) -> str:
    """Say in one line what a room lacks here; empty when it lacks nothing."""
    if not _privileged():
        return f"the {room} tests need root: CAP_NET_ADMIN and CAP_SYS_ADMIN are missing"
    if not Path("/dev/net/tun").exists():
        return f"the {room} tests need /dev/net/tun: modprobe tun"
    packages = sorted({tool.package for tool in TOOLS[room] if not tool.present})
    return f"the {room} tests need: apt-get install {' '.join(packages)}" if packages else ""


def required(room: str) -> bool:
    """Whether a room that cannot be entered is an error: `VMNET_REQUIRE=netns,vm`."""
    return room in os.environ.get("VMNET_REQUIRE", "").split(",")


def _privileged() -> bool:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    effective = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff"))
    return all(effective >> capability & 1 for capability in (CAP_NET_ADMIN, CAP_SYS_ADMIN))
