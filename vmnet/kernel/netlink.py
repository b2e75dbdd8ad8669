"""The one door to rtnetlink: pyroute2's message classes on a socket of our own.

pyroute2's package `__init__` pulls in some 380 modules (170 ms, 34 MB) that stand in every VM's start for nothing:
only its message classes are imported, with a bare module in the package's place while they load.
"""

from __future__ import annotations

import errno
import importlib.machinery
import importlib.util
import os
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any

from vmnet.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def _import_message_classes() -> tuple[Any, ...]:
    """Import pyroute2's rtnetlink messages without running the package's own `__init__`."""
    absent = "pyroute2" not in sys.modules
    if absent:
        spec = importlib.machinery.PathFinder.find_spec("pyroute2")
        if spec is None:
            raise ModuleNotFoundError("pyroute2")
        package = importlib.util.module_from_spec(spec)
        sys.modules["pyroute2"] = package
    try:
        from pyroute2.netlink import nla, nlmsg
        from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
        from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
        from pyroute2.netlink.rtnl.ndmsg import ndmsg
        from pyroute2.netlink.rtnl.rtmsg import rtmsg
    finally:
        if absent:
            del sys.modules["pyroute2"]
    return nla, nlmsg, ifinfmsg, ifaddrmsg, rtmsg, ndmsg


nla, nlmsg, ifinfmsg, ifaddrmsg, rtmsg, ndmsg = _import_message_classes()


class family_settings(nlmsg):  # type: ignore[misc, valid-type] # noqa: N801 # untyped; pyroute2 names messages so
    """RTM_NEWLINK with the per-family settings of a link, which pyroute2's own `ifinfmsg` can only read.

    As inet_set_link_af (net/ipv4/devinet.c) and inet6_set_link_af (net/ipv6/addrconf.c) read it.
    """

    fields = ifinfmsg.fields
    nla_map = ((26, "IFLA_AF_SPEC", "af_spec"),)

    class af_spec(nla):  # type: ignore[misc, valid-type] # noqa: N801
        """By address family."""

        nla_map = ((socket.AF_INET, "AF_INET", "inet"), (socket.AF_INET6, "AF_INET6", "inet6"))

        class inet(nla):  # type: ignore[misc, valid-type] # noqa: N801
            """IPv4: setting number (linux/ip.h, IPV4_DEVCONF_*) and value."""

            nla_map = ((1, "IFLA_INET_CONF", "conf"),)

            class conf(nla):  # type: ignore[misc, valid-type] # noqa: N801
                """Only what vmnet sets."""

                nla_map = ((19, "IPV4_DEVCONF_ARP_IGNORE", "uint32"),)

        class inet6(nla):  # type: ignore[misc, valid-type] # noqa: N801
            """IPv6."""

            nla_map = ((8, "IFLA_INET6_ADDR_GEN_MODE", "uint8"),)


METRIC_NUMBERS: dict[str, int] = {entry[0]: number for number, entry in enumerate(rtmsg.metrics.nla_map)}
"""RTAX_* name to number (linux/rtnetlink.h)."""

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWLINKPROP, RTM_DELLINKPROP = 108, 109
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
RTM_GETRULE, RTM_GETNEXTHOP = 34, 106

NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_DUMP_INTR = 0x10
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x100, 0x200, 0x400, 0x800

_NLMSG_ERROR, _NLMSG_DONE = 2, 3
NUD_STALE, NUD_NOARP, NUD_PERMANENT = 0x04, 0x40, 0x80
NTF_MASTER, NTF_PROXY, NTF_EXT_LEARNED, NTF_ROUTER = 0x04, 0x08, 0x10, 0x80
AF_BRIDGE = 7

_HEADER = struct.Struct("=IHHII")
ATTRIBUTE = struct.Struct("=HH")
"""Length and type of an attribute (netlink(7))."""
_TYPE_MASK = 0x3FFF
"""Without NLA_F_NESTED and NLA_F_NET_BYTEORDER (linux/netlink.h)."""
_SOL_NETLINK, _NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK = 270, 11, 12
_DUMP_ATTEMPTS = 10
"""A dump that somebody else's changes interrupt is read again this often before we give up."""
_RECEIVE_BYTES = 1 << 18


def attribute(kind: int, value: bytes) -> bytes:
    """Write an attribute: length and type, the value, padded to four octets (netlink(7))."""
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def name_of(value: str | bytes) -> str:
    """Return a link's name as text. The kernel takes octets that are no UTF-8, which pyroute2 leaves as octets."""
    return value if isinstance(value, str) else value.decode(errors="backslashreplace")


class NetlinkSocket:
    """A netlink socket of the network namespace it was opened in: rtnetlink's, unless told otherwise."""

    def __init__(self, protocol: int = 0) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.bind((0, 0))
        for option in (_NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)
        self._sequence = 0

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def __enter__(self) -> NetlinkSocket:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def request(self, message: Any, operation: int, flags: int) -> None:  # noqa: ANN401 # pyroute2 is untyped
        """Send one message and await the kernel's word.

        Raises:
            OSError: with the errno that the kernel gave.
        """
        self.request_bytes(_payload(message), operation, flags)

    def request_bytes(self, payload: bytes, operation: int, flags: int) -> None:
        """Send what follows the header of one message and await the kernel's word.

        Raises:
            OSError: with the errno that the kernel gave.
        """
        self._send(payload, operation, NLM_F_ACK | flags)
        for number, _flags, answer in self._receive():
            if number == _NLMSG_ERROR:
                _raise_errno(answer)
                return

    def dump(
        self,
        message: Any,  # noqa: ANN401 # pyroute2 is untyped
        operation: int,
        passed_over: Callable[[bytes], bool] = lambda _message: False,
    ) -> list[Any]:
        """Return every message of a dump, decoded lazily; read again where the kernel says it was interrupted.

        What is `passed_over` by its bytes is not decoded, which takes most of the time.

        Raises:
            KernelError: the dump stayed interrupted, or the kernel refused it.
        """
        decoded = []
        for data in self.dump_bytes(_payload(message), operation):
            if passed_over(data):
                continue
            answer = type(message)(data)
            answer.decode()
            decoded.append(answer)
        return decoded

    def dump_bytes(self, payload: bytes, operation: int) -> list[bytes]:
        """Return every message of a dump as it came, header included; `payload` is what follows the header.

        Raises:
            KernelError: the dump stayed interrupted, or the kernel refused it.
        """
        for _attempt in range(_DUMP_ATTEMPTS):
            try:
                self._send(payload, operation, NLM_F_DUMP)
                messages, interrupted = self._read_dump()
            except OSError as error:
                # An overrun loses messages, so it is an interruption too (netlink(7), ENOBUFS).
                if error.errno not in (errno.ENOBUFS, errno.EINTR):
                    raise KernelError(error.errno or 0, "read the kernel's tables") from error
                interrupted = True
            if not interrupted:
                return messages
        raise KernelError(errno.EINTR, "read the kernel's tables")

    def _read_dump(self) -> tuple[list[bytes], bool]:
        messages, interrupted = [], False
        for number, flags, message in self._receive():
            interrupted |= bool(flags & NLM_F_DUMP_INTR)
            if number in (_NLMSG_ERROR, _NLMSG_DONE):
                _raise_errno(message)
                break
            messages.append(message)
        return messages, interrupted

    def _send(self, payload: bytes, operation: int, flags: int) -> None:
        self._sequence += 1
        length = _HEADER.size + len(payload)
        self._socket.send(_HEADER.pack(length, operation, NLM_F_REQUEST | flags, self._sequence, 0) + payload)

    def _receive(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield (type, flags, whole message) of each message that answers the last request."""
        while True:
            data = self._socket.recv(_RECEIVE_BYTES)
            offset = 0
            while offset < len(data):
                length, number, flags, sequence, _pid = _HEADER.unpack_from(data, offset)
                if sequence == self._sequence:
                    yield number, flags, data[offset : offset + length]
                offset += (length + 3) & ~3


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Walk netlink attributes: length and type, the value, padded to four octets (netlink(7))."""
    at = 0
    while at + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, at)
        if length < ATTRIBUTE.size:
            return
        yield kind & _TYPE_MASK, data[at + ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3


def _payload(message: Any) -> bytes:  # noqa: ANN401 # pyroute2 is untyped
    """Encode a message; the header is the socket's to write."""
    message.encode()
    return bytes(message.data)[_HEADER.size :]


def _raise_errno(payload: bytes) -> None:
    """Raise what an NLMSG_ERROR or NLMSG_DONE carries, unless it is success."""
    code = -int.from_bytes(payload[_HEADER.size : _HEADER.size + 4], sys.byteorder, signed=True)
    if code > 0:
        raise OSError(code, os.strerror(code))
