"""The DHCP client of Windows, imitated: its options, flags and habits, message by message through a raw tap.

scapy writes what it sends and dissects what it gets.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface
from typing import TYPE_CHECKING, Any

from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from testbed.dns_names import domain_names
from testbed.eavesdrop import dhcp_options
from testbed.facts import DEFAULT, GuestFacts, RouteFact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.tap_guest import RawTap

REQUEST_LIST = [1, 3, 6, 15, 31, 33, 43, 44, 46, 47, 119, 121, 249, 252]
BROADCAST = 0x8000
NAME = "WIN-VM"
NO_ADDRESS = "0.0.0.0"  # noqa: S104 -- nothing is bound
EVERYBODY = "255.255.255.255"


@dataclass(slots=True)
class Windows:
    """A Windows guest's client on a tap. Each call is a message; those that want an answer give it."""

    tap: RawTap
    mac: str
    _xids: Iterator[int] = field(default_factory=lambda: itertools.count(0x57494E00))

    def discover(self) -> Any:  # noqa: ANN401 -- scapy is untyped
        """Look for a server, at boot."""
        return self._ask([("message-type", "discover"), *self._name(), *self._list()])

    def request(self, address: str, server: str) -> Any:  # noqa: ANN401
        """Take an offer."""
        chosen = [("requested_addr", address), ("server_id", server)]
        return self._ask([("message-type", "request"), *chosen, *self._name(), *self._fqdn(), *self._list()])

    def reboot(self, address: str) -> Any:  # noqa: ANN401
        """Ask for the remembered address, without naming a server."""
        remembered = ("requested_addr", address)
        return self._ask([("message-type", "request"), remembered, *self._name(), *self._fqdn(), *self._list()])

    def inform(self, address: str) -> Any:  # noqa: ANN401
        """Ask for more than the lease gave, as for a proxy (option 252)."""
        return self._ask([("message-type", "inform"), *self._name(), *self._list()], ciaddr=address, flags=0)

    def decline(self, address: str, server: str) -> None:
        """Say that somebody else answers ARP for the address."""
        refused = [("requested_addr", address), ("server_id", server)]
        self._send([("message-type", "decline"), *refused], xid=next(self._xids))

    def _ask(self, options: list[Any], **fields: Any) -> Any:  # noqa: ANN401
        xid = next(self._xids)
        self._send(options, xid=xid, **fields)

        def answers(frame: bytes) -> bool:
            packet = Ether(frame)
            return BOOTP in packet and packet[BOOTP].xid == xid and packet[BOOTP].op == 2

        return Ether(self.tap.receive(answers))

    def _send(self, options: list[Any], **fields: Any) -> None:  # noqa: ANN401
        bootp = {"ciaddr": NO_ADDRESS, "flags": BROADCAST, "chaddr": bytes.fromhex(self.mac.replace(":", ""))}
        kind, *rest = options
        identity = ("client_id", b"\x01" + bytes.fromhex(self.mac.replace(":", "")))
        packet = (
            Ether(src=self.mac, dst="ff:ff:ff:ff:ff:ff")
            / IP(src=fields.get("ciaddr", NO_ADDRESS), dst=EVERYBODY, ttl=128)
            / UDP(sport=68, dport=67)
            / BOOTP(**bootp | fields)
            / DHCP(options=[kind, identity, *rest, "end"])
        )
        self.tap.send(bytes(packet))

    def _name(self) -> list[Any]:
        return [("hostname", NAME), ("vendor_class_id", b"MSFT 5.0")]

    def _fqdn(self) -> list[Any]:
        """Option 81: its own name, its forward record left to the server (RFC 4702)."""
        return [("client_FQDN", b"\0\0\0" + NAME.encode("ascii"))]

    def _list(self) -> list[Any]:
        return [("param_req_list", REQUEST_LIST)]


def told(answer: Any, mac: str) -> GuestFacts:  # noqa: ANN401
    """What a guest has that was told this; it reads option 121, to which 249 must be equal for older ones."""
    said = {entry[0]: entry[1] for entry in answer[DHCP].options if isinstance(entry, tuple)}
    raw = options(answer)
    interface = IPv4Interface(f"{answer[BOOTP].yiaddr}/{said['subnet_mask']}")
    routes = [RouteFact(str(interface.network)), *map(_route, said["classless_static_routes"])]
    return GuestFacts(
        mac=mac,
        address=str(interface.ip),
        prefixlen=interface.network.prefixlen,
        gateway=next(route.gateway for route in routes if route.dst == DEFAULT),
        routes=tuple(routes[interface.network.prefixlen == 32 :]),
        mtu=said["interface-mtu"],
        nameservers=tuple(str(IPv4Address(raw[6][at : at + 4])) for at in range(0, len(raw[6]), 4)),
        search=domain_names(raw[119]),
        lease_time=said.get("lease_time"),
    )


def options(answer: Any) -> dict[int, bytes]:  # noqa: ANN401
    """The options of an answer by number, in the order they came."""
    return dhcp_options(bytes(answer[BOOTP]))


def _route(text: str) -> RouteFact:
    dst, _, gateway = text.partition(":")
    return RouteFact(dst, "" if gateway == NO_ADDRESS else gateway)
