"""DHCPv6 cases as data: tests/data/dhcpv6/ID.case, each a lease and messages with what must come of them.

    what     one sentence                           spec  the section it is from
    lease    {"hostname": ""}     what is unlike `messages.LEASE`; an address is [address, preferred, valid]
    request  source=… destination=… sport=…, where unlike a client's; below it the message in hexadecimal
    event    the server's word for it
    kind     the message type of the reply
    options  its codes in order
    ia       an IA or status of it in the words of `messages.said`; once for each there is, in order
    option   any other one of them with its value
    reply    below it the frame, or `silence` beside it

Request to reply come again for every further message. All is written by hand from the RFCs but the frame of the
reply: VMNET_GOLDEN=write writes it, and the lines above it, scapy and tshark judge it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.testlib.dhcp.cases import parts
from tests.testlib.ipv6.messages import LEASE, frame, outcome
from vmnet.compile.dhcpv6 import compile_replies
from vmnet.model.lease import LeasedAddress

if TYPE_CHECKING:
    from vmnet.server.ipv6.replies import Replies

DIRECTORY = Path(__file__).parents[2] / "data" / "dhcpv6"
_COLUMNS = 96


@dataclass
class Exchange:
    """A message of the guest and what must come of it; of silence `reply` is empty."""

    fields: str = ""
    message: list[str] = field(default_factory=list)
    event: str = ""
    kind: str = ""
    options: str = ""
    ias: list[str] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    reply: bytes = b""

    @property
    def request(self) -> bytes:
        """The frame."""
        given: dict[str, Any] = dict(word.split("=") for word in self.fields.split())
        given |= {name: int(given[name]) for name in ("sport", "hop_limit") if name in given}
        return frame(bytes.fromhex("".join(self.message)), **given)


@dataclass
class Case:
    """One file."""

    name: str
    what: str = ""
    spec: str = ""
    lease: dict[str, Any] = field(default_factory=dict)
    exchanges: list[Exchange] = field(default_factory=list)


def names() -> list[str]:
    """All cases there are."""
    return sorted(path.stem for path in DIRECTORY.glob("*.case"))


def load(name: str) -> Case:
    """Read a file."""
    case = Case(name)
    for key, value, below in parts(DIRECTORY / f"{name}.case"):
        _take(case, key, value, [line.strip() for line in below.splitlines()])
    return case


def _take(case: Case, key: str, value: str, below: list[str]) -> None:
    if key == "request":
        case.exchanges.append(Exchange(value, below))
    elif key == "reply":
        case.exchanges[-1].reply = bytes.fromhex("".join(below))
    elif key == "lease":
        case.lease = json.loads(value)
    elif key in ("ia", "option"):
        exchange = case.exchanges[-1]
        (exchange.ias if key == "ia" else exchange.values).append(value)
    else:
        setattr(case if key in ("what", "spec") else case.exchanges[-1], key, value)


def save(case: Case) -> None:
    """Write a file."""
    lines = [f"what {case.what}", f"spec {case.spec}"]
    lines += [f"lease {json.dumps(case.lease)}"] if case.lease else []
    for exchange in case.exchanges:
        lines += [f"request {exchange.fields}".rstrip(), *(f"  {line}" for line in exchange.message)]
        lines.append(f"event {exchange.event}")
        if exchange.reply:
            lines += [f"kind {exchange.kind}", f"options {exchange.options}"]
            lines += [
                *(f"ia {words}" for words in exchange.ias),
                *(f"option {value}" for value in exchange.values),
            ]
            text = exchange.reply.hex()
            lines += ["reply", *(f"  {text[at : at + _COLUMNS]}" for at in range(0, len(text), _COLUMNS))]
        else:
            lines.append("reply silence")
    (DIRECTORY / f"{case.name}.case").write_text("\n".join([*lines, ""]), encoding="utf-8")


@cache
def _compiled(changes: str) -> Replies:
    given: dict[str, Any] = json.loads(changes)
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    if "addresses" in given:
        given["addresses"] = tuple(LeasedAddress(*entry) for entry in given["addresses"])
    return compile_replies(replace(LEASE, **given))


def outcome_of(case: Case, exchange: Exchange) -> tuple[str, bytes]:
    """What becomes of the message: the server's word and its reply."""
    return outcome(exchange.request, _compiled(json.dumps(case.lease)))
