"""What a user may set, checked: flags and environment as text → Config."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vmnet.errors import UsageError
from vmnet.kernel.own_files import reopened
from vmnet.model.links import FOREVER, IFNAME_BYTES, is_link_local, is_link_name
from vmnet.model.settings import DHCP_EXTERNAL, DHCP_OFF, DHCP_ON, ISOLATIONS, Settings, Told

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_STATE_DIR = "/run/vmnet"
DEFAULT_LISTEN = "127.0.0.1:9431"
DEFAULT_HOOKS_DIR = "/etc/libvirt/hooks"
DEFAULT_RESOLV_CONF = "/etc/resolv.conf"
SMALLEST_MTU, LARGEST_MTU = 68, 65535
"""RFC 791 and RFC 2132 §5.1; the field has 16 bits."""
SHORTEST_LEASE = 4
"""Seconds: T1, T2 and the end are still three moments."""
INFINITE = "infinite"
DHCP_MODES = (DHCP_ON, DHCP_OFF, DHCP_EXTERNAL)
DEFAULT_GRACE = 30.0
"""Seconds from SIGTERM until `vmnet launch` destroys the domain."""
_LONGEST_SECONDS = 86400
RENDER_FORMATS = ("cloud-init", "networkd", "netplan", "ifupdown", "kernel-ip", "json")
"""What `vmnet render` can write; here, so that --help need not import it."""
PLAN_FORMATS = ("text", "json", "mermaid", "svg")
"""What `vmnet plan` can write."""
LARGEST_QUEUE_COUNT = 256
"""MAX_TAP_QUEUES (linux/if_tun.h)."""
LARGEST_ID = 0xFFFFFFFE
"""(uid_t)-1 means "nobody in particular" to the kernel."""
_LARGEST_FILE = 64 * 1024
NOBODY = 65534
"""The uid and gid that belong to nobody (user_namespaces(7), /proc/sys/kernel/overflowgid)."""
SANDBOX_OFF = (
    "the DHCP server's sandbox is off: a guest that takes the server over has all of vmnet's privileges; use it "
    "for debugging only"
)


@dataclass(frozen=True, slots=True)
class Config:
    """What one call of vmnet was asked for."""

    interface: str = ""
    """Empty for eth0, or the one with the default route."""
    settings: Settings = field(default_factory=Settings)
    tap_is_named: bool = False
    """Whether the tap's name is somebody's wish; else a free one is taken where that one is not."""
    default_hostname: str = ""
    """What the guest is called when nobody says: the pod's name."""
    netns: str = ""
    """The name or path of the namespace to act on; empty for the one we are in."""
    entered: bool = False
    """Whether we have gone to the one we are in, and our environment tells of another."""
    state_dir: str = DEFAULT_STATE_DIR
    resolv_conf: str = ""
    """Empty for the default file, which may be missing; a named one may not."""
    resolver_text: str | None = None
    """What that file says, where it was read already."""
    force: bool = False
    """Give the pod back although a program has the tap open."""
    resume: bool = False
    """Only bring back what is up already: somebody's `down` is not undone."""
    on_node: bool = False
    """Whether a namespace may be taken that looks like a cluster node's."""


@dataclass(frozen=True, slots=True)
class FromFile:
    """What a configuration file says of an interface."""

    texts: dict[str, str] = field(default_factory=dict)
    """By option what a flag could say too."""
    told: Told = field(default_factory=Told)


def link_name(text: str, what: str) -> str:
    """Return `text` if it is a link name.

    Raises:
        UsageError: it is not.
    """
    if not is_link_name(text):
        raise UsageError(
            f"{what} {text!r} is no link name: 1 to {IFNAME_BYTES} of A-Z a-z 0-9 . _ -, a letter or digit first"
        )
    return text


def mac_address(text: str) -> str:
    """Return a unicast MAC in lower case.

    Raises:
        UsageError: it is not six colon-separated bytes, is multicast or all zero.
    """
    parts = text.lower().split(":")
    if len(parts) != 6 or not all(len(part) == 2 and set(part) <= set("0123456789abcdef") for part in parts):
        raise UsageError(f"MAC {text!r} is not of the form 52:54:00:12:34:56")
    if int(parts[0], 16) & 1:
        raise UsageError(f"MAC {text} is a multicast address; a VM needs one whose first byte is even")
    if set(parts) == {"00"}:
        raise UsageError(f"MAC {text} is all zero")
    return ":".join(parts)


def isolation(text: str) -> str:
    """Return a word for how the guest is isolated.

    Raises:
        UsageError: it is none.
    """
    if text not in ISOLATIONS:
        raise UsageError(f"isolation {text!r} is none of {', '.join(ISOLATIONS)}")
    return text


def prefix(text: str) -> str:
    """Return an address, or a prefix as ADDRESS/LENGTH with the bits beyond it zero.

    Raises:
        UsageError: it is neither, or holds addresses that are nobody's own.
    """
    import ipaddress  # only who allows further addresses pays for it

    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise UsageError(f"address {text!r} is no address or prefix: {error}") from error
    if network.is_multicast or network.is_loopback:
        raise UsageError(f"address {text!r} is multicast or loopback, which a guest cannot send from")
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def listed(text: str, check: Callable[[str], str]) -> tuple[str, ...]:
    """Return the checked members of a list with commas, each once.

    Raises:
        UsageError: as `check` does.
    """
    return tuple(dict.fromkeys(check(member.strip()) for member in text.split(",")))


def mtu_bytes(text: str) -> int:
    """Return an MTU in bytes.

    Raises:
        UsageError: not a number DHCP can carry.
    """
    if not (text.isascii() and text.isdecimal()) or not SMALLEST_MTU <= int(text[:9]) <= LARGEST_MTU:
        raise UsageError(f"MTU {text!r} is not a number of bytes from {SMALLEST_MTU} to {LARGEST_MTU}")
    return int(text)


def queue_count(text: str) -> int:
    """Return a number of queues of the VM's NIC.

    Raises:
        UsageError: not a number of queues that a tap can have.
    """
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text[:9]) <= LARGEST_QUEUE_COUNT:
        raise UsageError(f"queues {text!r} is not a number from 1 to {LARGEST_QUEUE_COUNT}")
    return int(text)


def seconds(text: str, what: str) -> float:
    """Return a number of seconds, a day at most.

    Raises:
        UsageError: it is none.
    """
    digits = text.replace(".", "", 1)
    if not (digits.isascii() and digits.isdecimal()) or float(text) > _LONGEST_SECONDS:
        raise UsageError(f"{what} {text!r} is not a number of seconds from 0 to {_LONGEST_SECONDS}")
    return float(text)


def lease_seconds(text: str) -> int:
    """Return a lease time in seconds, `FOREVER` for one without end.

    Raises:
        UsageError: neither "infinite" nor a number that option 51 can carry.
    """
    if text == INFINITE:
        return FOREVER
    if not (text.isascii() and text.isdecimal()) or not SHORTEST_LEASE <= int(text[:11]) < FOREVER:
        raise UsageError(
            f"lease time {text!r} is neither {INFINITE!r} nor a number of seconds from {SHORTEST_LEASE}"
        )
    return int(text)


def dhcp_mode(text: str) -> str:
    """Return who answers the guest's DHCP.

    Raises:
        UsageError: nobody whom we know.
    """
    if text not in DHCP_MODES:
        raise UsageError(f"dhcp {text!r} is none of {', '.join(DHCP_MODES)}")
    return text


def owner_ids(text: str, what: str = "owner") -> tuple[int, int | None]:
    """Return the uid and, if given, the gid of `UID[:GID]`.

    Raises:
        UsageError: not numbers the kernel takes.
    """
    parts = text.split(":")
    if len(parts) > 2 or not all(
        part.isascii() and part.isdecimal() and len(part) < 11 and int(part) <= LARGEST_ID for part in parts
    ):
        raise UsageError(f"{what} {text!r} is not of the form UID or UID:GID, in numbers")
    return int(parts[0]), int(parts[1]) if len(parts) == 2 else None


def server_ids(text: str) -> tuple[int, int]:
    """Return the uid and gid that the server shall have; nobody's group where none is given.

    Raises:
        UsageError: not numbers the kernel takes, or root's.
    """
    uid, gid = owner_ids(text, "server user")
    if 0 in (uid, gid):
        raise UsageError(
            f"server user {text!r} is root, and a guest that takes the server over would be root, too; name "
            "another user"
        )
    return uid, NOBODY if gid is None else gid


def switch(text: str, what: str) -> bool:
    """Return whether it is on.

    Raises:
        UsageError: neither on nor off.
    """
    if text not in ("on", "off"):
        raise UsageError(f"{what} {text!r} is neither on nor off")
    return text == "on"


def host_name(text: str) -> str:
    """Return a host name that DHCP option 12 can carry.

    Raises:
        UsageError: not one label, or labels and dots, of letters, digits and hyphens (RFC 1123 §2.1).
    """
    labels = text.split(".")
    if len(text) > 253 or not all(_is_label(label) for label in labels):
        raise UsageError(f"host name {text!r} is not letters, digits and hyphens, 63 at most between dots")
    return text


def _is_label(text: str) -> bool:
    bare = text.replace("-", "")
    return 0 < len(text) <= 63 and bare.isascii() and bare.isalnum() and text[0] != "-" != text[-1]


def name_servers(text: str) -> tuple[str, ...]:
    """Return the addresses of name servers, as iproute2 writes them, of a list with commas.

    Raises:
        UsageError: one is no address, or none that a guest can use.
    """
    return listed(text, _name_server)


def _name_server(text: str) -> str:
    from vmnet.settings import resolv  # who names none need not wait for it

    address, fault = resolv.guest_address(text)
    if fault or text.strip("0123456789abcdefABCDEF:."):
        raise UsageError(f"name server {text!r} {fault or 'is not an address'}")
    if is_link_local(address):
        raise UsageError(
            f"name server {text!r} is link-local, which the guest cannot use without an interface name; name a "
            "global address"
        )
    return address


def search_domains(text: str) -> tuple[str, ...]:
    """Return the domains of a list with commas in lower case; none of "." or nothing.

    Raises:
        UsageError: one is no domain name.
    """
    domains = listed(text, _search_domain)
    return tuple(filter(None, domains))


def _search_domain(text: str) -> str:
    from vmnet.settings import resolv

    domain, fault = resolv.domain(text)
    if fault:
        raise UsageError(f"search domain {text!r} {fault}")
    return domain


def namespace(text: str) -> str:
    """Return the name or path of a network namespace.

    Raises:
        UsageError: empty.
    """
    if not text:
        raise UsageError("network namespace '' is no name or path")
    return text


def resolver_path(text: str) -> str:
    """Return the path of a resolv.conf.

    Raises:
        UsageError: empty.
    """
    if not text:
        raise UsageError("resolver file '' is no path")
    return text


def state_directory(text: str) -> str:
    """Return an absolute path.

    Raises:
        UsageError: empty, or not a path.
    """
    if not text or "\0" in text:
        raise UsageError(f"state directory {text!r} is not a path")
    return os.path.abspath(text)


def state_pattern(text: str) -> str:
    """Return an absolute path, in which a `*` may stand for one step.

    Raises:
        UsageError: empty, not a path, or a `*` elsewhere.
    """
    path = state_directory(text)
    if path.count("*") > path.split("/").count("*") or path.count("*") > 1:
        raise UsageError(
            f"state directory {text!r}: one * at most, in place of a whole directory name, as in /pods/*/vmnet"
        )
    return path


def resolver_text(path: str) -> str | None:
    """Return what the resolv.conf at `path` says; None where the default one does not exist.

    Raises:
        UsageError: a named file is not there, or it is no text file of a sensible size.
    """
    if not path and not os.path.exists(DEFAULT_RESOLV_CONF):
        return None
    return small_file(path or DEFAULT_RESOLV_CONF, "resolver file")


_NULL = os.makedev(1, 3)
"""/dev/null (Documentation/admin-guide/devices.txt)."""


def small_file(path: str, what: str) -> str:
    """Return the text of a file.

    Raises:
        UsageError: it is not there, or no file of a sensible size.
    """
    try:
        descriptor = _opened(path)
    except FileNotFoundError:
        raise UsageError(f"{what} {path}: no such file") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{what} {path!r}: {getattr(error, 'strerror', error)}") from error
    try:
        data = os.read(descriptor, _LARGEST_FILE + 1)
    except OSError as error:
        raise UsageError(f"{what} {path}: {error.strerror}") from error
    finally:
        os.close(descriptor)
    if len(data) > _LARGEST_FILE:
        raise UsageError(f"{what} {path} is larger than {_LARGEST_FILE} bytes")
    return data.decode(errors="replace")


def _opened(path: str) -> int:
    """Open a plain file, a pipe or /dev/null. Anything else is only looked at: to open a device may do something.

    Raises:
        OSError: it is something else, or cannot be opened.
        ValueError: it is no path.
    """
    named = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        found = os.fstat(named)
        mode, is_null = found.st_mode, stat.S_ISCHR(found.st_mode) and found.st_rdev == _NULL
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or is_null):
            raise OSError(errno.EINVAL, "it is neither a file nor a pipe; name one")
        return reopened(named, os.O_RDONLY)
    finally:
        os.close(named)
