"""1xx: the place, and what vmnet may do there. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmnet.diagnosis.evidence import ERROR, INFO, WARNING, Finding, refused
from vmnet.model.settings import ISOLATION_OFF
from vmnet.plumbing.node_signs import refuse_node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.diagnosis.evidence import Evidence

_NEEDED = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13}
_SERVERS = {"CAP_SETGID": 6, "CAP_SETUID": 7, "CAP_SETPCAP": 8}
"""linux/capability.h."""


def host_namespace(evidence: Evidence) -> Iterator[Finding]:
    """A VM that takes the host's address takes the host off the network."""
    if evidence.surroundings.is_host:
        yield Finding(
            ERROR,
            "this is the host's own network namespace, and a VM would take the host off the network",
            ("/proc/self/ns/net is the network namespace that the machine started with",),
            "run vmnet in the pod, or name the pod's namespace with --netns",
        )


def capabilities(evidence: Evidence) -> Iterator[Finding]:
    """All of the plumbing takes one capability, the server's socket another."""
    missing = _missing(evidence, _NEEDED)
    if missing:
        yield Finding(
            ERROR,
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing: `up` cannot work, "
            "and the isolation rules cannot be read",
            (_effective(evidence),),
            "give the container NET_ADMIN and NET_RAW (securityContext.capabilities.add), and let it run as "
            "root: Kubernetes gives other users none",
        )


def tun(evidence: Evidence) -> Iterator[Finding]:
    """A tap is made by /dev/net/tun."""
    if evidence.surroundings.tun:
        yield Finding(
            WARNING if evidence.bound else ERROR,
            "cannot create a tap",
            (f"open /dev/net/tun: {evidence.surroundings.tun}",),
            "give the container the device /dev/net/tun, by a device plugin or hostPath; on the node, `modprobe "
            "tun`",
        )
    if evidence.surroundings.tun_closed:
        yield Finding(
            WARNING,
            f"QEMU as uid {evidence.told_settings.owner} cannot open /dev/net/tun, which it needs to attach "
            "to the tap, unless libvirt or a launcher opens the tap for it",
            (f"/dev/net/tun has {evidence.surroundings.tun_closed}",),
            "on the node, run `chmod 0666 /dev/net/tun` (udev's default; a tap still has its owner)",
        )


def nft(evidence: Evidence) -> Iterator[Finding]:
    """The rules that isolate the guest are loaded by nft."""
    isolated = evidence.told_settings.isolation != ISOLATION_OFF
    if isolated and not evidence.surroundings.nft:
        yield Finding(
            ERROR,
            "nft is missing, which loads the rules that isolate the guest",
            ("nft is neither in PATH nor in a usual place",),
            "install nftables, or do without isolation: --isolation off",
        )


def sysctls(evidence: Evidence) -> Iterator[Finding]:
    """Nothing needs them, but two things are better with them."""
    if not evidence.surroundings.sysctls_writable:
        yield Finding(
            INFO,
            "/proc/sys is read-only: neither accept_ra of the bridge nor bridge-nf-call-* can be set from here",
            ("/proc/sys/net/ipv6/conf/default/accept_ra cannot be written",),
            "nothing, unless VMN-405 or VMN-406 is found too, which say what to run on the node; "
            "isolation blocks router advertisements",
        )


def server_user(evidence: Evidence) -> Iterator[Finding]:
    """The server becomes a user of its own where it may; it sheds its capabilities anyway."""
    missing = _missing(evidence, _SERVERS)
    if missing and evidence.told_settings.sandbox and not evidence.bound:
        yield Finding(
            INFO,
            f"the DHCP server will run as the user that starts it, because {', '.join(missing)} is missing; the "
            "rest of its sandbox works",
            (_effective(evidence),),
            "nothing; for a user of its own, add SETUID, SETGID and SETPCAP to the container",
        )


def state_directory(evidence: Evidence) -> Iterator[Finding]:
    """Before the first change the pod's facts are written down."""
    if evidence.surroundings.state_directory:
        yield Finding(
            ERROR,
            "cannot save the pod's configuration, so `up` would refuse to change anything",
            (evidence.surroundings.state_directory,),
            "name a directory that root can write with --state-dir, and mount a volume there that outlives the "
            "container",
        )


def node_namespace(evidence: Evidence) -> Iterator[Finding]:
    """A node that is a container has a namespace that is not the machine's first."""
    signs = evidence.surroundings.node_signs
    if not evidence.bound:
        yield from refused(lambda: refuse_node(signs), signs)
    elif signs:
        yield Finding(
            ERROR,
            "this looks like the network namespace of a node, and the VM has the node's network",
            signs,
            "if it is a node's, run `vmnet down`, which gives the node its network back, and remove hostNetwork "
            "from the pod; if it is certainly a pod's, nothing: --on-node on leaves this check out",
        )


def _missing(evidence: Evidence, wanted: dict[str, int]) -> list[str]:
    return [name for name, bit in wanted.items() if not evidence.surroundings.capabilities >> bit & 1]


def _effective(evidence: Evidence) -> str:
    return f"CapEff is {evidence.surroundings.capabilities:016x}"
