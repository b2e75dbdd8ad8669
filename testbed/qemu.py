"""A real guest: a distribution kernel in QEMU, its NIC the pod's tap.

QEMU runs in the pod's namespace, as libvirt runs it in KubeVirt. The guest says on its serial console what it was
leased, pings, and stays until it is told to go. KVM is used only where it was seen to boot this very guest: a
/dev/kvm proves nothing.
"""

from __future__ import annotations

import json
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed.facts import DEFAULT, GuestFacts, RouteFact
from testbed.facts6 import Facts6, named_by_mac, route_fact6
from testbed.jailed import assignments, read_resolv_lines
from testbed.kernel import CACHE, Kernel, initramfs, kernel
from testbed.netns import Background, TestbedError, background
from testbed.once import one_at_a_time
from testbed.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.pods import Pod

QEMU = "qemu-system-x86_64"
MARK = "@vmnet "
CMDLINE = (
    "console=ttyS0 quiet panic=-1 nokaslr mitigations=off tsc=reliable no_timer_check cryptomgr.notests "
    "random.trust_cpu=on"
)
MEMORY = 192
"""MiB, enough for the guest."""
ECHO = 7
"""The port at which the guest sends back what comes (RFC 862)."""
PROBE_PATIENCE = 6


@dataclass(frozen=True, slots=True)
class Size:
    """How large a machine is."""

    memory: int = MEMORY
    """MiB."""
    processors: int = 1


SMALL = Size()


@dataclass(frozen=True, slots=True)
class Reach:
    """What a ping of the guest gave. Linux sets DF on an echo that fits the MTU."""

    address: str
    size: int
    ok: bool


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds from QEMU's start until the console said so."""

    booted: float
    lease: float
    facts: float


@dataclass(frozen=True, slots=True)
class Guest:
    """A guest that has leased and said its facts, and still runs."""

    facts: GuestFacts
    facts6: Facts6 | None
    """None where the pod has no IPv6."""
    pings: tuple[Reach, ...]
    times: Times
    accelerator: str
    console: Background

    def ping(self, address: str, size: int = 56) -> bool:
        """Let the guest ping."""
        self.console.say(f"ping {address} {size}")
        answer = rf'^{MARK}{{"ping": "{re.escape(address)}", "size": {size}, "ok": (true|false)}}'
        return self.console.wait_for(answer)[1] == "true"

    def tcp(self, address: str, port: int) -> bool:
        """Let the guest connect to somebody who sends back what it says."""
        self.console.say(f"tcp {address} {port}")
        return (
            self.console.wait_for(rf'^{MARK}{{"tcp": "{re.escape(address)} {port}", "ok": (true|false)}}')[1]
            == "true"
        )

    def power_off(self) -> None:
        """Let the guest end, and QEMU with it."""
        self.console.say("poweroff")
        self.console.wait()


def accelerator(found: Kernel, cache: Path = CACHE) -> str:
    """Name KVM if this guest boots with it, else TCG. Tried once per boot of the machine."""
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    verdict = cache / f"accelerator-{found.release}-{boot_id}"
    with one_at_a_time(cache):
        if not verdict.exists():
            for old in cache.glob("accelerator-*"):
                old.unlink()
            verdict.write_text("kvm" if _kvm_boots(found, cache) else "tcg", encoding="ascii")
        return verdict.read_text(encoding="ascii")


def _kvm_boots(found: Kernel, cache: Path) -> bool:
    if not Path("/dev/kvm").exists():
        return False
    initrd = initramfs(found, cache / "probe.initramfs")
    with background(machine("kvm", found, initrd, "vmnet.probe=1"), cache / "probe.log") as console:
        try:
            console.wait_for(f"^{MARK}.*booted", PROBE_PATIENCE)
        except TestbedError:
            return False
    return True


def machine(accel: str, found: Kernel, initrd: Path, cmdline: str, size: Size = SMALL) -> list[str]:
    """QEMU's arguments without a NIC: a bare q35, a serial console, nothing else."""
    return [
        *(QEMU, "-machine", f"q35,accel={accel}", "-m", str(size.memory), "-smp", str(size.processors)),
        *("-cpu", "host" if accel == "kvm" else "qemu64"),
        *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio"),
        *("-kernel", str(found.image), "-initrd", str(initrd), "-append", f"{CMDLINE} {cmdline}"),
    ]


def nic(mac: str, tap: str) -> list[str]:
    """QEMU's arguments for a virtio NIC on an existing tap; the guest learns the MTU from DHCP alone."""
    return [
        *("-netdev", f"tap,id=net0,ifname={tap},script=no,downscript=no,vhost=off"),
        *("-device", f"virtio-net-pci,netdev=net0,mac={mac},romfile="),
    ]


@contextmanager
def booting(pod: Pod, directory: Path, tap: str = "tap0", cmdline: str = "") -> Iterator[Background]:
    """Start the guest in the pod; gives its console at once. `ip=dhcp` makes it lease as an initramfs does."""
    found = kernel()
    accel = accelerator(found)
    initrd = initramfs(found, directory / "initramfs")
    targets = f"vmnet.ping={pod.peer} vmnet.ping6={pod.peer6}"
    argv = [*machine(accel, found, initrd, f"{targets} {cmdline}"), *nic(pod.mac, tap)]
    with background(pod.netns.command(*argv), directory / "console.log") as console:
        yield console


def settled(console: Background) -> Guest:
    """Wait until the guest has said its facts."""
    times = []
    for event in ("booted", "lease", "facts"):
        found = console.wait_for(rf'^{MARK}{{"event": "({event}|no lease)"}}', PATIENCE)
        if found[1] == "no lease":
            raise TestbedError(f"the guest got no lease; its console said:\n{console.text}")
        times.append(time.monotonic() - console.started)
    said = [json.loads(line) for line in re.findall(rf"^{MARK}(\{{.*\}})\s*$", console.text, re.MULTILINE)]
    pings = tuple(Reach(entry["ping"], entry["size"], entry["ok"]) for entry in said if "ping" in entry)
    accel = "kvm" if "accel=kvm" in " ".join(console.argv) else "tcg"
    return Guest(understand(said), understand6(said), pings, Times(*times), accel, console)


@contextmanager
def guest(pod: Pod, directory: Path, tap: str = "tap0", cmdline: str = "") -> Iterator[Guest]:
    """Boot a guest in the pod and wait for its facts; it answers until the block ends."""
    with booting(pod, directory, tap, cmdline) as console:
        yield settled(console)


def understand(said: list[dict[str, Any]]) -> GuestFacts:
    """Turn the console's JSON lines into facts."""
    facts = _joined(said)
    address, _, prefixlen = facts["address"][0].partition("/")
    routes = tuple(dict.fromkeys(_route(line.split()) for line in facts["route"]))
    default = next((route.gateway for route in routes if route.dst == DEFAULT), "")
    resolver = read_resolv_lines(facts["resolv_conf"])
    told = assignments("\n".join(facts["told"]))
    return GuestFacts(
        mac=facts["mac"],
        address=address,
        prefixlen=int(prefixlen or 32),
        gateway=default,
        routes=routes,
        mtu=facts["mtu"],
        nameservers=tuple(server for server in resolver.nameservers if ":" not in server),
        search=resolver.search,
        hostname=told.get("hostname", ""),
        lease_time=int(told["lease_time"]) if "lease_time" in told else None,
    )


def understand6(said: list[dict[str, Any]]) -> Facts6 | None:
    """Turn them into what the guest has of IPv6; None where it was not to see to any."""
    facts = _joined(said)
    if "route6" not in facts:
        return None
    lines = [line.split() for line in facts["route6"] if not line.startswith("multicast")]
    routes = [route_fact6(words[0], words[2] if words[1] == "via" else "") for words in lines]
    macs = {words[0]: words[4] for line in facts["neighbour6"] if (words := line.split())[3] == "lladdr"}
    addresses = tuple(address.partition("/")[0] for address in facts["address6"])
    resolver = read_resolv_lines(facts["resolv_conf"])
    return replace(
        named_by_mac(addresses, routes, macs, facts["mtu6"]),
        nameservers=tuple(server for server in resolver.nameservers if ":" in server),
        search=resolver.search,
    )


def _joined(said: list[dict[str, Any]]) -> dict[str, Any]:
    return {key: value for entry in said for key, value in entry.items()}


def _route(words: list[str]) -> RouteFact:
    """Understand a line of busybox's `ip route`."""
    dst = DEFAULT if words[0] == "default" else words[0] if "/" in words[0] else f"{words[0]}/32"
    return RouteFact(dst, words[words.index("via") + 1] if "via" in words else "")
