"""What a server says: its report, and the frames that it keeps. The one place where either is read.

A guest may have taken the server over, and somebody else may speak in its place. So a report is taken whole or not
at all: each member is of its kind and within its bounds, or the report is none. What an older server does not say
yet, and what a newer one says besides, is no reason to refuse it.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vmnet.model import left_out
from vmnet.model.bounded_json import parse
from vmnet.server import lease_state
from vmnet.server.state import COMPILING, FAILED, SERVING, STATES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vmnet.model.left_out import LeftOut

LARGEST_REPORT = 16384
"""Octets; the server's own limit (vmnet.server.loop)."""
_LARGEST_FRAME_LINE = 4096
MOST_FRAMES = 64
_FRAME_OCTETS = range(14, 601)
"""From an Ethernet header to what the server shows of a frame (vmnet.server.ring)."""
_LONGEST_FRAME = 65535
_SENDERS = ("guest", "server", "network")
_LEASE_STATES = (*lease_state.SPOKEN, lease_state.STATIC, lease_state.FOREIGN_ADDRESS)
_LONGEST_SECONDS = 1e9
"""Thirty years: the wall clock of then still fits the 32 bits that a capture file has for it."""
_LARGEST_COUNT = 1 << 64
_WORD, _SENTENCE = 64, 4096
_MOST = 128
"""Members of a list or object; a server has counters of some sixty names and tells of 32 MACs."""
_MAC_LENGTH = 17


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What the server has given up, by stage; of each stage that it has not reached, why."""

    on: bool
    reached: tuple[str, ...]
    missed: dict[str, str]


@dataclass(frozen=True, slots=True)
class RouterReport:
    """A router that the server plays for the guest; `mac` is empty where the gateway's is not known."""

    address: str
    gateway: str
    mac: str
    silent_seconds: float | None


@dataclass(frozen=True, slots=True)
class FamilyReport:
    """How the guest stands with one family, and what was counted of it."""

    lease: str
    lease_seconds: float | None = None
    """How long it has been in that state."""
    reached: dict[str, float] = field(default_factory=dict)
    """When each state was reached last, in seconds after the server's start."""
    uses: str = ""
    """The own address that the guest was seen to use last, and the foreign one; empty for none."""
    uses_foreign: str = ""
    events: dict[str, int] = field(default_factory=dict)
    addresses: tuple[str, ...] = ()
    routers: tuple[RouterReport, ...] = ()
    left_out: LeftOut = field(default_factory=dict)
    """What the last reply with its lease had no room for."""


@dataclass(frozen=True, slots=True)
class ServerReport:
    """What a server says of itself and of the guest. None, or nothing, for what it does not say."""

    state: str
    """One of vmnet.server.state."""
    ipv4: FamilyReport
    ipv6: FamilyReport | None = None
    reason: str = ""
    """Why it has failed."""
    sandbox: Sandbox | None = None
    version: str = ""
    pid: int | None = None
    """In its own process tree."""
    uid: int | None = None
    uptime_seconds: float | None = None
    resident_bytes: int | None = None
    vm_mac: str = ""
    yiaddr: str = ""
    server_id: str = ""
    last_xid: int | None = None
    ignored: dict[str, int] = field(default_factory=dict)
    """Frames that were not taken, by the reason."""
    errors: dict[str, int] = field(default_factory=dict)
    dropped_options: tuple[int, ...] = ()
    foreign_macs: tuple[str, ...] = ()

    @property
    def serves(self) -> bool:
        """Whether it answers the guest."""
        return self.state == SERVING

    @property
    def compiles(self) -> bool:
        """Whether it has no replies yet."""
        return self.state == COMPILING

    @property
    def failed(self) -> bool:
        """Whether it will never have any."""
        return self.state == FAILED

    @property
    def families(self) -> tuple[FamilyReport, ...]:
        """IPv4's, and IPv6's where there is one."""
        return (self.ipv4, self.ipv6) if self.ipv6 else (self.ipv4,)


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame, or its beginning: its number, when and by whom it was sent, and what became of it in a word."""

    number: int
    at: float
    """CLOCK_MONOTONIC, seconds."""
    sender: str
    word: str
    length: int
    data: bytes


def read_report(answer: bytes | None) -> ServerReport | None:
    """Return the report that a server has answered with, a line of JSON; None for anything else."""
    if not answer or not answer.endswith(b"\n"):
        return None
    try:
        return _report(_object(parse(answer, LARGEST_REPORT + 1)))
    except ValueError:
        return None


def read_frames(lines: Iterable[bytes]) -> list[Frame]:
    """Return the frames that a server has shown, the newest 64; a line that is none of a server's is left out."""
    frames: list[Frame] = []
    for line in lines:
        try:
            frames.append(_frame(_object(parse(line, _LARGEST_FRAME_LINE))))
        except ValueError:
            continue
    return frames[-MOST_FRAMES:]


def as_json(report: ServerReport) -> dict[str, Any]:
    """Return it as `vmnet status --json` has it: as the server said it."""
    sandbox = report.sandbox
    return {
        "version": report.version,
        "state": report.state,
        "reason": report.reason,
        **_family_as_json(report.ipv4),
        "uptime_seconds": report.uptime_seconds or 0.0,
        "vm_mac": report.vm_mac,
        "yiaddr": report.yiaddr,
        "server_id": report.server_id,
        "last_xid": report.last_xid,
        "ignored": report.ignored,
        "errors": report.errors,
        "dropped_options": list(report.dropped_options),
        "foreign_macs": list(report.foreign_macs),
        "ipv6": report.ipv6 and _ipv6_as_json(report.ipv6),
        "pid": report.pid or 0,
        "uid": report.uid or 0,
        "sandbox": sandbox and {"on": sandbox.on, "reached": list(sandbox.reached), "missed": sandbox.missed},
        "resident_bytes": report.resident_bytes,
    }


def _family_as_json(family: FamilyReport) -> dict[str, Any]:
    return {
        "lease": family.lease,
        "lease_seconds": family.lease_seconds or 0.0,
        "reached": family.reached,
        "uses": family.uses,
        "uses_foreign": family.uses_foreign,
        "events": family.events,
        **(
            {"left_out": {str(code): values for code, values in family.left_out.items()}}
            if family.left_out
            else {}
        ),
    }


def _ipv6_as_json(family: FamilyReport) -> dict[str, Any]:
    routers = [
        {
            "address": router.address,
            "gateway": router.gateway,
            "mac": router.mac,
            "silent_seconds": router.silent_seconds,
        }
        for router in family.routers
    ]
    return {**_family_as_json(family), "addresses": list(family.addresses), "routers": routers}


def _report(said: dict[str, Any]) -> ServerReport:
    ipv6 = said.get("ipv6")
    return ServerReport(
        state=_one_of(said.get("state"), STATES),
        ipv4=_family(said),
        ipv6=None if ipv6 is None else _family(_object(ipv6)),
        reason=_maybe(said, "reason", _sentence) or "",
        sandbox=_maybe(said, "sandbox", _sandbox),
        version=_maybe(said, "version", _word) or "",
        pid=_maybe(said, "pid", _count),
        uid=_maybe(said, "uid", _count),
        uptime_seconds=_maybe(said, "uptime_seconds", _seconds),
        resident_bytes=_maybe(said, "resident_bytes", _count),
        vm_mac=_maybe(said, "vm_mac", _mac) or "",
        yiaddr=_maybe(said, "yiaddr", _address) or "",
        server_id=_maybe(said, "server_id", _address) or "",
        last_xid=_maybe(said, "last_xid", _count),
        ignored=_maybe(said, "ignored", _counts) or {},
        errors=_maybe(said, "errors", _counts) or {},
        dropped_options=_maybe(said, "dropped_options", _list_of(_count)) or (),
        foreign_macs=_maybe(said, "foreign_macs", _list_of(_mac)) or (),
    )


def _family(said: dict[str, Any]) -> FamilyReport:
    return FamilyReport(
        lease=_one_of(said.get("lease"), _LEASE_STATES),
        lease_seconds=_maybe(said, "lease_seconds", _seconds),
        reached=_maybe(said, "reached", _reached) or {},
        uses=_maybe(said, "uses", _address) or "",
        uses_foreign=_maybe(said, "uses_foreign", _address) or "",
        events=_maybe(said, "events", _counts) or {},
        addresses=_maybe(said, "addresses", _list_of(_address)) or (),
        routers=_maybe(said, "routers", _list_of(_router)) or (),
        left_out=_maybe(said, "left_out", left_out.checked) or {},
    )


def _sandbox(value: Any) -> Sandbox:  # noqa: ANN401 # JSON is of any type, here and below
    said = _object(value)
    if not isinstance(said.get("on"), bool):
        raise ValueError("it does not say whether the sandbox is on")
    missed = _object(said.get("missed"))
    return Sandbox(
        said["on"],
        _list_of(_word)(said.get("reached")),
        {_word(stage): _sentence(reason) for stage, reason in missed.items()},
    )


def _router(value: Any) -> RouterReport:  # noqa: ANN401
    said = _object(value)
    return RouterReport(
        address=_address(said.get("address")),
        gateway=_address(said.get("gateway")),
        mac=_mac(said.get("mac")),
        silent_seconds=_maybe(said, "silent_seconds", _seconds),
    )


def _frame(said: dict[str, Any]) -> Frame:
    text, length = said.get("frame"), _count(said.get("length"))
    if not isinstance(text, str):
        raise ValueError("it has no octets")
    data = bytes.fromhex(text)
    if len(data) not in _FRAME_OCTETS or not len(data) <= length <= _LONGEST_FRAME:
        raise ValueError("it is of no frame's length")
    number, at = _count(said.get("number")), _seconds(said.get("at"))
    return Frame(number, at, _one_of(said.get("sender"), _SENDERS), _word(said.get("word")), length, data)


def _maybe(said: dict[str, Any], name: str, kind: Callable[[Any], Any]) -> Any:  # noqa: ANN401
    """Return a member that may be missing: an older server has none, and where all was too long it is null."""
    value = said.get(name)
    return None if value is None else kind(value)


def _object(value: Any) -> dict[str, Any]:  # noqa: ANN401
    if not isinstance(value, dict) or len(value) > _MOST:
        raise ValueError("no object, or one of too many members")
    return value


def _list_of(kind: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    def read(value: Any) -> tuple[Any, ...]:  # noqa: ANN401
        if not isinstance(value, list) or len(value) > _MOST:
            raise ValueError("no list, or one of too many items")
        return tuple(map(kind, value))

    return read


def _one_of(value: Any, words: Iterable[str]) -> str:  # noqa: ANN401
    found = [word for word in words if word == value]
    if not found:
        raise ValueError("no word that is known")
    return found[0]


def _word(value: Any) -> str:  # noqa: ANN401
    """Check a few printable ASCII characters."""
    if not isinstance(value, str) or len(value) > _WORD or not (value.isascii() and value.isprintable()):
        raise ValueError("no word")
    return value


def _sentence(value: Any) -> str:  # noqa: ANN401
    """Check a text that can be written: half of a surrogate pair cannot."""
    if not isinstance(value, str) or len(value) > _SENTENCE:
        raise ValueError("no text, or too long")
    value.encode()
    return value


def _seconds(value: Any) -> float:  # noqa: ANN401
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LONGEST_SECONDS:
        raise ValueError("no number of seconds")
    return float(value)


def _count(value: Any) -> int:  # noqa: ANN401
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _LARGEST_COUNT:
        raise ValueError("no number")
    return value


def _counts(value: Any) -> dict[str, int]:  # noqa: ANN401
    return {_word(name): _count(number) for name, number in _object(value).items()}


def _reached(value: Any) -> dict[str, float]:  # noqa: ANN401
    return {_one_of(state, _LEASE_STATES): _seconds(at) for state, at in _object(value).items()}


def _mac(value: Any) -> str:  # noqa: ANN401
    """Check a MAC address as the server writes it, or nothing."""
    if value == "":
        return ""
    text = _word(value)
    if len(text) != _MAC_LENGTH or bytes.fromhex(text.replace(":", "")).hex(":") != text:
        raise ValueError("no MAC address")
    return text


def _address(value: Any) -> str:  # noqa: ANN401
    """Check an IP address, or nothing."""
    if value == "":
        return ""
    text = _word(value)
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except OSError as error:
        raise ValueError("no IP address") from error
    return text
