"""The process that compiles the replies: reads `Leases` as JSON from descriptor 0, writes them to descriptor 1.

It is two: a small one waits for the one that compiles, which holds scapy, and starts another where somebody kills
that, as the kernel does when memory is short. Where the small one is killed, the other goes on.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from typing import TYPE_CHECKING

from vmnet.server.compiled import Compiled, dumps, dumps_failure
from vmnet.server.witness import packed

if TYPE_CHECKING:
    from vmnet.model.lease import Lease, Lease6, Leases


_ATTEMPTS = 3


def main() -> None:
    """Compile. An error is one line on stderr, exit 1, and a failure on descriptor 1."""
    question = sys.stdin.buffer.read()
    code = 0
    for _ in range(_ATTEMPTS):
        code = _attempt(question)
        if code >= 0:
            break
        _say(f"compile: killed by signal {-code}")
    sys.exit(0 if code == 0 else 1)


def _attempt(question: bytes) -> int:
    """Compile in a process of its own; return its exit code, negative for the signal that has killed it."""
    try:
        child = os.fork()
    except OSError:  # no process is left for us
        return _compile(question)
    if child == 0:
        gc.disable()  # it ends before any collection would pay: importing scapy alone makes a dozen
        os._exit(_compile(question))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _compile(question: bytes) -> int:
    try:
        compiled = compile_leases(_leases(question))
    except Exception as error:  # noqa: BLE001 - whatever it is, the server must hear of it
        reason = " ".join(f"compile: {type(error).__name__}: {error}".split())
        _say(reason)
        _write_all(dumps_failure(reason))
        return 1
    _write_all(compiled)
    return 0


def _say(line: str) -> None:
    """Write to the log; that it is full keeps nothing from the server."""
    with contextlib.suppress(OSError):
        os.write(2, f"{line}\n".encode(errors="backslashreplace"))


def compile_leases(leases: Leases) -> bytes:
    """Return what `compiled.loads` reads. Raises ValueError where a lease has a value that cannot be carried."""
    vm_mac = bytes.fromhex(leases.chaddr.replace(":", ""))
    dhcp = _dhcp(leases.lease) if leases.lease else b""
    advertisements, dhcpv6 = _ipv6(leases.lease6) if leases.lease6 else (b"", b"")
    return dumps(Compiled(vm_mac, dhcp, advertisements, dhcpv6, _own(leases), _ends(leases)))


def _leases(question: bytes) -> Leases:
    from vmnet.model.codec import decode
    from vmnet.model.lease import Leases

    return decode(Leases, question)


def _dhcp(lease: Lease) -> bytes:
    from vmnet.compile.dhcp import compile_replies
    from vmnet.server.dhcp.replies import dumps as dumps_replies

    return dumps_replies(compile_replies(lease))


def _ipv6(lease: Lease6) -> tuple[bytes, bytes]:
    """Router advertisements and neighbour discovery, and DHCPv6."""
    from vmnet.compile.advertisements import compile_advertisements
    from vmnet.compile.dhcpv6 import compile_replies
    from vmnet.server.ipv6.advertisements import dumps as dumps_advertisements
    from vmnet.server.ipv6.replies import dumps as dumps_replies

    return dumps_advertisements(compile_advertisements(lease)), dumps_replies(compile_replies(lease))


def _own(leases: Leases) -> bytes:
    """The addresses that are the guest's: leased, allowed, or made by itself where that is wanted."""
    from ipaddress import ip_network

    lease, lease6 = leases.lease, leases.lease6
    prefixes = [*leases.allowed, *([lease.yiaddr] if lease else [])]
    if lease6:
        prefixes += [leased.address for leased in lease6.addresses]
        prefixes += lease6.prefixes if lease6.autonomous else ()
    networks = [ip_network(prefix, strict=False) for prefix in prefixes]
    return b"".join(packed(network.network_address.packed, network.prefixlen) for network in networks)


def _ends(leases: Leases) -> bytes:
    """When the addresses run out that the pod has for a limited time."""
    from socket import AF_INET, AF_INET6, inet_pton

    from vmnet.server.lifetimes import record

    lease, addresses = leases.lease, leases.lease6.addresses if leases.lease6 else ()
    ends = [record(inet_pton(AF_INET, lease.yiaddr), 0, lease.ends)] if lease and lease.ends else []
    ends += [
        record(inet_pton(AF_INET6, leased.address), leased.preferred_until, leased.valid_until)
        for leased in addresses
        if leased.preferred_until or leased.valid_until
    ]
    return b"".join(ends)


def _write_all(data: bytes) -> None:
    """Hand over to the server; where that has ended, why is its word and not ours."""
    with contextlib.suppress(BrokenPipeError), open(1, "wb", closefd=False) as pipe:
        pipe.write(data)
