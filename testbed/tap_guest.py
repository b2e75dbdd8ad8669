"""A guest without a VM: the pod's real tap, joined to a veth in a guest namespace.

    ┌ pod ───────┐   ┌ copier process ┐   ┌ wire ─┐      ┌ guest ─────────────┐
    │ k6t-eth0   │   │ attached as    │   │       │      │                    │
    │   └─ tap0 ─┼───┤ QEMU attaches  ├───┤ wire0 ├─veth─┤ eth0 the VM's MAC  │
    └────────────┘   └────────────────┘   └───────┘      └────────────────────┘

The guest namespace holds nothing but the VM's NIC; a real DHCP client in it speaks through the real tap.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import struct
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.netns import Background, Netns, TestbedError, background, entered, netns
from testbed.patience import PATIENCE
from testbed.tap_copier import FRAME, open_tap
from testbed.watch import RTMGRP_LINK, wait_for_ip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

COPIER = Path(__file__).with_name("tap_copier.py")
FLOODER = Path(__file__).with_name("flooder.py")
IFNAME = "eth0"
WIRE = "wire0"
WIRE_MTU = 65535
"""The wire never limits: what a tap accepts is the tap's affair."""
TUNATTACHFILTER = 0x401054D5
SOCK_FILTER, SOCK_FPROG = struct.Struct("=HBBI"), struct.Struct("@HP")
"""linux/if_tun.h, linux/filter.h."""
VNET_HDR = 10
"""Length of the virtio-net header in front of each frame."""


@dataclass(frozen=True, slots=True)
class TapGuest:
    """A guest whose NIC is the other end of the pod's tap."""

    netns: Netns
    ifname: str
    mac: str
    copier: Background
    directory: Path
    """Where its programs leave their logs and files."""


@contextmanager
def tap_guest(
    pod_netns: Netns, mac: str, directory: Path, tap: str = "tap0", accept_ra: int = 1
) -> Iterator[TapGuest]:
    """Plug a guest with that MAC into a tap; frames flow when the block begins.

    With `accept_ra` 0 its kernel leaves router advertisements to a program, as those that see to them make it do.
    """
    with netns() as guest, netns() as wire:
        guest.sysctl("ipv6/conf/default/accept_ra", accept_ra)
        guest.ip_batch(
            f"link add {IFNAME} address {mac} type veth peer name {WIRE} mtu {WIRE_MTU} netns {wire.name}"
        )
        wire.sysctl(f"ipv6/conf/{WIRE}/disable_ipv6", 1)
        wire.ip_batch(f"link set {WIRE} up")
        argv: list[str | Path] = [sys.executable, "-I", "-S", COPIER, pod_netns.path, tap, wire.path, WIRE]
        with background(argv, directory / "tap-guest.log") as copier:
            copier.wait_for("^ready$")
            guest.ip_batch(f"link set {IFNAME} up")
            yield TapGuest(guest, IFNAME, mac, copier, directory)


@dataclass(frozen=True, slots=True)
class RawTap:
    """The tap, held as a guest's driver holds it: frames in and out, nothing in between."""

    descriptor: int

    def send(self, frame: bytes) -> None:
        """Send a frame as the guest."""
        os.write(self.descriptor, bytes(VNET_HDR) + frame)

    def receive(self, wanted: Callable[[bytes], bool], timeout: float = PATIENCE) -> bytes:
        """Give the first frame to the guest that is wanted; none in time is an error."""
        deadline = time.monotonic() + timeout
        poll = select.poll()
        poll.register(self.descriptor, select.POLLIN)
        seen = 0
        while (left := deadline - time.monotonic()) > 0:
            if poll.poll(left * 1000):
                frame = os.read(self.descriptor, FRAME)[VNET_HDR:]
                seen += 1
                if wanted(frame):
                    return frame
        raise TestbedError(f"no such frame within {timeout} s; {seen} others came out of the tap")

    def ignore(self, vendor: int) -> None:
        """Keep frames of MACs that begin with these four octets out of its queue, as NICs that filter do."""
        instructions = ((0x20, 0, 0, 6), (0x15, 0, 1, vendor), (0x06, 0, 0, 0), (0x06, 0, 0, FRAME))
        program = ctypes.create_string_buffer(b"".join(SOCK_FILTER.pack(*each) for each in instructions))
        fprog = SOCK_FPROG.pack(len(instructions), ctypes.addressof(program))
        fcntl.ioctl(self.descriptor, TUNATTACHFILTER, fprog)

    def take(self, seconds: float) -> None:
        """Take whatever comes for so long, as a driver does: a queue that nobody empties fills up."""
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self.descriptor, select.POLLIN)
        while (left := deadline - time.monotonic()) > 0:
            if poll.poll(left * 1000):
                os.read(self.descriptor, FRAME)

    def flooded(self, frame: bytes, rate: int, seconds: float, log: Path) -> AbstractContextManager[Background]:
        """Send a frame again and again from another process: so many a second, 0 for as many as go."""
        words = (self.descriptor, rate, seconds, (bytes(VNET_HDR) + frame).hex())
        return background(
            [sys.executable, "-I", "-S", FLOODER, *map(str, words)], log, descriptors=[self.descriptor]
        )


@contextmanager
def raw_tap(pod_netns: Netns, tap: str = "tap0") -> Iterator[RawTap]:
    """Attach to a tap in place of a guest.

    The block begins when the kernel has taken notice of the carrier: what is sent to the guest before is lost.
    """
    with entered(pod_netns):
        descriptor = open_tap(tap)
    try:
        wait_for_ip(pod_netns, RTMGRP_LINK, f"link show dev {tap}", lambda links: links[0]["operstate"] == "UP")
        yield RawTap(descriptor)
    finally:
        os.close(descriptor)
