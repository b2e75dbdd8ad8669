"""Taps: the one kind of link that is not made by netlink but by an ioctl on /dev/net/tun (drivers/net/tun.c)."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from array import array
from typing import TYPE_CHECKING

from vmnet.errors import KernelError

if TYPE_CHECKING:
    from vmnet.model.links import LinkSpec

_CLONE_DEVICE = "/dev/net/tun"
_TUNSETIFF, _TUNSETPERSIST, _TUNSETOWNER, _TUNSETGROUP = 0x400454CA, 0x400454CB, 0x400454CC, 0x400454CE
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR, _IFF_MULTI_QUEUE, _IFF_TUN_EXCL = 0x2, 0x1000, 0x4000, 0x100, 0x8000
_SIOCETHTOOL, _ETHTOOL_GLINK = 0x8946, 0x0A


def is_attached(ifname: str) -> bool:
    """Whether the tap is there, up and held open by a program: only then it has a carrier (drivers/net/tun.c)."""
    answer = array("I", (_ETHTOOL_GLINK, 0))
    request = struct.pack("16sP16x", ifname.encode(), answer.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            fcntl.ioctl(any_socket, _SIOCETHTOOL, request)
        except OSError:
            return False
    return bool(answer[1])


def create_tap(spec: LinkSpec) -> None:
    """Make the persistent tap `spec` that QEMU attaches to later, owned by `spec.owner` and `spec.group`.

    Raises:
        OSError: EEXIST or EBUSY when a link of that name is there, EPERM without CAP_NET_ADMIN.
        KernelError: /dev/net/tun is missing or closed to us.
    """
    try:
        clone = os.open(_CLONE_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        missing = (
            "the device (give the container /dev/net/tun, or `modprobe tun` on the node)"
            if error.errno == errno.ENOENT
            else "access"
        )
        raise KernelError(error.errno or 0, f"open {_CLONE_DEVICE}", missing) from error
    try:
        flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR | _IFF_TUN_EXCL
        if spec.multi_queue:
            flags |= _IFF_MULTI_QUEUE
        fcntl.ioctl(clone, _TUNSETIFF, struct.pack("16sH22x", spec.ifname.encode(), flags))
        if spec.owner is not None:
            fcntl.ioctl(clone, _TUNSETOWNER, spec.owner)
        if spec.group is not None:
            fcntl.ioctl(clone, _TUNSETGROUP, spec.group)
        fcntl.ioctl(clone, _TUNSETPERSIST, 1)
    finally:
        os.close(clone)
