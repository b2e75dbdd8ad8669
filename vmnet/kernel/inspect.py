"""What `vmnet doctor` asks of the kernel beyond a `Status`: how links, neighbours and addresses are doing."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vmnet.kernel.netlink import RTM_GETLINK, RTM_GETNEIGH, ifinfmsg, name_of, ndmsg

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.kernel.netlink import NetlinkSocket

FORWARDING = 3
"""BR_STATE_FORWARDING (linux/if_bridge.h)."""
UNANSWERED = ("incomplete", "failed")
"""What a neighbour is that has given no answer (linux/neighbour.h, NUD_*)."""
_NUD_INCOMPLETE, _NUD_FAILED, _NUD_NOARP = 0x01, 0x20, 0x40
_IFA_F_OPTIMISTIC, _IFA_F_DADFAILED, _IFA_F_TENTATIVE = 0x04, 0x08, 0x40
"""linux/if_addr.h."""
TUN = "/dev/net/tun"
_BRIDGE_CALLS = "/proc/sys/net/bridge/bridge-nf-call-"


@dataclass(frozen=True, slots=True)
class LinkState:
    """How a link is doing."""

    ifname: str
    carrier: bool
    port_state: int | None = None
    """BR_STATE_* of a bridge port; None for what is none."""
    received: int = 0
    """Frames that came in by it: of a tap, those that the guest has sent (drivers/net/tun.c, tun_get_user)."""
    sent: int = 0


@dataclass(frozen=True, slots=True)
class NeighbourState:
    """An entry of the ARP or neighbour-discovery cache, also without a MAC."""

    ifname: str
    dst: str
    state: str
    """`incomplete`, `failed`, or `known` for all others."""


@dataclass(frozen=True, slots=True)
class Probed:
    """An IPv6 address that is not, or not yet, usable by duplicate address detection (RFC 4862 §5.4)."""

    ifname: str
    address: str
    failed: bool
    """Another machine has it; else it is still being probed."""


def link_states(netlink: NetlinkSocket) -> tuple[LinkState, ...]:
    """Return how all links are doing.

    Raises:
        KernelError: the kernel refused.
    """
    return tuple(_link_state(message) for message in netlink.dump(ifinfmsg(), RTM_GETLINK))


def _link_state(message: Any) -> LinkState:  # noqa: ANN401 # pyroute2 is untyped
    info = message.get_attr("IFLA_LINKINFO")
    counted = message.get_attr("IFLA_STATS64") or {}
    return LinkState(
        ifname=name_of(message.get_attr("IFLA_IFNAME")),
        carrier=bool(message.get_attr("IFLA_CARRIER")),
        port_state=info and info.get_nested("IFLA_INFO_SLAVE_DATA", "IFLA_BRPORT_STATE"),
        received=counted.get("rx_packets", 0),
        sent=counted.get("tx_packets", 0),
    )


def neighbour_states(netlink: NetlinkSocket) -> tuple[NeighbourState, ...]:
    """Return what became of all that this namespace wanted to reach.

    Raises:
        KernelError: the kernel refused.
    """
    return tuple(_neighbour_states(netlink))


def _neighbour_states(netlink: NetlinkSocket) -> Iterator[NeighbourState]:
    names = dict(socket.if_nameindex())
    words = {_NUD_INCOMPLETE: "incomplete", _NUD_FAILED: "failed"}
    for message in netlink.dump(ndmsg(), RTM_GETNEIGH):
        is_ip = message["family"] in (socket.AF_INET, socket.AF_INET6)
        if is_ip and not message["state"] & _NUD_NOARP and message["ifindex"] in names:
            state = words.get(message["state"], "known")
            yield NeighbourState(names[message["ifindex"]], message.get_attr("NDA_DST"), state)


def probed_addresses() -> tuple[Probed, ...]:
    """Return the IPv6 addresses that duplicate address detection keeps from use; none without IPv6."""
    return tuple(_probed(_text("/proc/self/net/if_inet6")))


def _probed(table: str) -> Iterator[Probed]:
    """Read if_inet6: address, ifindex, prefix length, scope, flags, ifname (net/ipv6/addrconf.c, if6_seq_show)."""
    # Not splitlines: a link's name may hold what Unicode takes for the end of a line.
    for line in table.split("\n"):
        words = line.split(maxsplit=5)
        if len(words) < 6:
            continue
        number, _ifindex, _length, _scope, flags, ifname = words
        bits = int(flags, 16)
        failed = bool(bits & _IFA_F_DADFAILED)
        if failed or (bits & _IFA_F_TENTATIVE and not bits & _IFA_F_OPTIMISTIC):
            yield Probed(ifname, socket.inet_ntop(socket.AF_INET6, bytes.fromhex(number)), failed)


def bridge_calls() -> tuple[str, ...]:
    """Return the programs' names whose rules bridged frames are shown to here by br_netfilter."""
    names = ("iptables", "ip6tables", "arptables")
    return tuple(name for name in names if _text(f"{_BRIDGE_CALLS}{name}").strip() == "1")


def legacy_tables() -> tuple[str, ...]:
    """Return the tables of the older iptables that stand here."""
    tables = "".join(_text(f"/proc/self/net/{name}") for name in ("ip_tables_names", "ip6_tables_names"))
    return tuple(dict.fromkeys(tables.split()))


def abstract_sockets(prefix: str) -> tuple[str, ...]:
    """Return what follows `prefix` in the names of this namespace's abstract unix sockets (proc_net_unix(5))."""
    # A name may hold whatever there is, ends of lines among it: what follows in that name is a line to us.
    paths = (line.split()[-1] for line in _text("/proc/self/net/unix").split("\n")[1:] if line.strip())
    found = (path.removeprefix(f"@{prefix}") for path in paths if path.startswith(f"@{prefix}"))
    return tuple(dict.fromkeys(found))


def effective_capabilities() -> int:
    """Return this process's effective capabilities as bits (linux/capability.h)."""
    status = _text("/proc/self/status").split()
    return int(status[status.index("CapEff:") + 1], 16)


def tun_trouble() -> str:
    """Say why no tap can be made; empty where one can."""
    try:
        os.close(os.open(TUN, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return error.strerror or "it cannot be opened"
    return ""


def tun_closed_to(uid: int | None, gid: int | None) -> str:
    """Say why a QEMU of that user cannot open /dev/net/tun; empty where it can, or where nobody knows.

    It has to even where the tap is its: a tap is opened by that device.
    """
    try:
        there = os.stat(TUN)
    except OSError:
        return ""
    ours = ((there.st_uid, uid, 0o600), (there.st_gid, gid, 0o060))
    needed = next((bits for owner, who, bits in ours if owner == who), 0o006)
    if not uid or there.st_mode & needed == needed:
        return ""
    return f"mode {stat.S_IMODE(there.st_mode):04o}, of {there.st_uid}:{there.st_gid}"


def _text(path: str) -> str:
    with contextlib.suppress(OSError), open(path, errors="replace") as file:
        return file.read()
    return ""
