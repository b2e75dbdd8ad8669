"""What the user wants of a binding."""

from __future__ import annotations

from dataclasses import dataclass

DHCP_ON, DHCP_OFF, DHCP_EXTERNAL = "on", "off", "external"
"""Who answers the guest's DHCP: vmnet, nobody, or a server in the pod network."""
ISOLATION_STRICT, ISOLATION_DHCP_ONLY, ISOLATION_OFF = ISOLATIONS = ("strict", "dhcp-only", "off")
"""The guest is nobody but the pod; only DHCP and router messages are kept apart; nothing is filtered."""


@dataclass(frozen=True, slots=True)
class Boot:
    """Where firmware that boots from the network finds its program; all empty for nothing."""

    server: str = ""
    """Option 66; an IPv4 address is `siaddr` as well."""
    file: str = ""
    """Option 67, and the field `file`."""
    vendor_class: str = ""
    """Option 60, by which firmware knows the answer as one for it: PXEClient, HTTPClient."""


@dataclass(frozen=True, slots=True)
class RawOption:
    """A DHCP option that vmnet knows nothing of, its value in hexadecimal."""

    code: int
    value: str


@dataclass(frozen=True, slots=True)
class Told:
    """What the guest is told beyond what the pod has, or instead of it."""

    lease_time: int = 86400
    """Seconds; `FOREVER` for a lease without end."""
    nameservers: tuple[str, ...] | None = None
    """None for those of the pod's resolv.conf."""
    domain_search: tuple[str, ...] | None = None
    ntp_servers: tuple[str, ...] = ()
    boot: Boot = Boot()
    ipv6_only_wait: int | None = None
    """Option 108 (RFC 8925), seconds: a guest that can do without IPv4 then does."""
    options: tuple[RawOption, ...] = ()
    ipv6: bool = True
    """Whether the guest is told of the pod's IPv6."""
    autonomous: bool = False
    """Whether it shall make IPv6 addresses of its own (RFC 4862), which the pod network may not route to it."""
    nat64_prefix: str = ""
    """PREF64 (RFC 8781)."""


DEFAULT_TAP = "tap0"
"""The first that is chosen where nobody names one; KubeVirt's name."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user wants of a binding beyond what the pod says; saved with the facts."""

    tap: str = DEFAULT_TAP
    owner: int | None = None
    """The uid that may open the tap without capabilities: QEMU's."""
    group: int | None = None
    mac: str = ""
    """The VM's MAC; empty for the pod's own."""
    mtu: int | None = None
    """What the guest is told, bytes; None for the pod's own."""
    hostname: str = ""
    multi_queue: bool = False
    """Whether QEMU opens the tap several times, once a queue; the kernel takes it only one way or the other."""
    isolation: str = ISOLATION_STRICT
    allow_addresses: tuple[str, ...] = ()
    """Prefixes the guest may use as its own besides the pod's addresses."""
    allow_macs: tuple[str, ...] = ()
    sandbox: bool = True
    """Whether the server gives everything up before it serves; without is for debugging."""
    server_user: int | None = None
    """The uid the server becomes; None for one of its own where vmnet is root, else for vmnet's."""
    server_group: int | None = None
    """The gid with `server_user`."""
    dhcp: str = DHCP_ON
    told: Told = Told()
