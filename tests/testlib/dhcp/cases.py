"""DHCP cases as data: tests/data/dhcp/ID.case, each a pod's facts and frames with what must come of them.

    what     one sentence                           spec  the section it is from
    facts    {"mtu": 9001, "routes": [["0.0.0.0/0", "10.0.0.1"]]}     what is unlike POD, RESOLV_CONF and HOSTNAME
    warns    a part of a warning of the lease; once for each there is
    request  status=8 vlan=5, if the kernel says so beside the frame; below it the frame
    event    the server's word for it
    to       Ethernet and IP destination of the reply
    fields   ciaddr, yiaddr, siaddr
    options  the codes in the order in which a client reads them
    option   one of them with its value
    reply    below it the frame, or `silence` beside it; ARP has nothing between

Request to reply come again for every further frame. Frames are hexadecimal, `00*64` being 64 octets of zero. All
is written by hand from the RFCs but the frame of the reply: VMNET_GOLDEN=write writes it, and the lines above it,
scapy and tshark judge it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmnet.compile.dhcp import compile_replies
from vmnet.lease.ipv4 import lease
from vmnet.model.codec import decode, encode, plain
from vmnet.model.lease import Lease
from vmnet.model.links import Address, Neighbour, Route
from vmnet.model.pod import PodInterface
from vmnet.model.settings import Settings, Told
from vmnet.server.dhcp.answer import answer
from vmnet.server.dhcp.arp import answer as answer_arp
from vmnet.server.dhcp.request import parse
from vmnet.settings.resolv import parse as parse_resolv

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.server.dhcp.replies import Replies

DIRECTORY = Path(__file__).parents[2] / "data" / "dhcp"
POD = PodInterface(
    "eth0",
    2,
    "02:00:00:00:00:01",
    1450,
    addresses=(Address("eth0", "10.0.0.5", 24, broadcast="10.0.0.255"),),
    routes=(
        Route("eth0", "0.0.0.0/0", "10.0.0.1"),
        Route("eth0", "10.0.0.0/24", scope=253),
        Route("eth0", "10.244.0.0/16", "10.0.0.2"),
    ),
)
RESOLV_CONF = "search default.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
HOSTNAME = "web-0"
_ZEROS = re.compile(rb"(\0{12,})")
_COLUMNS = 96


@dataclass
class Exchange:
    """A frame of the guest and what must come of it; of silence `reply` is empty."""

    request: bytes
    status: int = 0
    vlan: int = 0
    event: str = ""
    to: str = ""
    fields: str = ""
    options: str = ""
    values: list[str] = field(default_factory=list)
    reply: bytes = b""


@dataclass
class Case:
    """One file."""

    name: str
    what: str = ""
    spec: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    warns: list[str] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)


def names() -> list[str]:
    """All cases there are."""
    return sorted(path.stem for path in DIRECTORY.glob("*.case"))


def load(name: str) -> Case:
    """Read a file."""
    case = Case(name)
    for key, value, frame in parts(DIRECTORY / f"{name}.case"):
        _take(case, key, value, _unhex(frame))
    return case


def parts(path: Path) -> Iterator[tuple[str, str, str]]:
    """Of each line that is not indented its first word, the rest of it, and the indented lines below."""
    for part in re.split(r"\n(?=\S)", path.read_text(encoding="utf-8").rstrip()):
        first, _, below = part.partition("\n")
        key, _, value = first.partition(" ")
        yield key, value.strip(), below


def _take(case: Case, key: str, value: str, frame: bytes) -> None:
    if key == "request":
        said = dict(word.split("=") for word in value.split())
        case.exchanges.append(Exchange(frame, int(said.get("status", 0)), int(said.get("vlan", 0))))
    elif key == "reply":
        case.exchanges[-1].reply = frame
    elif key == "facts":
        case.facts = json.loads(value)
    elif key == "warns":
        case.warns.append(value)
    elif key == "option":
        case.exchanges[-1].values.append(value)
    else:
        setattr(case if key in ("what", "spec") else case.exchanges[-1], key, value)


def save(case: Case) -> None:
    """Write a file."""
    lines = [f"what {case.what}", f"spec {case.spec}"]
    lines += [f"facts {json.dumps(case.facts)}"] if case.facts else []
    lines += [f"warns {words}" for words in case.warns]
    for exchange in case.exchanges:
        beside = [f"{name}={getattr(exchange, name)}" for name in ("status", "vlan") if getattr(exchange, name)]
        lines += [" ".join(["request", *beside]), *_hex(exchange.request), f"event {exchange.event}"]
        if exchange.reply:
            lines += [f"to {exchange.to}"] if exchange.to else []
            lines += [f"fields {exchange.fields}"] if exchange.fields else []
            lines += [f"options {exchange.options}"] if exchange.options else []
            lines += [*(f"option {value}" for value in exchange.values), "reply", *_hex(exchange.reply)]
        else:
            lines.append("reply silence")
    (DIRECTORY / f"{case.name}.case").write_text("\n".join([*lines, ""]), encoding="utf-8")


def lease_of(case: Case) -> Lease:
    """What the guest of these facts is told."""
    given = dict(case.facts)
    pod = replace(POD, mtu=given.pop("mtu", POD.mtu))
    if "addresses" in given:
        pod = replace(pod, addresses=tuple(Address("eth0", *entry) for entry in given.pop("addresses")))
    if "routes" in given:
        pod = replace(pod, routes=tuple(_route(*entry) for entry in given.pop("routes")))
    permanent = given.pop("neighbours", ())
    pod = replace(pod, neighbours=tuple(Neighbour("eth0", dst, mac, permanent=True) for dst, mac in permanent))
    told = decode(Told, json.dumps({**plain(Told()), **given.pop("told", {})}))
    resolver = parse_resolv(given.pop("resolv_conf", RESOLV_CONF))
    settings = Settings(hostname=given.pop("hostname", HOSTNAME), told=told, **given)
    return lease(pod, resolver, settings)


def _route(dst: str, gateway: str = "", metric: int = 0, mtu: int = 0) -> Route:
    return Route("eth0", dst, gateway, metric, metrics=((2, mtu),) if mtu else ())


@cache
def _compiled(lease_: str) -> Replies:
    return compile_replies(decode(Lease, lease_))


def outcome(lease_: Lease, exchange: Exchange) -> tuple[str, bytes]:
    """What becomes of the request: the server's word and its reply."""
    replies = _compiled(encode(lease_))
    request = parse(exchange.request, replies.vm_mac, exchange.status, exchange.vlan)
    if isinstance(request, str):
        reply = answer_arp(exchange.request, replies, exchange.status, exchange.vlan)
        return ("arp_reply", reply) if reply else (request, b"")
    answered = answer(request, replies)
    return answered.event, answered.frame or b""


def _hex(frame: bytes) -> list[str]:
    """A frame in lines of bounded length, long runs of zeros in words."""
    lines = [""]
    for part in filter(None, _ZEROS.split(frame)):
        text = part.hex() if part.strip(b"\0") else f"00*{len(part)}"
        for word in (text[at : at + _COLUMNS] for at in range(0, len(text), _COLUMNS)):
            if len(lines[-1]) + len(word) > _COLUMNS:
                lines.append("")
            lines[-1] += f" {word}"
    return [f" {line}" for line in lines]


def _unhex(text: str) -> bytes:
    parts = (word.partition("*") for word in text.split())
    return b"".join(bytes.fromhex(octets) * int(times or 1) for octets, _, times in parts)
