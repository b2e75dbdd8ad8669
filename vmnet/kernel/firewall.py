"""Our nftables tables: read by netlink, loaded by `nft -f` in one transaction.

Only comments are read of the rules: they hold the checksum of each rule's text, and what somebody else put or
changed there bears another one, or none.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import struct
from typing import TYPE_CHECKING

from vmnet.errors import KernelError
from vmnet.kernel.netlink import NetlinkSocket, attribute, attributes
from vmnet.model.links import FilterChain

if TYPE_CHECKING:
    from vmnet.model.links import Ruleset

_NETLINK_NETFILTER = 12
_GETCHAIN, _GETRULE = 0x0A04, 0x0A07
"""linux/netfilter/nfnetlink.h, NFNL_SUBSYS_NFTABLES, and nf_tables.h, NFT_MSG_*."""
_TABLE, _CHAIN_NAME, _HOOK, _POLICY = 1, 3, 4, 5
_HOOK_NUMBER, _HOOK_DEVICE = 1, 3
_RULE_CHAIN, _USERDATA = 2, 7
"""linux/netfilter/nf_tables.h, NFTA_CHAIN_*, NFTA_HOOK_*, NFTA_RULE_*."""
_COMMENT = 0
"""NFTNL_UDATA_RULE_COMMENT: an octet of type, one of length, and the text with its NUL."""
_HEADERS = 20
"""struct nlmsghdr and struct nfgenmsg."""
_FAMILIES = {1: "inet", 5: "netdev", 7: "bridge"}
"""NFPROTO_* (linux/netfilter.h) to nft's word, of what we load."""
_IP_FAMILIES = {1: "inet", 2: "ip", 10: "ip6"}
_NUMBERS = {name: number for number, name in _FAMILIES.items()}
_HOOKS = {
    ("netdev", 0): "ingress",
    ("bridge", 0): "prerouting",
    ("bridge", 1): "input",
    ("bridge", 3): "output",
    **{
        (family, number): hook
        for family in _IP_FAMILIES.values()
        for number, hook in enumerate(("prerouting", "input", "forward", "output", "postrouting"))
    },
}
_BRIDGED = ("prerouting", "forward", "postrouting")
"""The hooks at which br_netfilter shows bridged packets (net/bridge/br_netfilter_hooks.c)."""
_POLICIES = ("drop", "accept")
_NO_NFTABLES = (errno.EINVAL, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT)
"""What a kernel without nf_tables answers (net/netfilter/nfnetlink.c)."""
_LACKING = (errno.EOPNOTSUPP, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT)
"""What a kernel says to a family or hook that it was built without (net/netfilter/nf_tables_api.c)."""
_NFT = "nft"
_USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LONGEST_COMPLAINT = 4096
_PATIENCE = 10.0
"""Seconds that nft may take; it takes 5 ms. We hold locks meanwhile, for which others wait."""


def read_chains(prefix: str) -> tuple[FilterChain, ...] | None:
    """Return the chains of all tables whose name begins with `prefix`; None without CAP_NET_ADMIN.

    Raises:
        KernelError: the kernel refused for another reason.
    """
    try:
        with NetlinkSocket(_NETLINK_NETFILTER) as netlink:
            messages = netlink.dump_bytes(bytes(4), _GETCHAIN)
            chains = (_chain(message, _FAMILIES) for message in messages)
            ours = [chain for chain in chains if chain and chain.table.startswith(prefix)]
            tables = dict.fromkeys((chain.family, chain.table) for chain in ours)
            comments = {table: _comments(netlink, *table) for table in tables}
    except OSError as error:
        return _unreadable(error)
    return tuple(
        FilterChain(
            *(chain.family, chain.table, chain.name, chain.hook, chain.device, chain.policy),
            comments=tuple(comments[chain.family, chain.table].get(chain.name, ())),
        )
        for chain in ours
    )


def read_bridged_chains() -> tuple[FilterChain, ...] | None:
    """Return all chains that br_netfilter shows bridged packets to, without their rules; None as above.

    Raises:
        KernelError: the kernel refused for another reason.
    """
    try:
        with NetlinkSocket(_NETLINK_NETFILTER) as netlink:
            messages = netlink.dump_bytes(bytes(4), _GETCHAIN)
    except OSError as error:
        return _unreadable(error)
    chains = (_chain(message, _IP_FAMILIES) for message in messages)
    return tuple(chain for chain in chains if chain and chain.hook in _BRIDGED)


def _unreadable(error: OSError) -> tuple[FilterChain, ...] | None:
    """Say what an error means that is none: we may not look, or there is nothing."""
    if error.errno == errno.EPERM:
        return None
    if error.errno in _NO_NFTABLES:
        return ()
    raise error


def _chain(message: bytes, families: dict[int, str]) -> FilterChain | None:
    """Read a chain without its rules; None for one of another family."""
    family = families.get(message[16])
    if family is None:
        return None
    found = dict(attributes(message[_HEADERS:]))
    hook = dict(attributes(found.get(_HOOK, b"")))
    number = int.from_bytes(hook.get(_HOOK_NUMBER, b""))
    policy = int.from_bytes(found.get(_POLICY, b""))
    return FilterChain(
        family,
        _text(found.get(_TABLE, b"")),
        _text(found.get(_CHAIN_NAME, b"")),
        _HOOKS.get((family, number), str(number)) if hook else "",
        _text(hook.get(_HOOK_DEVICE, b"")),
        _POLICIES[policy & 1] if hook else "",
        (),
    )


def _comments(netlink: NetlinkSocket, family: str, table: str) -> dict[str, list[str]]:
    """Return the comment of every rule of a table, by chain, in order."""
    question = struct.pack("=BBH", _NUMBERS[family], 0, 0) + attribute(_TABLE, table.encode() + b"\0")
    found: dict[str, list[str]] = {}
    for message in netlink.dump_bytes(question, _GETRULE):
        rule = dict(attributes(message[_HEADERS:]))
        if _text(rule.get(_TABLE, b"")) == table:
            found.setdefault(_text(rule.get(_RULE_CHAIN, b"")), []).append(_comment(rule.get(_USERDATA, b"")))
    return found


def _comment(userdata: bytes) -> str:
    at = 0
    while at + 2 <= len(userdata):
        kind, length = userdata[at : at + 2]
        if kind == _COMMENT:
            return _text(userdata[at + 2 : at + 2 + length])
        at += 2 + length
    return ""


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


def load(table: str, rulesets: tuple[Ruleset, ...], standing: tuple[str, ...]) -> None:
    """Load the first of the rulesets that this kernel was built for, in place of what stands in these families.

    The end of the old and the new are one transaction: between the two no frame passes. A deletion takes the
    kernel 10 ms, so there is none where nothing stands.

    Raises:
        KernelError: nft is missing, or the kernel refused.
    """
    for ruleset in rulesets:
        try:
            _nft(_deletion(table, standing) + ruleset.text, f"load the isolation rules of table {table}")
        except KernelError as error:
            if error.errno not in _LACKING or ruleset is rulesets[-1]:
                raise
        else:
            return


def delete(table: str, families: tuple[str, ...]) -> None:
    """Remove the tables of that name.

    Raises:
        KernelError: nft is missing, or the kernel refused: one that is gone already is ENOENT.
    """
    _nft(_deletion(table, families), f"delete the isolation rules of table {table}")


def program() -> str | None:
    """Return the path of nft, or None; also where it is not in PATH, as in a libvirt hook."""
    for directory in f"{os.environ.get('PATH', '')}:{_USUAL_PATH}".split(":"):
        path = os.path.join(directory, _NFT)
        if directory.startswith("/") and os.access(path, os.X_OK):
            return path
    return None


def _deletion(table: str, families: tuple[str, ...]) -> str:
    return "".join(f"delete table {family} {table}\n" for family in families)


def _nft(script: str, operation: str) -> None:
    path = program()
    if path is None:
        raise KernelError(errno.ENOENT, operation, "the program nft (package nftables)")
    question, answer = os.memfd_create("rules", os.MFD_CLOEXEC), os.memfd_create("complaint", os.MFD_CLOEXEC)
    try:
        os.write(question, script.encode())
        os.lseek(question, 0, os.SEEK_SET)
        moves = [(os.POSIX_SPAWN_DUP2, descriptor, at) for at, descriptor in enumerate((question, answer, answer))]
        pid = os.posix_spawn(path, [_NFT, "-f", "-"], {"LC_ALL": "C"}, file_actions=moves)
        code = _ended(pid, operation)
        complaint = os.pread(answer, _LONGEST_COMPLAINT, 0).decode(errors="replace") if code else ""
        if code < 0 and not complaint:
            raise KernelError(errno.EINTR, f"{operation}: signal {-code} ended nft")
        if code:
            raise _refusal(complaint, operation)
    finally:
        os.close(question)
        os.close(answer)


def _ended(pid: int, operation: str) -> int:
    """Wait for nft and return its exit code, which is negative where a signal ended it.

    Raises:
        KernelError: it did not end in time, and was killed.
    """
    handle = os.pidfd_open(pid)
    try:
        in_time = select.select([handle], [], [], _PATIENCE)[0]
        if not in_time:
            os.kill(pid, signal.SIGKILL)
    finally:
        os.close(handle)
    _, status = os.waitpid(pid, 0)
    if not in_time:
        raise KernelError(errno.ETIMEDOUT, f"{operation}: nft did not end in {_PATIENCE:g} s")
    return os.waitstatus_to_exitcode(status)


def _refusal(complaint: str, operation: str) -> KernelError:
    """Find the errno in what nft says: it prints the kernel's in words, as the last of its first line."""
    first = complaint.partition("\n")[0]
    words = first.rpartition(": ")[2].partition(";")[0]
    code = next((number for number in errno.errorcode if os.strerror(number) == words), 0)
    if not code:
        return KernelError(errno.EINVAL, f"{operation}: nft says {first!r}")
    missing = {errno.EPERM: "CAP_NET_ADMIN", errno.EOPNOTSUPP: "kernel support for nftables"}
    return KernelError(code, operation, missing.get(code, ""))
