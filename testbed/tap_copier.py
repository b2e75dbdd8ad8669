"""The process that stands where QEMU stands: it joins a tap to a link of another namespace.

Run by its path, with nothing but the standard library: `tap_copier.py TAP_NETNS TAP WIRE_NETNS WIRE`.
Frames are copied with their virtio-net headers, so that unfinished checksums and large segments pass both ways
as they do between QEMU and the kernel. It prints `ready` once frames flow, and ends when the tap goes.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
import socket
import struct
import sys

TUNSETIFF = 0x400454CA
TUNSETOFFLOAD = 0x400454D0
IFF_TAP = 0x0002
IFF_MULTI_QUEUE = 0x0100
IFF_NO_PI = 0x1000
IFF_VNET_HDR = 0x4000
OFFLOADS = 0x01 | 0x02 | 0x04
"""TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6: what a Linux guest's driver negotiates."""
ETH_P_ALL = 0x0003
SOL_PACKET = 263
PACKET_VNET_HDR = 15
PACKET_IGNORE_OUTGOING = 23
SO_SNDBUFFORCE = 32
SO_RCVBUFFORCE = 33
BUFFER = 1 << 22
FRAME = 10 + 14 + 65535 + 8
"""virtio-net header, Ethernet header, the largest segment, two VLAN tags."""
BURST = 64
CLONE_NEWNET = 0x40000000
GONE = (errno.EBADFD, errno.EBADF, errno.ENODEV, errno.ENXIO)
"""The tap or the wire was deleted."""
LOST = (errno.EIO, errno.ENOBUFS, errno.ENETDOWN, errno.EAGAIN, errno.EMSGSIZE, errno.EINVAL, errno.ENOMEM)
"""This frame could not be delivered; a wire drops it, and so do we."""


def enter(netns: str) -> None:
    """Put this process into a network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(netns, "rb") as file:
        if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), netns)


def open_tap(tap: str) -> int:
    """Attach to an existing tap as QEMU does, whether it is multi-queue or not."""
    if tap not in [name for _, name in socket.if_nameindex()]:  # TUNSETIFF would make it
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), tap)
    for queues in (0, IFF_MULTI_QUEUE):
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        request = struct.pack("16sH22x", tap.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | queues)
        try:
            fcntl.ioctl(descriptor, TUNSETIFF, request)
            fcntl.ioctl(descriptor, TUNSETOFFLOAD, OFFLOADS)
        except OSError as error:
            os.close(descriptor)
            if error.errno != errno.EINVAL or queues:
                raise
        else:
            return descriptor
    raise AssertionError


def open_wire(ifname: str) -> socket.socket:
    """Open a packet socket that hears everything on a link, and sends as the kernel would."""
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    wire.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
    wire.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, BUFFER)
    wire.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    wire.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    wire.bind((ifname, ETH_P_ALL))
    return wire


def copy(source: int, target: int, buffer: bytearray, view: memoryview) -> None:
    """Copy what waits at one side to the other, a burst at most, so that neither side starves."""
    for _ in range(BURST):
        try:
            length = os.readv(source, [buffer])
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ENETDOWN, errno.EIO):
                return
            raise
        try:
            os.write(target, view[:length])
        except OSError as error:
            if error.errno not in LOST:
                raise


def join(tap: int, wire: int) -> None:
    """Copy both ways until one side is gone."""
    buffer = bytearray(FRAME)
    view = memoryview(buffer)
    poll = select.poll()
    other = {tap: wire, wire: tap}
    for descriptor in other:
        poll.register(descriptor, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            copy(descriptor, other[descriptor], buffer, view)


def main(argv: list[str]) -> int:
    """Attach both ends, say so, and copy."""
    tap_netns, tap_name, wire_netns, wire_name = argv
    enter(wire_netns)
    wire = open_wire(wire_name)
    enter(tap_netns)
    tap = open_tap(tap_name)
    print("ready", flush=True)  # noqa: T201 -- the sign that frames flow
    try:
        join(tap, wire.fileno())
    except OSError as error:
        if error.errno in GONE:
            print("gone", flush=True)  # noqa: T201
            return 0
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
