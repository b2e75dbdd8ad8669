"""The words that may be labels are those that the server's rooms have, no more and no fewer."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

from vmnet.metrics.labels import ALWAYS_COUNTED, EVENTS, OPERATIONS, REASONS
from vmnet.server import ipv6_service, lifetimes, loop, service
from vmnet.server.dhcp import answer as answer4
from vmnet.server.dhcp import request
from vmnet.server.ipv6 import answer as answer6
from vmnet.server.ipv6 import associations, message, neighbour, packet
from vmnet.server.state import COMPILING, FAILED, SERVING, STATES

if TYPE_CHECKING:
    from types import ModuleType

WORD = re.compile("[a-z]+(_[a-z]+)*")
NO_EVENTS = {"dropped", "event", "frame", "left_out", "asked", "options", "type", "renewing", "rebinding"}
"""Attributes, and what f-strings make an event of."""
FROM_F_STRINGS = {"foreign_decline", "foreign_release"}


def source(module: ModuleType) -> str:
    """What the room's file says."""
    return Path(str(module.__file__)).read_text(encoding="utf-8")


def words(module: ModuleType) -> set[str]:
    """All words in the room's code that might be an event."""
    constants = (node.value for node in ast.walk(ast.parse(source(module))) if isinstance(node, ast.Constant))
    return {text for text in constants if isinstance(text, str) and WORD.fullmatch(text)} - NO_EVENTS


def named(module: ModuleType) -> set[str]:
    """The words that the room has names for."""
    return {
        word for name, word in vars(module).items() if name.isupper() and name[0] != "_" and isinstance(word, str)
    }


def test_events() -> None:
    said = words(answer4) | words(answer6) | words(associations) | FROM_F_STRINGS
    said |= set(service._SENTENCES) | set(ipv6_service._SENTENCES) | {ipv6_service.NEIGHBOUR_SOLICITATION}
    for room in (service, ipv6_service):
        said |= set(re.findall(r'happened\("(\w+)"', source(room)))
    said |= set(re.findall(r'"(gateway_\w+)"', source(ipv6_service)))
    assert said == EVENTS
    assert EVENTS.issuperset(word for words in ALWAYS_COUNTED.values() for word in words)


def test_reasons() -> None:
    said = set().union(*map(named, (request, message, neighbour, packet)))
    said |= {service.TOO_LONG, service.QUEUE_FULL, service.NOT_SERVED, lifetimes.RAN_OUT}
    said |= {ipv6_service.FOREIGN_SOURCE_MAC, ipv6_service.NOT_SERVED, ipv6_service.RAN_OUT}
    assert said == REASONS


def test_operations() -> None:
    assert set(re.findall(r'_service\.error\("(\w+)"', source(loop))) == OPERATIONS


def test_states() -> None:
    assert STATES == (COMPILING, SERVING, FAILED) == ("compiling", "serving", "failed")
